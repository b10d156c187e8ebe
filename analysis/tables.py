"""Tables of runs: load, import, check, select. One row is one training run.

Any CSV, parquet or JSON lines file with ``params``, ``tokens`` and ``loss`` (nats per token) works, also
under the names of :data:`analysis.columns.ALIASES`. Columns that this package knows beside these: ``flops,
params_body, run_id, trunk_id, label, role, status, status_reason, seed, budget``. In formulas: N parameters,
D tokens, C training FLOPs, L loss.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import files
from analysis.checks import REQUIRED, check, finished, positive, row_names
from analysis.columns import adopt, near
from analysis.errors import AnalysisError
from analysis.reading import KINDS, numbers, read, shown, some
from analysis.units import STATED, convert, implausible
from analysis.where import Condition, nearest, parse

# name -> (column of N, FLOPs per parameter and token, or None for the column `flops`, explanation)
CONVENTIONS: dict[str, tuple[str, float | None, str]] = {
    "total": ("params", None, "N = all parameters, C = flops"),
    "body": ("params_body", None, "N = parameters without embedding and head, C = flops"),
    "6nd": ("params", 6.0, "N = all parameters, C = 6 N D"),
    "kaplan": ("params_body", 6.0, "N = parameters without embedding and head, C = 6 N D"),
}


def load(
    path: str | Path,
    *,
    where: str | None = None,
    units: Mapping[str, str] | None = None,
    columns: Mapping[str, str | None] | None = None,
    checkpoints: bool = False,
) -> pd.DataFrame:
    """Read and check a table of runs; of a results folder, its ``runs.csv``.

    ``where`` keeps the rows that satisfy it (:mod:`analysis.where`). ``columns`` says which column is which,
    ``{"params": "N"}``, or that one is not to be used, ``{"flops": None}``. ``units`` says what a column is
    given in, ``{"params": "M", "loss": "bits"}`` (:data:`analysis.columns.UNITS`, or "suffix" for "70M").
    ``checkpoints``: rows may be of one run; ``run_id`` is then called ``run``.
    Fills ``flops`` as 6 params tokens (or ``tokens`` from it) and ``role`` as ``fit`` where missing.

    The index of a text file's frame, called ``line``, has line numbers; ``attrs["notes"]`` says what was read
    as what, filled and left out. Raises AnalysisError with every problem found, by file and line.
    """
    path = Path(path)
    file = path / "runs.csv" if path.is_dir() else path
    if not file.is_file():
        raise AnalysisError(
            f"table {file}: no such file; give a results folder with runs.csv, or a {KINDS} file"
        )
    name, columns = str(file), dict(columns or {})
    frame, problems = adopt(read(file), columns, name)
    if checkpoints and "run" not in frame.columns:
        frame = frame.rename(columns={"run_id": "run"})
    frame, found = convert(frame, dict(units or {}), name)
    problems += found
    if where:
        try:
            frame = _kept(frame, parse(where), name)
        except AnalysisError as error:
            problems += error.problems
    unused = [ours for ours, source in columns.items() if source is None and ours in frame.columns]
    frame = frame.drop(columns=unused)
    if "tokens" not in frame.columns and not near("tokens", list(frame.columns)):
        frame = _tokens(frame)
    given = "flops" in frame.columns
    try:
        frame = check(frame, name=name, values=True)
    except AnalysisError as error:
        raise AnalysisError([*problems, *error.problems]) from None
    usable = _usable(frame)
    found, notes = implausible(frame[usable], name, given_flops=given) if usable.any() else ([], [])
    if problems or found:
        raise AnalysisError([*problems, *found])
    frame.attrs["notes"] += notes
    return frame


def plain(
    path: str | Path,
    *,
    units: Mapping[str, str] | None = None,
    columns: Mapping[str, str | None] | None = None,
) -> pd.DataFrame:
    """Read a table that need not be one of runs, for a law of other columns or another target; only what is
    said of ``columns`` and ``units`` is done to it. Raises AnalysisError."""
    path = Path(path)
    file = path / "runs.csv" if path.is_dir() else path
    if not file.is_file():
        raise AnalysisError(f"table {file}: no such file; give a {KINDS} file")
    frame, named = read(file), {theirs: ours for ours, theirs in (columns or {}).items() if theirs}
    missing = [theirs for theirs in named if theirs not in frame.columns]
    if missing:
        raise AnalysisError(f"{file}: column {missing[0]!r} is not in the file; it has {some(frame.columns)}")
    frame, problems = convert(frame.rename(columns=named), dict(units or {}), str(file))
    if problems:
        raise AnalysisError(problems)
    return frame


def import_table(
    source: str | Path,
    out: str | Path,
    *,
    where: str | None = None,
    units: Mapping[str, str] | None = None,
    columns: Mapping[str, str | None] | None = None,
) -> tuple[str, ...]:
    """Write ``source`` as a CSV with our columns and units, and return what there is to know of it: the
    source and its SHA-256, what was read as what, filled, left out. Arguments as of :func:`load`.

    ``out`` is never overwritten with other content. Raises AnalysisError.
    """
    source, out = Path(source), Path(out)
    frame = load(source, where=where, units=units, columns=columns)
    if out.suffix != ".csv":
        raise AnalysisError(f"out = {str(out)!r}: a CSV is written; give a name that ends in .csv")
    if out.is_dir() or not out.parent.is_dir():
        raise AnalysisError(f"out = {str(out)!r}: must be a file in a folder that exists, like runs.csv")
    stated = frame.attrs["stated"]
    if stated:  # so that what was said of the units now is still known when the copy is loaded
        frame[STATED] = "|".join(stated)
    text = frame.to_csv(index=False, lineterminator="\n")
    try:
        files.create(out, text)
    except OSError as error:
        raise AnalysisError(f"out = {str(out)!r}: cannot be written ({error.strerror or error})") from error
    file = source / "runs.csv" if source.is_dir() else source
    origin = f"{len(frame)} rows from {file}, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()}"
    return (origin, *frame.attrs["notes"])


def _kept(frame: pd.DataFrame, condition: Condition, name: str) -> pd.DataFrame:
    mask = condition.mask(frame)
    if len(frame) and not mask.any():
        raise AnalysisError(f"{name}: none of {len(frame)} rows satisfies where: {condition}; widen it")
    original, frame = frame, frame.loc[mask].copy()
    frame.attrs["left_out"] = [
        {"row": row, "reason": f"where: {condition}"}
        for row, kept in zip(row_names(original), mask, strict=True)
        if not kept
    ]
    frame.attrs["notes"] += [f"{int((~mask).sum())} of {len(mask)} rows left out by where: {condition}"]
    return frame


def _tokens(frame: pd.DataFrame) -> pd.DataFrame:
    """D = C / 6 N, where a table gives size and compute alone, as digitised figures do."""
    if not {"params", "flops"} <= set(frame.columns):
        return frame
    (size, _), (flops, _) = numbers(frame["params"]), numbers(frame["flops"])
    with np.errstate(all="ignore"):
        frame = frame.assign(tokens=flops / (6.0 * size))
    frame.attrs["notes"] += ["tokens = flops / (6 x params) in every row (no tokens given)"]
    return frame


def _usable(frame: Any) -> np.ndarray:
    values = frame[list(REQUIRED)].to_numpy(float)
    return finished(frame) & positive(values).all(axis=1)


def select(
    table: pd.DataFrame,
    roles: Sequence[str] = ("fit",),
    *,
    convention: str = "total",
    where: str | Condition | None = None,
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Rows to fit, with columns N, D, C, L added, and the rows left out as ``{row, reason}``.

    Left out: roles not asked for, rows that do not satisfy ``where`` (:mod:`analysis.where`), runs that did
    not end well, values that are not finite and positive. ``convention`` picks N and C, see ``CONVENTIONS``.
    Raises AnalysisError.
    """
    if convention not in CONVENTIONS:
        raise AnalysisError(f"convention {convention!r} is unknown; choose one of {', '.join(CONVENTIONS)}")
    frame: Any = check(table)
    size, per_token, _ = CONVENTIONS[convention]
    if size not in frame.columns:
        raise AnalysisError(
            f"convention {convention!r} needs column {size!r}; add it or use convention 'total'"
        )
    condition = parse(where) if isinstance(where, str) else where
    satisfied = np.ones(len(frame), bool) if condition is None else condition.mask(frame)
    frame["N"], frame["D"], frame["L"] = frame[size], frame["tokens"], frame["loss"]
    with np.errstate(over="ignore"):
        frame["C"] = frame["flops"] if per_token is None else per_token * frame["N"] * frame["D"]
    reasons = np.full(len(frame), "", object)

    def leave_out(rows: np.ndarray, why: Any) -> None:
        for i in np.flatnonzero(rows & (reasons == "")):
            reasons[i] = why(i)

    role, failed = frame["role"].to_numpy(object), ~finished(frame)
    leave_out(~frame["role"].isin(list(roles)).to_numpy(), lambda i: f"role is {role[i]}")
    leave_out(~satisfied, lambda _: f"where: {condition}")
    leave_out(failed, lambda i: _end(frame.iloc[i]))
    values = frame[list("NDCL")].to_numpy(float)
    bad = ~positive(values)
    leave_out(np.asarray(bad.any(axis=1)), lambda i: _named(values[i], bad[i]))
    out = reasons != ""
    names = row_names(frame[out])
    excluded = [{"row": row, "reason": reason} for row, reason in zip(names, reasons[out], strict=True)]
    kept: Any = frame[~out].copy()
    kept.attrs.update(convention=convention)
    return kept, excluded


def after(
    table: pd.DataFrame, fraction: float, *, run: str, of: str = "tokens"
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Checkpoints beyond ``fraction`` of their run (its warmup dropped), and those left out as ``{row,
    reason}``, for ``fit(..., excluded=)``. Column ``run`` says which rows are one run; its largest ``of`` is
    its length. Raises AnalysisError."""
    problems = [
        f"table: column {c!r} is missing; {nearest(c, list(table.columns))}"
        for c in (run, of)
        if c not in table.columns
    ]
    if not 0 <= fraction < 1:
        problems.append(f"fraction = {fraction!r} must be at least 0 and below 1; 0.1 drops the first tenth")
    if problems:
        raise AnalysisError(problems)
    values, bad = numbers(table[of])
    bad |= ~positive(values)
    unnamed = table[run].isna().to_numpy(bool)
    if bad.any() or unnamed.any():
        which = bad if bad.any() else unnamed
        column, rule = (of, "finite and positive") if bad.any() else (run, "filled in")
        raise AnalysisError(f"table: column {column!r} must be {rule}: {shown(table, which)}")
    share = values / pd.Series(values, table.index).groupby(table[run].to_numpy()).transform("max").to_numpy()
    early: Any = share < fraction
    why = f"in the first {fraction:.3g} of its run by {of}"
    names = [
        f"{name} ({of} = {v:g})" for name, v in zip(row_names(table.loc[early]), values[early], strict=True)
    ]
    return table.loc[~early].copy(), [{"row": row, "reason": why} for row in names]


def _end(row: Any) -> str:
    why = row.get("status_reason")
    return f"status is {row['status']}" + ("" if why is None or pd.isna(why) else f": {why}")


def _named(values: np.ndarray, bad: np.ndarray) -> str:
    shown = [f"{name} = {values[i]:g}" for i, name in enumerate("NDCL") if bad[i]]
    return f"{', '.join(shown)} is not finite and positive"


def clusters(frame: Any) -> tuple[np.ndarray, str]:
    """Cluster index per row and what it is by: trunk, else seed and size, else size. Runs of one cluster
    share noise (the same trunk, initialisation or batch order)."""
    if "trunk_id" in frame.columns and frame["trunk_id"].notna().all():
        return pd.factorize(frame["trunk_id"])[0], "trunk"
    size = np.log(frame["params"]).round(3)  # sizes read off a plot repeat within 0.1 %
    if "seed" in frame.columns and frame["seed"].notna().all():
        return frame.groupby([size, "seed"]).ngroup().to_numpy(), "seed and size"
    return pd.factorize(size)[0], "size"


def seed_noise(table: pd.DataFrame) -> dict[str, Any] | None:
    """Pooled standard deviation of log loss over runs of one cell that differ only by seed, or None.

    A cell is (params, tokens); it counts when at least one of its runs has role ``noise``.
    """
    frame: Any = select(table, ("fit", "noise"))[0]
    noise = frame[frame["role"] == "noise"].set_index(["params", "tokens"]).index.unique()
    frame = frame.set_index(["params", "tokens"])
    logs = np.log(frame.loc[frame.index.isin(noise), "L"]).groupby(level=["params", "tokens"])
    size, squares = logs.size(), logs.var(ddof=0)
    size, squares = size[size > 1], squares[size > 1]
    degrees = int((size - 1).sum())
    if not degrees:
        return None
    return {
        "sd_log": float(np.sqrt((squares * size).sum() / degrees)),
        "degrees": degrees,
        "cells": len(size),
    }
