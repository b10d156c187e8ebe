"""Tables of runs: load, check, select. One row is one training run.

Any CSV or parquet file with ``params``, ``tokens`` and ``loss`` (nats per token) works. Columns that this
package knows beside these: ``flops, params_body, run_id, trunk_id, label, role, status, status_reason,
seed, budget``. In formulas: N parameters, D tokens, C training FLOPs, L loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError

REQUIRED = ("params", "tokens", "loss")
CHECKED = (*REQUIRED, "flops", "params_body", "budget")
SHOWN = 5  # offending rows named in a message

# name -> (column of N, FLOPs per parameter and token, or None for the column `flops`, explanation)
CONVENTIONS: dict[str, tuple[str, float | None, str]] = {
    "total": ("params", None, "N = all parameters, C = flops"),
    "body": ("params_body", None, "N = parameters without embedding and head, C = flops"),
    "6nd": ("params", 6.0, "N = all parameters, C = 6 N D"),
    "kaplan": ("params_body", 6.0, "N = parameters without embedding and head, C = 6 N D"),
}


def load(path: str | Path) -> pd.DataFrame:
    """Read and check a table of runs; of a results folder, its ``runs.csv``.

    Fills ``flops`` as 6 params tokens and ``role`` as ``fit`` where missing; ``attrs["notes"]`` of the
    returned frame says so. Raises AnalysisError with every problem found.
    """
    path = Path(path)
    file = path / "runs.csv" if path.is_dir() else path
    if not file.is_file():
        wanted = "a results folder with runs.csv, or a .csv or .parquet file"
        raise AnalysisError(f"table {file}: no such file; give {wanted}")
    try:
        frame = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    except (ValueError, OSError) as error:
        raise AnalysisError(
            f"table {file}: cannot be read ({error}); give a .csv or .parquet file"
        ) from error
    return check(frame, name=str(file), values=True)


def check(frame: pd.DataFrame, name: str = "table", *, values: bool = False) -> pd.DataFrame:
    """Return a copy with checked types and filled defaults (``attrs["notes"]`` lists what was filled).

    With ``values``, numbers of rows that did not diverge must also be finite and positive; otherwise
    :func:`select` excludes such rows by name. Raises AnalysisError.
    """
    problems = [
        f"{name}: column {column!r} is missing; a table of runs needs {', '.join(REQUIRED)}"
        for column in REQUIRED
        if column not in frame.columns
    ]
    if not len(frame):
        problems.append(f"{name}: no rows; a fit needs runs")
    if problems:
        raise AnalysisError(problems)
    notes = list(frame.attrs.get("notes", []))
    frame = frame.copy()
    any_column: Any = frame
    rows = row_names(frame)
    finished = (
        frame["status"].fillna("ok").eq("ok").to_numpy() if "status" in frame else np.ones(len(frame), bool)
    )
    for column in (c for c in CHECKED if c in frame.columns):
        frame[column], found = _numbers(any_column[column], column, rows, name)
        problems += found
        if values and not found:
            optional = column not in REQUIRED
            problems += _values(any_column[column].to_numpy(), column, rows, name, finished, optional)
    if "run_id" in frame.columns:
        ids = any_column["run_id"]
        twice = ids[ids.notna() & ids.duplicated()]
        if len(twice):
            problems.append(f"{name}: column 'run_id': {_some(twice)} more than once; keep one row per run")
    if problems:
        raise AnalysisError(problems)
    notes += _fill(frame)
    frame.attrs["notes"] = notes
    return frame


def _fill(frame: Any) -> list[str]:
    notes = []
    if "role" not in frame.columns:
        frame["role"] = "fit"
    frame["role"] = frame["role"].fillna("fit")
    if "flops" not in frame.columns:
        frame["flops"] = np.nan
    empty = frame["flops"].isna()
    if empty.any():
        frame.loc[empty, "flops"] = 6.0 * frame["params"] * frame["tokens"]
        notes.append(
            f"flops = 6 x params x tokens in {int(empty.sum())} of {len(frame)} rows (no flops given)"
        )
    return notes


def _numbers(series: Any, column: str, rows: list[str], name: str) -> tuple[Any, list[str]]:
    booleans = series.map(lambda value: isinstance(value, (bool, np.bool_))).to_numpy(bool)
    if booleans.any():
        where = _some(np.array(rows, object)[booleans])
        return series, [f"{name}: column {column!r} has booleans in {where}; numbers are needed"]
    numeric: Any = pd.to_numeric(series, errors="coerce")
    text = (numeric.isna() & series.notna()).to_numpy()
    if text.any():
        first = series[text].iloc[0]
        where = _some(np.array(rows, object)[text])
        return series, [
            f"{name}: column {column!r} is not a number in {where} (first: {first!r}); give plain numbers"
        ]
    return numeric.astype(float), []


def _values(
    values: np.ndarray, column: str, rows: list[str], name: str, finished: np.ndarray, optional: bool
) -> list[str]:
    """Problems of a numeric column; a diverged run may lack its loss, an optional column may be empty."""
    required = finished if column == "loss" else np.ones(len(values), bool)
    bad = required & ~(np.isfinite(values) & (values > 0))
    if optional:
        bad &= ~np.isnan(values)
    if not bad.any():
        return []
    shown = ", ".join(f"{rows[i]} = {values[i]:g}" for i in np.flatnonzero(bad)[:SHOWN])
    more = f" and {int(bad.sum()) - SHOWN} more" if bad.sum() > SHOWN else ""
    hint = "correct or remove these rows" + (", or mark them status = diverged" if column == "loss" else "")
    return [f"{name}: column {column!r} must be finite and positive: {shown}{more}; {hint}"]


def row_names(frame: Any) -> list[str]:
    """What to call each row: its run_id, else ``row i``."""
    ids = frame["run_id"] if "run_id" in frame.columns else pd.Series([None] * len(frame), index=frame.index)
    return [f"row {i}" if pd.isna(run) else str(run) for i, run in zip(frame.index, ids, strict=True)]


def _some(values: Sequence[Any] | pd.Series | np.ndarray) -> str:
    values = list(values)
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(map(str, values[:SHOWN])) + more


def select(
    table: pd.DataFrame, roles: Sequence[str] = ("fit",), *, convention: str = "total"
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Rows to fit, with columns N, D, C, L added, and the rows left out as ``{row, reason}``.

    Left out: roles not asked for, runs that did not end well, values that are not finite and positive.
    ``convention`` picks N and C, see ``CONVENTIONS``. Raises AnalysisError.
    """
    if convention not in CONVENTIONS:
        raise AnalysisError(f"convention {convention!r} is unknown; choose one of {', '.join(CONVENTIONS)}")
    frame = check(table)
    size, per_token, _ = CONVENTIONS[convention]
    if size not in frame.columns:
        raise AnalysisError(
            f"convention {convention!r} needs column {size!r}; add it or use convention 'total'"
        )
    frame["N"], frame["D"], frame["L"] = frame[size], frame["tokens"], frame["loss"]
    frame["C"] = frame["flops"] if per_token is None else per_token * frame["N"] * frame["D"]
    reasons = [_reason(row, roles) for row in frame.to_dict("records")]
    excluded = [
        {"row": row, "reason": reason}
        for row, reason in zip(row_names(frame), reasons, strict=True)
        if reason
    ]
    kept: Any = frame[[not reason for reason in reasons]].copy()
    kept.attrs.update(convention=convention)
    return kept, excluded


def _reason(row: Any, roles: Sequence[str]) -> str:
    if row["role"] not in roles:
        return f"role is {row['role']}"
    status = row.get("status", "ok")
    if not pd.isna(status) and status != "ok":
        why = row.get("status_reason")
        return f"status is {status}" + ("" if why is None or pd.isna(why) else f": {why}")
    bad = [f"{name} = {row[name]:g}" for name in "NDCL" if not (np.isfinite(row[name]) and row[name] > 0)]
    return f"{', '.join(bad)} is not finite and positive" if bad else ""


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
    squares, degrees, cells = 0.0, 0, 0
    for _, cell in frame.groupby(["params", "tokens"]):
        if len(cell) > 1 and (cell["role"] == "noise").any():
            squares += float(np.var(np.log(cell["L"])) * len(cell))
            degrees += len(cell) - 1
            cells += 1
    if not degrees:
        return None
    return {"sd_log": float(np.sqrt(squares / degrees)), "degrees": degrees, "cells": cells}
