"""What a table of runs must satisfy, told by row; and what its reader must know of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import SHOWN, AnalysisError, Argument, Complaint
from analysis.readers.numbers import proposal
from analysis.tables.columns import FORMULA
from analysis.tables.histories import history, last_rows
from analysis.tables.missing import missing
from analysis.tables.reading import numbers, places, shown
from analysis.tables.states import STATUSES, translate, unknown
from analysis.tables.table import Table, about, tell
from analysis.tables.units import advice

REQUIRED = ("params", "tokens", "loss")
CHECKED = (*REQUIRED, "flops", "params_body", "unique_tokens", "budget")
ROLES = ("trunk", "fit", "holdout", "tuning", "noise")
FEW = 0.5  # of the rows: more are a fault of the column, not of rows to leave out
SAME = ("params", "params_body", "tokens", "unique_tokens", "flops", "loss", "seed", "trunk_id")


@np.errstate(all="ignore")  # of tables of any magnitude
def check(
    frame: pd.DataFrame, name: str = "table", *, values: bool = False, needs: Sequence[str] = REQUIRED
) -> pd.DataFrame:
    """Check the columns of a table and fill its defaults.

    Args:
        frame: rows, columns under our names.
        name: what messages call the table.
        values: whether numbers of rows that did not diverge must also be finite and positive; otherwise
            :func:`select` excludes such rows by name.
        needs: columns that must be there; where size and tokens are among them, ``flops`` is filled.

    Returns:
        A copy with checked types, whose notes list what was filled and count diverged and repeated rows.

    Raises:
        AnalysisError: with every problem found.
    """
    names = list(frame.columns)
    needs = needed(frame, needs)
    problems: list[Complaint | str] = [
        _missing(frame, column, needs, name) for column in needs if column not in names
    ]
    numeric = checkable(needs)
    used = (*numeric, "run_id", "trunk_id", "seed", "label", "role", "status", "status_reason")
    problems += [
        f"{name}: column {c!r} is there {names.count(c)} times; keep one" for c in used if names.count(c) > 1
    ]
    if not len(frame):
        problems.append(f"{name}: no rows; a fit needs runs")
    if problems:
        raise AnalysisError(problems)
    frame = ends(frame.copy(), needs)
    problems += _unknown(frame, name)
    notes = [translate(frame)] if "status" in names and not problems else []
    ended = finished(frame)
    for column in (c for c in numeric if c in frame.columns):
        parsed, bad = numbers(frame[column])
        if bad.any():
            problems.append(_no_numbers(frame, column, bad, name, numeric))
            continue
        frame[column] = parsed
        if values:
            problems += _values(frame, column, ended, name, needs)
    runs = set(REQUIRED) <= set(needs) and about(frame).run is None  # not curves, not checkpoints
    if runs and "run_id" in frame.columns:
        ids: Any = frame["run_id"]
        twice = (ids.notna() & ids.duplicated()).to_numpy()
        if twice.any():
            rows = shown(frame, twice)
            say = Argument("after", 0), ", ", Argument("run", "run_id")
            hint = "keep one row per run, or say that rows are checkpoints: ", *say
            problems.append(Complaint(f"column 'run_id': {rows} more than once", name, hint))
    if problems:
        raise AnalysisError(problems)
    filled = [*filter(None, notes), *_fill(frame, {"params", "tokens"} <= set(needs))]
    tell(frame, read=(*about(frame).read, *filled), remarks=tuple(_remarks(frame, ~ended, runs)))
    return frame


def ends(frame: pd.DataFrame, needs: Sequence[str]) -> pd.DataFrame:
    """The last row of each run where rows are histories, unless all are asked for; the others are listed."""
    of_runs = {"params", "tokens"} <= set(needs) and about(frame).run is None
    found = history(frame) if of_runs else None
    if found is None:
        return frame
    if about(frame).cells == "all":
        tell(frame, run=found.run)
        return frame
    frame, reasons = last_rows(frame, found)
    kept, excluded = divide(frame, reasons)
    tell(kept, left_out=(*about(frame).left_out, *excluded))
    return kept


def checked(table: pd.DataFrame | Table) -> Table:
    """The table, its types checked and its defaults filled; as it is where that was done. Raises
    AnalysisError."""
    return table if isinstance(table, Table) else Table(check(table))


def needed(frame: Any, needs: Sequence[str]) -> tuple[str, ...]:
    """The columns of a formula among ``needs``; where ``flops`` has gaps, size and tokens too, to fill it."""
    found = [c for c in dict.fromkeys(needs) if c in FORMULA]
    gaps = "flops" in found and ("flops" not in frame.columns or frame["flops"].isna().to_numpy().any())
    if not (gaps and {"params", "tokens"} <= set(frame.columns)):
        return tuple(found)
    return tuple(dict.fromkeys(c for c in (*found, "params", "tokens") if c != "flops"))


def checkable(needs: Sequence[str]) -> tuple[str, ...]:
    """What must be numbers where it is there: all that we know of a table of runs, else what is needed."""
    if set(REQUIRED) <= set(needs):
        return CHECKED
    return (*needs, "flops") if {"params", "tokens"} <= set(needs) else tuple(needs)


def _missing(frame: Any, column: str, needs: Sequence[str], name: str) -> Complaint:
    whose = "a table of runs" if set(REQUIRED) <= set(needs) else "this fit"
    also = " (or params and tokens, for 6 N D)" if column == "flops" else ""
    needed_by = f"{whose} needs {', '.join(needs)}; "
    return Complaint(f"column {column!r}{also} is missing", name, (needed_by, *missing(column, frame)))


def positive(values: np.ndarray) -> np.ndarray:
    """Which values are finite and positive, by elements; subnormal ones, whose 1 / x overflows, are not."""
    return np.asarray(np.isfinite(values) & (values >= np.finfo(float).tiny))


def finished(frame: Any) -> np.ndarray:
    """Which runs ended well, a bool array (rows,)."""
    if "status" not in frame.columns:
        return np.ones(len(frame), bool)
    return (frame["status"].isna() | frame["status"].eq("ok")).to_numpy(bool)


def _unknown(frame: Any, name: str) -> list[Complaint]:
    """Roles and ends of runs in words that are not known; no advice takes failed runs in."""
    problems = []
    for column, allowed in (("role", ROLES), ("status", STATUSES)):
        if column not in frame.columns:
            continue
        cells = frame[column].dropna().unique()
        odd = unknown(frame[column]) if column == "status" else [x for x in cells if x not in allowed]
        for value in odd[:5]:
            rows = shown(frame, frame[column].eq(value).to_numpy(bool))
            hint = f"it is one of {', '.join(allowed)} or empty for {allowed[0]}: write that, or "
            if column == "role" or len(odd) == len(cells):  # about something else than how runs ended
                do = "do without the column: ", Argument("columns", {column: None})
            else:
                cell = f'"{value}"' if isinstance(value, str) else value
                do = "leave these rows out: ", Argument("where", f"{column} != {cell}")
            message = f"column {column!r}: {str(value)!r} is unknown ({rows})"
            problems.append(Complaint(message, name, (hint, *do)))
    return problems


def _fill(frame: Any, costs: bool) -> list[str]:
    notes = []
    if "role" not in frame.columns:
        frame["role"] = "fit"
    frame["role"] = frame["role"].astype(object).fillna("fit")  # a column without any is one of numbers
    if not costs:
        return notes
    if "flops" not in frame.columns:
        frame["flops"] = np.nan
    empty = frame["flops"].isna()
    if empty.any():
        with np.errstate(over="ignore"):  # what overflows is excluded by name
            frame.loc[empty, "flops"] = 6.0 * frame["params"] * frame["tokens"]
        notes.append(
            f"flops = 6 x params x tokens in {int(empty.sum())} of {len(frame)} rows (no flops given)"
        )
    return notes


def _remarks(frame: Any, lost: np.ndarray, runs: bool) -> list[str]:
    """Rows that are no error, but that a reader of a fit must know of."""
    notes = []
    if lost.any():
        notes.append(
            f"{int(lost.sum())} of {len(frame)} runs diverged or failed ({shown(frame, lost)}) and are left "
            "out: if that depends on size or learning rate, fits lean towards settings that train well"
        )
    same = [c for c in SAME if c in frame.columns]
    if not runs:
        return notes
    again = frame.duplicated(same).to_numpy() & np.isfinite(frame["loss"].to_numpy())
    if again.any():
        notes.append(
            f"{int(again.sum())} of {len(frame)} rows repeat an earlier one in {', '.join(same)} "
            f"({shown(frame, again)}): each counts as a run of its own"
        )
    return notes


def _no_numbers(frame: Any, column: str, bad: np.ndarray, name: str, numeric: Sequence[str]) -> Complaint:
    rows, first = shown(frame, bad), frame[column][bad].iloc[0]
    if isinstance(first, (bool, np.bool_)):
        return Complaint(f"column {column!r} has booleans in {rows}", name, "numbers are needed")
    cell, hint = repr(first if isinstance(first, (str, int)) else str(first))[:60], advice(column, str(first))
    if proposal([str(first)]) is not None:  # of one file, all columns of which are written alike
        cells = [str(cell) for c in numeric if c in frame for cell in frame[c][numbers(frame[c])[1]]]
        hint = "to read the numbers of this file say ", *(proposal(cells) or ())
    elif bad.mean() < FEW and (words := _words(frame[column], bad)):
        others = " and ".join(f"{column} != {json.dumps(word)}" for word in words)
        hint = "correct or remove these rows, or leave them out: ", Argument("where", others)
    return Complaint(f"column {column!r} is not a number in {rows} (first: {cell})", name, hint)


def _words(cells: Any, bad: np.ndarray) -> list[str]:
    """The texts in bad and infinite cells, such as ``diverged``; none where many differ or hold a digit."""
    words = list(dict.fromkeys(map(str, cells[bad | np.isinf(numbers(cells)[0])])))
    return words if len(words) <= SHOWN and not any(map(str.isdigit, "".join(words))) else []


def _values(frame: Any, column: str, ended: np.ndarray, name: str, needs: Sequence[str]) -> list[Complaint]:
    """Problems of a numeric column; a diverged run may lack its loss, an optional column may be empty."""
    values = frame[column].to_numpy()
    bad = ~positive(values)
    if column == "loss":
        bad &= ended
    elif column not in needs:
        bad &= ~np.isnan(values)
    if not bad.any():
        return []
    hint = (
        "correct or remove these rows" + (", or mark them status = diverged" if column == "loss" else ""),
    )
    conditions = {
        f"{column} != empty": np.isnan(values[bad]),
        f"{column} > 0": values[bad] <= 0,
        f"{column} < 1e300": values[bad] == np.inf,
    }
    usable = " and ".join(condition for condition, rows in conditions.items() if rows.any())
    if usable and bad.mean() < FEW:
        hint = *hint, ", or leave them out: ", Argument("where", usable)
    rows = shown(frame, bad, values)
    return [Complaint(f"column {column!r} must be finite and positive: {rows}", name, hint)]


def row_names(frame: Any) -> list[str]:
    """What to call each row: its run_id, else ``line i`` of its file, else ``row i``; both where a run has
    several rows."""
    if "run_id" not in frame.columns:
        return places(frame)
    ids, again = frame["run_id"], frame["run_id"].duplicated(keep=False)
    return [
        place if pd.isna(run) else f"{run} ({place})" if twice else str(run)
        for place, run, twice in zip(places(frame), ids, again, strict=True)
    ]


def divide(frame: Any, reasons: np.ndarray) -> tuple[Any, list[dict[str, str]]]:
    """The rows without a reason to leave them out, and the others as ``{row, reason}``."""
    out = reasons != ""
    names = row_names(frame) if out.any() else []
    left = [{"row": names[i], "reason": str(reasons[i])} for i in np.flatnonzero(out)]
    return frame[~out].copy(), left
