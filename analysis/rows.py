"""From a table to the numbers that a law is fitted to: inputs, target, weights, groups, clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.laws import Law
from analysis.tables import CONVENTIONS, clusters, row_names, select
from analysis.where import parse

RUNS = ("params", "tokens", "loss")
EXTREME = (1e-100, 1e100)  # beyond, squares under- and overflow


@dataclass(frozen=True)
class Rows:
    """``frame``: rows kept, sorted, with columns N, D, C, L where known; ``inputs`` and ``target`` (n,);
    ``cluster`` index per row and what it is ``by``."""

    frame: Any
    inputs: dict[str, np.ndarray]
    target: np.ndarray
    weights: np.ndarray | None
    group: np.ndarray | None
    labels: tuple[str, ...]
    cluster: np.ndarray
    by: str
    excluded: tuple[dict[str, str], ...]


def prepare(
    law: Law,
    table: pd.DataFrame,
    *,
    convention: str = "total",
    roles: Sequence[str] = ("fit",),
    target: str = "loss",
    weights: str | None = None,
    groups: str | None = None,
    cluster: str | None = None,
    least: float = 0.0,
    where: str | None = None,
) -> Rows:
    """Select and check. Rows with a value that is not a number, or not positive where a logarithm needs it,
    are excluded by name, and so are targets not above ``least``. Raises AnalysisError with every missing
    column."""
    if not isinstance(table, pd.DataFrame):
        raise AnalysisError(f"table {table!r}: must be a DataFrame; analysis.load(path) reads one")
    if convention not in CONVENTIONS:
        raise AnalysisError(f"convention {convention!r} is unknown; choose one of {', '.join(CONVENTIONS)}")
    standard = target == "loss" and set(RUNS) <= set(table.columns) and least == 0
    table, left_out = _filtered(table, where)
    frame: Any
    frame, excluded = (
        select(table, roles, convention=convention) if standard else _any(table, roles, convention)
    )
    if "M" in law.inputs and "M" not in frame.columns and {"N", "D"} <= set(frame.columns):
        with np.errstate(all="ignore"):  # rows that this makes no number of are left out by name
            frame["M"] = _numbers(frame["D"]) / _numbers(frame["N"])
    named = [x for x in (weights, groups, cluster) if x is not None]
    if not standard:
        named.append(target)
    missing = [x for x in (*law.inputs, *named) if x not in frame.columns]
    if missing:
        has = f"law {law.name!r} needs {', '.join(law.inputs)} and {target!r}; the table has "
        has += ", ".join(map(str, table.columns))
        names = [_source(x, convention) for x in dict.fromkeys(missing)]
        raise AnalysisError([f"column {name!r} is missing; {has}" for name in names])
    if not standard:
        frame["L"] = frame[target]
    above = {x: 0.0 for x in law.inputs if x in "NDC" or law.terms} | {"L": least}
    weighed = [weights] if weights else []
    numbers: list[str] = list(dict.fromkeys([*law.inputs, "L", *weighed]))
    bad = _bad(
        frame, numbers, above | dict.fromkeys(weighed, 0.0), [x for x in (groups, cluster) if x is not None]
    )
    asked = [*([] if standard else [target]), *weighed]
    useless = [x for x in asked if len(frame) and not np.isfinite(_numbers(frame[x])).any()]
    if useless:
        raise AnalysisError(
            [f"column {x!r} has no number that a fit could use; name another" for x in useless]
        )
    excluded = [*left_out, *excluded, *_reasons(frame, bad)]
    frame = frame[bad == ""]
    frame[numbers] = frame[numbers].astype(float)
    order = [*(x for x in "CND" if x in frame.columns), "L", *(x for x in law.inputs if x not in "NDC")]
    frame = frame.sort_values(order, kind="stable")  # a table's order must not matter
    codes, labels = pd.factorize(frame[groups].astype(str), sort=True) if groups else (None, ())
    index, by = _clusters(frame, cluster)
    if codes is not None:  # runs of two data sets share no noise
        index = pd.factorize(codes.astype(np.int64) * (index.max(initial=0) + 1) + index)[0]
        by = f"{by} within {groups}"
    return Rows(
        frame=frame,
        inputs={x: frame[x].to_numpy(float) for x in law.inputs},
        target=frame["L"].to_numpy(float),
        weights=frame[weights].to_numpy(float) / frame[weights].mean() if weights else None,
        group=codes,
        labels=tuple(map(str, labels)),
        cluster=index,
        by=by,
        excluded=tuple(excluded),
    )


def _source(x: str, convention: str) -> str:
    return {"N": CONVENTIONS[convention][0], "D": "tokens", "C": "flops"}.get(x, x)


def _any(table: pd.DataFrame, roles: Sequence[str], convention: str) -> tuple[Any, list[dict[str, str]]]:
    """Rows of a table that need not have sizes, tokens and losses; N, D, C where its columns give them."""
    if not len(table):
        raise AnalysisError("table: no rows; a fit needs runs")
    frame: Any = table.copy()
    size, per_token, _ = CONVENTIONS[convention]
    for x, column in {"N": size, "D": "tokens", "C": "flops"}.items():
        if column in frame.columns:
            frame[x] = frame[column]
    if "C" not in frame.columns and {"N", "D"} <= set(frame.columns):
        frame["C"] = (per_token or 6.0) * _numbers(frame["N"]) * _numbers(frame["D"])
    reasons = np.full(len(frame), "", object)
    for column, usual in (("status", ("ok",)), ("role", tuple(roles))):  # a role counts before a status
        if column in frame.columns:
            off = (frame[column].notna() & ~frame[column].isin(usual)).to_numpy(bool)
            reasons[off] = [f"{column} is {value}" for value in frame[column][off]]
    return frame[reasons == ""].copy(), _reasons(frame, reasons)


def _filtered(table: pd.DataFrame, where: str | None) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    if where is None:
        return table, []
    mask = parse(where).mask(table)
    return table.loc[mask], _reasons(table, np.where(mask, "", f"where: {where}"))


def _reasons(frame: Any, reasons: np.ndarray) -> list[dict[str, str]]:
    """Rows left out, each with its reason; an empty one keeps the row."""
    return [{"row": r, "reason": str(b)} for r, b in zip(row_names(frame), reasons, strict=True) if b]


def _numbers(column: Any) -> np.ndarray:
    return np.asarray(pd.to_numeric(column, errors="coerce"), float)


def _bad(frame: Any, columns: Sequence[str], above: dict[str, float], filled: Sequence[str]) -> np.ndarray:
    """Per row, which numbers a fit cannot use (not finite, or not ``above`` what they must be), and which
    cells that must be ``filled`` are empty."""
    out: list[list[str]] = [[] for _ in range(len(frame))]
    for x in columns:
        v = _numbers(frame[x])
        limit = above.get(x, -np.inf)
        wrong = ~np.isfinite(v) | (v <= limit)
        far = ~wrong & (v != 0) & ((np.abs(v) < EXTREME[0]) | (np.abs(v) > EXTREME[1]))
        rule = {0.0: "finite and positive", -np.inf: "a finite number"}
        what = f"is not {rule.get(limit, f'finite and above {limit:g}')}"
        for i in np.flatnonzero(wrong | far):
            why = f"is not within {EXTREME[0]:g} .. {EXTREME[1]:g}" if far[i] else what
            out[i].append(f"{x} = {frame[x].iloc[i]} {why}")
    for x in filled:
        for i in np.flatnonzero(frame[x].isna().to_numpy(bool)):
            out[i].append(f"{x} is empty")
    return np.array(["; ".join(found) for found in out], object)


def _clusters(frame: Any, column: str | None) -> tuple[np.ndarray, str]:
    if column is not None:
        return pd.factorize(frame[column])[0], column
    if "params" not in frame.columns and "N" in frame.columns:
        frame = frame.assign(params=frame["N"])
    if "params" in frame.columns and len(frame):
        return clusters(frame)
    return np.arange(len(frame)), "run"
