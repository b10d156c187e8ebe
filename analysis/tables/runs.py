"""Rows of a table of runs: which are used, and under which convention of N and C. In formulas: N parameters,
D tokens, C training FLOPs, L loss.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Argument, Complaint, alternatives
from analysis.tables.cells import best
from analysis.tables.checks import (
    check,
    divide,
    finished,
    needed,
    positive,
)
from analysis.tables.expressions import nearest
from analysis.tables.flags import check_rules, dropped
from analysis.tables.reading import numbers, shown
from analysis.tables.table import Table, about, frame_of, tell
from analysis.tables.where import parse

# name -> (column of N, FLOPs per parameter and token, or None for the column `flops`, explanation)
CONVENTIONS: dict[str, tuple[str, float | None, str]] = {
    "total": ("params", None, "N = all parameters, C = flops"),
    "body": ("params_body", None, "N = parameters without embedding and head, C = flops"),
    "active": ("params_active", None, "N = parameters that a token uses, C = flops"),
    "6nd": ("params", 6.0, "N = all parameters, C = 6 N D"),
    "kaplan": ("params_body", 6.0, "N = parameters without embedding and head, C = 6 N D"),
}


def sources(inputs: Sequence[str], convention: str = "total") -> tuple[str, ...]:
    """The columns that give these inputs of a law and L, its target; M is D / N, others are columns.
    Raises AnalysisError."""
    if convention not in CONVENTIONS:
        given = Argument("convention", convention)
        hint = f"choose one of {', '.join(CONVENTIONS)}"
        raise AnalysisError(Complaint((given, " is unknown"), hint=hint))
    size, per_token, _ = CONVENTIONS[convention]
    sizes = tuple(dict.fromkeys(("params", size)))
    cost = ("flops",) if per_token is None else (*sizes, "tokens")
    found = {"N": sizes, "D": ("tokens",), "C": cost, "L": ("loss",), "M": (*sizes, "tokens")}
    return tuple(dict.fromkeys(column for x in inputs for column in found.get(x, (x,))))


def filtered(frame: Any, where: str | None, after: float | None, run: str | None, name: str) -> pd.DataFrame:
    """Without the rows that a filter or the beginning of their run leaves out, which ``left_out`` lists."""
    if after is None and run is not None:
        needs = Argument("run", run), " needs a fraction to leave out of every run"
        raise AnalysisError(Complaint(needs, hint=(Argument("after", 0), " takes all rows")))
    if run is None and after is not None:
        needs = Argument("after", after), " needs the column that says which rows are one run: "
        raise AnalysisError(Complaint((*needs, Argument("run", "run"))))
    reasons = np.full(len(frame), "", object)
    if after is not None and run is not None:
        run = about(frame).columns.get(run, run)
        reasons = _early(frame, after, str(run), "tokens", name)
        tell(frame, run=run)
    if where is not None:
        condition = parse(where)
        try:
            reasons[~condition.mask(_costed(frame))] = f"where: {condition}"
        except AnalysisError as error:
            given = f"{name}: ", Argument("where", where)
            raise AnalysisError([replace(problem, where=given) for problem in error.problems]) from None
        tell(frame, where=str(condition))
    if len(frame) and (reasons != "").all():
        why = alternatives(Argument(x, v) for x, v in (("where", where), ("after", after)) if v is not None)
        raise AnalysisError(
            Complaint((f"all {len(frame)} rows are left out by ", *why), name, "leave out fewer")
        )
    frame, excluded = divide(frame, reasons)
    tell(frame, left_out=(*about(frame).left_out, *excluded))
    return frame


def _costed(frame: Any) -> pd.DataFrame:
    """The rows as a filter sees them: with 6 N D where no FLOPs are given."""
    if not {"params", "tokens"} <= set(frame.columns):
        return frame
    with np.errstate(all="ignore"):
        cost = 6.0 * numbers(frame["params"])[0] * numbers(frame["tokens"])[0]
    given = numbers(frame["flops"]) if "flops" in frame.columns else (np.full(len(frame), np.nan), cost > 0)
    if "flops" in frame.columns and given[1].any():
        return frame
    return frame.assign(flops=np.where(np.isnan(given[0]), cost, given[0]))


def select(
    table: pd.DataFrame | Table,
    roles: Sequence[str] = ("fit",),
    *,
    convention: str = "total",
    where: str | None = None,
    needs: str = "NDCL",
    cells: str | None = None,
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Select the rows to fit, and add columns N, D, C, L.

    Left out are rows that do not satisfy ``where``, roles not asked for, runs that did not end well, values
    that are not finite and positive, and runs whose flags say so (:mod:`analysis.tables.flags`).

    Args:
        table: runs, checked or not.
        roles: the roles to keep.
        convention: which columns or formulas N and C are, a name of ``CONVENTIONS``.
        where: filter (:mod:`analysis.tables.where`).
        needs: which of N, D, C, L must be there; others are added where the table gives them.
        cells: of several hyperparameters in a cell the best (``best``), or ``all`` rows; left out: as the
            table was loaded, else the best.

    Returns:
        The rows kept, and those left out as ``{row, reason}``: on loading, and here.

    Raises:
        AnalysisError: for an unknown convention, a table that fails its checks, or a filter that cannot be
            read or leaves nothing.
    """
    if not isinstance(table, Table):
        return _select(table, tuple(roles), convention, where, needs, cells, checked=False)
    asked = (tuple(roles), convention, where, needs, cells)
    if asked not in table.selected:
        table.selected[asked] = _select(table.frame, *asked, checked=where is None)
    kept, left_out = table.selected[asked]
    return kept.copy(), list(left_out)


def _select(
    table: pd.DataFrame,
    roles: Sequence[str],
    convention: str,
    where: str | None,
    needs: str,
    cells: str | None,
    *,
    checked: bool,
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    columns = sources([x for x in "NDCL" if x in needs], convention)
    size, per_token, _ = CONVENTIONS[convention]
    names = {"N": size, "D": "tokens", "C": "flops", "L": "loss"}
    given = {c: table[x] for x, c in names.items() if c not in table.columns and x in table.columns}
    frame: Any = filtered(table.assign(**given), where, None, None, "table")
    wanted = needed(frame, columns)
    strict = {"params", "tokens"} <= set(wanted)  # else what cannot be used is for the caller to name
    if strict and size not in frame.columns and size != "params":
        raise AnalysisError(
            f"convention {convention!r} needs column {size!r}; add it or use convention 'total'"
        )
    if not checked:
        frame = check(frame, needs=wanted if strict else ())
    earlier = about(frame).left_out
    reasons = np.full(len(frame), "", object)

    def leave_out(rows: np.ndarray, why: Any) -> None:
        for i in np.flatnonzero(rows & (reasons == "")):
            reasons[i] = why(i)

    role, failed = frame["role"].to_numpy(object), ~finished(frame)
    leave_out(~frame["role"].isin(list(roles)).to_numpy(), lambda i: f"role is {role[i]}")
    leave_out(failed, lambda i: _end(frame.iloc[i]))
    values = {x: numbers(frame[c])[0] for x, c in names.items() if c in frame.columns}
    if per_token is not None and {"N", "D"} <= set(values):
        with np.errstate(over="ignore"):
            values["C"] = per_token * values["N"] * values["D"]
    must = [x for x in "NDCL" if x in needs or x == "C"] if strict else []
    if must:
        found = np.stack([values[x] for x in must], axis=1)
        bad = ~positive(found)
        leave_out(np.asarray(bad.any(axis=1)), lambda i: _named(must, found[i], bad[i]))
    doubts = dropped(frame, reasons == "", about(frame).flags)
    leave_out(doubts != "", lambda i: doubts[i])
    for x, v in values.items():
        if x in must or positive(v[reasons == ""]).all():
            frame[x] = v
        elif x in needs:
            frame[x] = frame[names[x]]
    kept, excluded = divide(frame, reasons)
    tell(kept, convention=convention, dropped=int((doubts != "").sum()))
    kept, worse = one_a_cell(kept, cells)
    return kept, [*map(dict, earlier), *excluded, *worse]


def stated(
    table: pd.DataFrame | Table, cells: str | None, flags: Mapping[str, str] | None = None
) -> pd.DataFrame | Table:
    """A table with what its user says of its cells, where it was not read by us, and of its flags. Raises
    AnalysisError."""
    if flags is None and (cells is None or isinstance(table, Table)):
        return table
    frame = frame_of(table).copy(deep=False)
    check_rules(flags or {}, frame)
    tell(frame, cells=cells or about(frame).cells, flags={**about(frame).flags, **(flags or {})})
    return frame


def one_a_cell(
    frame: Any, cells: str | None, apart: Sequence[str] = (), *, rising: bool = False
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Keep the best of each cell, unless ``cells`` or the table says ``all``, or rows are checkpoints.

    Args:
        frame: selected rows, with columns N, D, L; without one of them all rows are kept.
        cells: ``best``, ``all``, or None: as the table says.
        apart: columns that set cells apart beside N, D and the role.
        rising: whether L is better the larger it is.

    Returns:
        The rows kept, and those left out as ``{row, reason}``.
    """
    known = about(frame)
    if (cells or known.cells) == "all" or known.run is not None or not {"N", "D", "L"} <= set(frame.columns):
        return frame, []
    usable = positive(frame[["N", "D", "L"]].to_numpy(float)).all(axis=1)
    reasons, notes = np.full(len(frame), "", object), []
    reasons[usable], notes = best(frame[usable], ["role", *apart], rising=rising)
    kept, worse = divide(frame, reasons)
    tell(kept, remarks=tuple(dict.fromkeys([*known.remarks, *notes])))
    return kept, worse


def after(
    table: pd.DataFrame, fraction: float, *, run: str, of: str = "tokens"
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Drop the beginning of each run (its warmup) from a table of checkpoints.

    :func:`load` does the same to a file.

    Args:
        table: checkpoints.
        fraction: the share of each run to drop, at least 0 and below 1.
        run: the column that says which rows are one run.
        of: the column that says how far a checkpoint is; its largest value in a run is the run's length.

    Returns:
        The checkpoints kept, and those left out as ``{row, reason}``, for ``fit(..., excluded=)``.

    Raises:
        AnalysisError: for a missing column, a fraction out of range, a row without a run, or values of ``of``
            that are not finite and positive.
    """
    reasons = _early(table, fraction, run, of, "table")
    bad = ~positive(numbers(table[of])[0])
    if bad.any():
        raise AnalysisError(f"table: column {of!r} must be finite and positive: {shown(table, bad)}")
    kept, excluded = divide(table, reasons)
    tell(kept, run=run)
    return kept, excluded


def _early(frame: Any, fraction: float, run: str, of: str, name: str) -> np.ndarray:
    """Why a row is left out, by rows; empty where it is not, or where its place in the run is not known."""
    problems = [
        f"{name}: column {c!r} is missing; {nearest(c, list(frame.columns))}"
        for c in (run, of)
        if c not in frame.columns
    ]
    if not 0 <= fraction < 1:
        problems.append(f"after = {fraction!r} must be at least 0 and below 1; 0.1 drops the first tenth")
    elif not problems and (unnamed := frame[run].isna().to_numpy(bool)).any():
        problems.append(f"{name}: column {run!r} must be filled in: {shown(frame, unnamed)}")
    if problems:
        raise AnalysisError(problems)
    values, _ = numbers(frame[of])
    values = pd.Series(np.where(positive(values), values, np.nan))
    share = (values / values.groupby(frame[run].to_numpy()).transform("max")).to_numpy()
    return np.where(share < fraction, f"in the first {fraction:.3g} of its run by {of}", "").astype(object)


def _end(row: Any) -> str:
    why = row.get("status_reason")
    return f"status is {row['status']}" + ("" if why is None or pd.isna(why) else f": {why}")


def _named(names: Sequence[str], values: np.ndarray, bad: np.ndarray) -> str:
    shown = [f"{name} = {values[i]:g}" for i, name in enumerate(names) if bad[i]]
    return f"{', '.join(shown)} is not finite and positive"
