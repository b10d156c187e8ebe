"""Fit a law to a table of runs.

Default objective: the sum of Huber losses of log residuals, with delta = 1.345 x their robust scale (95 %
efficient on clean data, bounded influence of a bad run). ``delta`` may be given, to compare with published
fits; ``objective="log-ls"`` is least squares of log residuals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from analysis import identify
from analysis.allocation import Cost, exponents
from analysis.errors import AnalysisError
from analysis.intervals import Replicates, interval, replicate
from analysis.laws import LAWS, Law
from analysis.result import Fit
from analysis.solver import Loss, Problem, Solution, solve
from analysis.tables import clusters, row_names, seed_noise, select

OBJECTIVES = ("huber", "log-ls")
TUNING = 1.345
LEAST_DELTA = 1e-6  # for noise-free tables
MAD = 1.4826


def fit(
    law: str | Law,
    table: pd.DataFrame,
    *,
    objective: str = "huber",
    delta: float | None = None,
    bootstrap: int = 500,
    fixed: Mapping[str, float] | None = None,
    seed: int = 0,
    convention: str = "total",
    roles: Sequence[str] = ("fit",),
    level: float = 0.9,
    where: str | None = None,
) -> Fit:
    """Fit ``law`` (a name of ``LAWS`` or a Law) to the rows of ``table`` with these ``roles``.

    ``bootstrap``: replicates for intervals, clustered by trunk (else seed and size, else size); 0 takes a
    linearised covariance instead. ``where``: a filter of rows (:mod:`analysis.where`). ``fixed``:
    parameters held at a value, as ``{"E": 0.9}``. ``level`` of the intervals. A table that determines nothing
    gives status ``not_identified`` and no parameters.
    Raises AnalysisError for a bad request or table.
    """
    law = _checked(law, objective, delta, bootstrap, fixed or {}, level)
    fixed = {name: float(value) for name, value in (fixed or {}).items()}
    rows, excluded = select(table, roles, convention=convention, where=where)
    rows = rows.sort_values(["C", "N", "D", "L"], kind="stable")  # a table's order must not matter
    logs = {x: np.log(rows[x].to_numpy(float)) for x in law.inputs}
    log_loss = np.log(rows["L"].to_numpy(float))
    reason = identify.shortage(law, logs, fixed) if len(rows) else _none_left(excluded)
    if not reason and np.ptp(log_loss) < 1e-12:
        reason = f"the loss is {np.exp(log_loss[0]):g} in every run; nothing depends on N, D or C"
    common = {
        "law": law,
        "convention": convention,
        "excluded": tuple(excluded),
        "fixed": fixed,
        "notes": tuple(rows.attrs.get("notes", [])),
    }
    if reason:
        return _nothing(common, reason, rows, objective, delta, level)
    problem = Problem(law, logs, log_loss, Loss(), fixed)
    loss = _loss(problem, objective, delta)
    problem = Problem(law, logs, log_loss, loss, fixed)
    solution = solve(problem)
    if all(c in solution.zero for c, powers in law.terms.items() if powers):
        return _nothing(common, "the loss does not fall with N, D or C", rows, objective, delta, level)
    cluster, by = clusters(rows)
    replicates = replicate(problem, solution.u, cluster, by, bootstrap, seed)
    return _assemble(common, problem, solution, replicates, rows, cluster, objective, level, table)


def _none_left(excluded: Sequence[Mapping[str, Any]]) -> str:
    """Why a table has no usable runs: the reasons, most frequent first, with how many rows each left out."""
    reasons = Counter(str(row["reason"]) for row in excluded).most_common(3)
    return "; ".join(["no usable runs", *(f"{number} rows: {reason}" for reason, number in reasons)])


def _checked(
    law: str | Law,
    objective: str,
    delta: float | None,
    bootstrap: int,
    fixed: Mapping[str, float],
    level: float,
) -> Law:
    problems = []
    if isinstance(law, str):
        if law not in LAWS:
            raise AnalysisError(f"law {law!r} is unknown; choose one of {', '.join(LAWS)} or pass a Law")
        law = LAWS[law]
    if objective not in OBJECTIVES:
        problems.append(f"objective {objective!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
    if delta is not None and not (delta > 0 and np.isfinite(delta)):
        problems.append(
            f"delta = {delta!r} must be finite and positive; leave it out for 1.345 x residual scale"
        )
    if not 0 < level < 1:
        problems.append(f"level = {level!r} must lie between 0 and 1; 0.9 is usual")
    if isinstance(bootstrap, bool) or bootstrap < 0:
        problems.append(f"bootstrap = {bootstrap!r} must be a number of replicates >= 0")
    for name, value in fixed.items():
        if name not in law.names:
            problems.append(
                f"fixed parameter {name!r} is not one of {', '.join(law.names)} of law {law.name!r}"
            )
        elif isinstance(value, bool) or not (np.isfinite(value) and value >= 0):
            problems.append(f"fixed {name} = {value!r} must be finite and not negative")
    if len(set(fixed)) >= len(law.names):
        problems.append(f"all parameters of {law.name!r} are fixed; leave at least one to fit")
    if problems:
        raise AnalysisError(problems)
    return law


def _loss(problem: Problem, objective: str, delta: float | None) -> Loss:
    if objective == "log-ls":
        return Loss()
    if delta is not None:
        return Loss(float(delta))
    loss = Loss()
    for _ in range(2):  # a bad run inflates the first scale, which is had by least squares
        here = Problem(problem.law, problem.logs, problem.log_loss, loss, problem.fixed)
        r = _residuals(here, solve(here, keep=8).u)
        loss = Loss(max(TUNING * _robust_sd(r, problem), LEAST_DELTA))
    return loss


def _residuals(problem: Problem, u: np.ndarray) -> np.ndarray:
    return problem.log_loss - np.logaddexp.reduce(problem.design @ u, axis=0)


def _robust_sd(r: np.ndarray, problem: Problem) -> float:
    degrees = max(len(r) - int(problem.free.sum()), 1)
    return float(MAD * np.median(np.abs(r)) * np.sqrt(len(r) / degrees))


def _nothing(
    common: dict[str, Any], reason: str, rows: pd.DataFrame, objective: str, delta: float | None, level: float
) -> Fit:
    law: Law = common["law"]
    names = (*law.names, *(("a", "b") if {"N", "D"} <= set(law.inputs) else ()))
    advice = "add runs at other sizes and token counts, or fit a law with fewer parameters"
    return Fit(
        params={},
        solution={},
        status={"code": "not_identified", "message": reason, "advice": advice},
        identified={name: {"verdict": "no", "reason": reason} for name in names},
        intervals={
            "method": "none",
            "level": level,
            "degrees": 1,
            "params": {},
            "check": {"n": 0, "agree": 0},
        },
        objective={"kind": objective, "delta": delta, "value": None, "n": len(rows)},
        starts={"n": 0, "agree": 0},
        optimum={},
        noise={},
        data=_data(rows, None, np.zeros(len(rows), int)),
        replicates=(),
        **common,
    )


def _data(rows: Any, residuals: np.ndarray | None, cluster: np.ndarray) -> dict[str, tuple[Any, ...]]:
    names = row_names(rows)
    labels = rows["label"].fillna("").astype(str).tolist() if "label" in rows.columns else names
    columns = {x: tuple(map(float, rows[x])) for x in "NDCL"}
    residual = () if residuals is None else tuple(map(float, residuals))
    return {
        "row": tuple(names),
        "label": tuple(labels),
        "cluster": tuple(map(int, cluster)),
        **columns,
        "residual": residual,
    }


def _assemble(
    common: dict[str, Any],
    problem: Problem,
    solution: Solution,
    replicates: Replicates,
    rows: pd.DataFrame,
    cluster: np.ndarray,
    objective: str,
    level: float,
    table: pd.DataFrame,
) -> Fit:
    law, fixed = problem.law, problem.fixed
    u = problem.shift(solution.u, 1.0)
    point = law.parameters(u)
    point.update({c: fixed[c] for c in fixed}, **dict.fromkeys(solution.zero, 0.0))
    derived, optimum = _allocation(law, u, replicates.u, rows, level, replicates.degrees)
    intervals = _intervals(law, point, replicates, level) | derived
    ambiguous = identify.ambiguity(problem, solution)
    identified = identify.verdicts(
        law, point | {k: optimum[k] for k in derived}, intervals, fixed=fixed, ambiguous=ambiguous,
        zero=solution.zero, smallest_loss=float(np.exp(problem.log_loss.min())),
    )  # fmt: skip
    r = _residuals(problem, solution.u)
    degrees = max(len(r) - int(problem.free.sum()), 1)
    noise = {
        "sd_log": float(np.sqrt(r @ r / degrees)),
        "robust_sd_log": _robust_sd(r, problem),
        "degrees": degrees,
        "seeds": seed_noise(table),
    }
    for name in ("a", "b"):
        if name in optimum and identified[name]["verdict"] != "yes":
            optimum[name] = None
    return Fit(
        params={n: point[n] if identified[n]["verdict"] == "yes" else None for n in law.names},
        solution=point,
        status=identify.status(law, solution, identified, ambiguous[0]),
        identified=identified,
        intervals={
            "method": replicates.method,
            "level": level,
            "degrees": replicates.degrees,
            "params": {n: intervals[n] for n in intervals if identified[n]["verdict"] != "no"},
            "check": replicates.check,
        },
        objective={
            "kind": objective,
            "delta": float(problem.loss.delta) if np.isfinite(problem.loss.delta) else None,
            "value": solution.value,
            "n": len(rows),
        },
        starts={"n": len(solution.ends), "agree": solution.agree},
        optimum=optimum,
        noise=noise,
        data=_data(rows, r, cluster),
        replicates=tuple(tuple(row) for row in replicates.u.tolist()),
        **common,
    )


def _intervals(law: Law, point: dict[str, float], replicates: Replicates, level: float) -> dict[str, tuple]:
    heads = len(law.terms)
    draws = np.hstack([np.exp(np.minimum(replicates.u[:, :heads], 700.0)), replicates.u[:, heads:]])
    return {n: interval(point[n], draws[:, i], level, replicates.degrees) for i, n in enumerate(law.names)}


def _allocation(
    law: Law, u: np.ndarray, draws: np.ndarray, rows: pd.DataFrame, level: float, degrees: int
) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    """Intervals of a, b and the optimum {a, b, G, cost}; both empty for a law without allocation."""
    cost = Cost.of(*(rows[x].to_numpy(float) for x in "NDC"))
    here, there = exponents(law, u, cost), exponents(law, draws, cost)
    if here is None or there is None:
        return {}, {}
    bounds = {
        name: interval(float(here[i]), there[i], level, degrees, log=False)
        for i, name in enumerate(("a", "b"))
    }
    log_g = float(here[2])
    return bounds, {
        "a": float(here[0]),
        "b": float(here[1]),
        "log_G": log_g if np.isfinite(log_g) else None,
        "cost": asdict(cost),
    }
