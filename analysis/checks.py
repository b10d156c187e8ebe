"""What a table of runs must satisfy, told by row; and what its reader must know of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import missing
from analysis.errors import AnalysisError
from analysis.reading import LINE, numbers, shown
from analysis.units import advice

REQUIRED = ("params", "tokens", "loss")
CHECKED = (*REQUIRED, "flops", "params_body", "unique_tokens", "budget")
ROLES = ("fit", "holdout", "tuning", "noise")
STATUSES = ("ok", "diverged", "failed")
SAME = ("params", "params_body", "tokens", "unique_tokens", "flops", "loss", "seed", "trunk_id")


def check(frame: pd.DataFrame, name: str = "table", *, values: bool = False) -> pd.DataFrame:
    """Return a copy with checked types and filled defaults (``attrs["notes"]`` lists what was filled).

    With ``values``, numbers of rows that did not diverge must also be finite and positive; otherwise
    :func:`select` excludes such rows by name. Diverged and repeated rows are counted in the notes. Raises
    AnalysisError.
    """
    names = list(frame.columns)
    of_file = {ours: source for source, ours in frame.attrs.get("columns", {}).items()}
    problems = [
        f"{name}: column {column!r} is missing; a table of runs needs {', '.join(REQUIRED)}; "
        + missing(column, [str(of_file.get(c, c)) for c in names])
        for column in REQUIRED
        if column not in names
    ]
    used = (*CHECKED, "run_id", "trunk_id", "seed", "label", "role", "status", "status_reason")
    problems += [
        f"{name}: column {c!r} is there {names.count(c)} times; keep one" for c in used if names.count(c) > 1
    ]
    if not len(frame):
        problems.append(f"{name}: no rows; a fit needs runs")
    if problems:
        raise AnalysisError(problems)
    notes = list(frame.attrs.get("notes", []))
    frame = frame.copy()
    for column, allowed in (("role", ROLES), ("status", STATUSES)):
        problems += _unknown(frame, column, allowed, name)
    ended = finished(frame)
    for column in (c for c in CHECKED if c in frame.columns):
        found, bad = numbers(frame[column])
        if bad.any():
            problems.append(_no_numbers(frame, column, bad, name))
            continue
        frame[column] = found
        if values:
            problems += _values(frame, column, ended, name)
    if "run_id" in frame.columns:
        ids: Any = frame["run_id"]
        twice = (ids.notna() & ids.duplicated()).to_numpy()
        if twice.any():
            rows = shown(frame, twice)
            problems.append(f"{name}: column 'run_id': {rows} more than once; keep one row per run")
    if problems:
        raise AnalysisError(problems)
    notes += _fill(frame)
    notes += [note for note in _remarks(frame, ~ended) if note not in notes]
    frame.attrs["notes"] = notes
    return frame


def positive(values: np.ndarray) -> np.ndarray:
    """Which values are finite and positive, by elements; subnormal ones, whose 1 / x overflows, are not."""
    return np.asarray(np.isfinite(values) & (values >= np.finfo(float).tiny))


def finished(frame: Any) -> np.ndarray:
    """Which runs ended well, a bool array (rows,)."""
    if "status" not in frame.columns:
        return np.ones(len(frame), bool)
    return (frame["status"].isna() | frame["status"].eq("ok")).to_numpy(bool)


def _unknown(frame: Any, column: str, allowed: Sequence[str], name: str) -> list[str]:
    if column not in frame.columns:
        return []
    problems = []
    odd = frame[column].notna() & ~frame[column].isin(allowed)
    for value in frame.loc[odd, column].astype(str).unique()[:5]:
        rows = shown(frame, (odd & frame[column].astype(str).eq(value)).to_numpy(bool))
        problems.append(
            f"{name}: column {column!r}: {value!r} is unknown ({rows}); it is one of {', '.join(allowed)} or "
            f"empty for {allowed[0]}: write that, or do without the column: columns={{{column!r}: None}}"
        )
    return problems


def _fill(frame: Any) -> list[str]:
    notes = []
    if "role" not in frame.columns:
        frame["role"] = "fit"
    frame["role"] = frame["role"].astype(object).fillna("fit")  # a column without any is one of numbers
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


def _remarks(frame: Any, lost: np.ndarray) -> list[str]:
    """Rows that are no error, but that a reader of a fit must know of."""
    notes = []
    if lost.any():
        notes.append(
            f"{int(lost.sum())} of {len(frame)} runs diverged or failed ({shown(frame, lost)}) and are left "
            "out: if that depends on size or learning rate, fits lean towards settings that train well"
        )
    same = [c for c in SAME if c in frame.columns]
    again = frame.duplicated(same).to_numpy() & np.isfinite(frame["loss"].to_numpy())
    if again.any():
        notes.append(
            f"{int(again.sum())} of {len(frame)} rows repeat an earlier one in {', '.join(same)} "
            f"({shown(frame, again)}): each counts as a run of its own"
        )
    return notes


def _no_numbers(frame: Any, column: str, bad: np.ndarray, name: str) -> str:
    rows, first = shown(frame, bad), frame[column][bad].iloc[0]
    if isinstance(first, (bool, np.bool_)):
        return f"{name}: column {column!r} has booleans in {rows}; numbers are needed"
    cell, hint = repr(first if isinstance(first, (str, int)) else str(first))[:60], advice(column, str(first))
    return f"{name}: column {column!r} is not a number in {rows} (first: {cell}); {hint}"


def _values(frame: Any, column: str, ended: np.ndarray, name: str) -> list[str]:
    """Problems of a numeric column; a diverged run may lack its loss, an optional column may be empty."""
    values = frame[column].to_numpy()
    bad = ~positive(values)
    if column == "loss":
        bad &= ended
    elif column not in REQUIRED:
        bad &= ~np.isnan(values)
    if not bad.any():
        return []
    hint = "correct or remove these rows" + (", or mark them status = diverged" if column == "loss" else "")
    if np.isnan(values[bad]).any():
        hint += f", or leave them out: where='{column} != empty'"
    rows = shown(frame, bad, values)
    return [f"{name}: column {column!r} must be finite and positive: {rows}; {hint}"]


def row_names(frame: Any) -> list[str]:
    """What to call each row: its run_id, else ``line i`` of its file, else ``row i``."""
    ids: Any = frame["run_id"] if "run_id" in frame.columns else [None] * len(frame)
    kind = LINE if frame.index.name == LINE else "row"
    return [f"{kind} {i}" if pd.isna(run) else str(run) for i, run in zip(frame.index, ids, strict=True)]
