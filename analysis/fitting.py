"""Fit a law to a table of runs.

Default objective: the sum of Huber losses of log residuals, with delta = 1.345 x their robust scale (95 %
efficient on clean data, bounded influence of a bad run). ``delta`` may be given, to compare with published
fits; ``log-ls`` and ``raw-ls`` are least squares of log residuals and of residuals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis import identify
from analysis.allocation import Cost
from analysis.derived import allocation, best_exponents
from analysis.errors import AnalysisError
from analysis.intervals import METHODS, Replicates, cluster_test, interval, replicate
from analysis.laws import Law, find
from analysis.problem import Loss, Problem
from analysis.profile import profile
from analysis.result import Fit
from analysis.rows import RUNS, Rows, prepare
from analysis.solver import Solution, minimise, solve
from analysis.tables import row_names, seed_noise

OBJECTIVES = ("huber", "log-ls", "raw-ls")
TUNING = 1.345
LEAST_DELTA = 1e-6  # for noise-free tables
MAD = 1.4826
SIMULATIONS = 199  # that calibrate a profile


@dataclass(frozen=True)
class Request:
    """What was asked of a fit, checked."""

    law: Law
    objective: str
    delta: float | None
    bootstrap: int
    method: str
    fixed: dict[str, float]
    bounds: dict[str, tuple[float, float]]
    level: float
    seed: int
    convention: str
    setup: dict[str, Any]


def fit(
    law: str | Law,
    table: pd.DataFrame,
    *,
    objective: str = "huber",
    delta: float | None = None,
    bootstrap: int = 500,
    method: str = "auto",
    fixed: Mapping[str, float] | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    target: str = "loss",
    weights: str | None = None,
    groups: str | None = None,
    own: Sequence[str] | None = None,
    cluster: str | None = None,
    seed: int = 0,
    convention: str = "total",
    roles: Sequence[str] = ("fit",),
    level: float = 0.9,
    where: str | None = None,
    excluded: Sequence[Mapping[str, str]] = (),
) -> Fit:
    """Fit ``law`` (a name of ``LAWS``, ``file.py:NAME`` or a Law) to the rows of ``table`` with these
    ``roles``.

    ``bootstrap``: replicates for intervals by ``method`` (``intervals.METHODS``, or ``profile``), clustered
    by column ``cluster`` (left out: trunk, else seed and size, else size); 0 takes a linearised covariance.
    ``fixed`` parameters are held, ``bounds`` narrow domains. ``target``, ``weights``: columns. ``groups``: a
    column of data sets fitted together: parameters in ``own`` (left out: the linear ones) have a value for
    each, ``A[name]``, the others are shared. ``level`` of the intervals. ``where``: a filter of rows
    (:mod:`analysis.where`). ``excluded``: rows left out before, to be listed with ours. A table that
    determines nothing gives status ``not_identified`` and no parameters. Raises AnalysisError for a bad
    request or table.
    """
    law = find(law) if isinstance(law, str) else law
    own = tuple(law.linear if own is None else own) if groups else tuple(own or ())
    setup = {"target": target, "weights": weights, "groups": groups, "own": own, "cluster": cluster}
    asked = Request(
        law, objective, delta, bootstrap, method, dict(fixed or {}), dict(bounds or {}), level, seed,
        convention, setup
    )  # fmt: skip
    _check(asked)
    rows = prepare(
        law, table, convention=convention, roles=roles, target=target, weights=weights, groups=groups,
        cluster=cluster, signed=objective == "raw-ls", where=where,
    )  # fmt: skip
    rows = replace(rows, excluded=(*({**row} for row in excluded), *rows.excluded))
    problem = Problem(
        law, rows.inputs, rows.target, Loss(raw=objective == "raw-ls"),
        {name: float(value) for name, value in asked.fixed.items()}, rows.weights, asked.bounds, rows.group,
        rows.labels, own,
    )  # fmt: skip
    setup["labels"] = rows.labels
    reason = identify.shortage(problem) if len(rows.target) else _none_left(rows.excluded)
    if not reason and np.ptp(rows.target) < 1e-12 * np.abs(rows.target).max():
        reason = f"the loss is {rows.target[0]:g} in every run; nothing depends on {', '.join(law.inputs)}"
    if reason:
        return _nothing(asked, problem, rows, reason)
    _check_names(asked, problem)
    problem = _with_delta(asked, problem)
    solution = solve(problem)
    if law.terms and all(name in solution.zero for name, base in zip(problem.names, problem.base, strict=True)
                         if base in law.linear and law.terms[base]):  # fmt: skip
        return _nothing(asked, problem, rows, f"the loss does not fall with {', '.join(law.inputs)}")
    found = replicate(
        problem, solution, rows.cluster, rows.by, method="auto" if method == "profile" else method,
        count=bootstrap, seed=seed,
    )  # fmt: skip
    return _assemble(asked, problem, solution, found, rows, table)


def _none_left(excluded: Sequence[Mapping[str, Any]]) -> str:
    """Why a table has no usable runs: the reasons, most frequent first, with how many rows each left out."""
    reasons = Counter(str(row["reason"]) for row in excluded).most_common(3)
    return "; ".join(["no usable runs", *(f"{number} rows: {reason}" for reason, number in reasons)])


def _check(asked: Request) -> None:
    law, problems = asked.law, []
    if asked.objective not in OBJECTIVES:
        problems.append(f"objective {asked.objective!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
    if asked.method not in (*METHODS, "profile"):
        problems.append(f"method {asked.method!r} is unknown; choose one of {', '.join(METHODS)}, profile")
    if asked.delta is not None and not (asked.delta > 0 and np.isfinite(asked.delta)):
        problems.append(
            f"delta = {asked.delta!r} must be finite and positive; leave it out for 1.345 x residual scale"
        )
    if not 0 < asked.level < 1:
        problems.append(f"level = {asked.level!r} must lie between 0 and 1; 0.9 is usual")
    if isinstance(asked.bootstrap, bool) or asked.bootstrap < 0:
        problems.append(f"bootstrap = {asked.bootstrap!r} must be a number of replicates >= 0")
    elif not asked.bootstrap and asked.method in (
        "cluster",
        "wild-cluster",
        "wild-t",
        "case",
        "residual",
        "wild",
    ):
        problems.append(f"method {asked.method!r} needs replicates; give bootstrap >= 200, or method 'cr2'")
    for name in asked.setup["own"]:
        if name not in law.names or not asked.setup["groups"]:
            problems.append(
                f"own parameter {name!r}: name some of {', '.join(law.names)}, and a column of groups"
            )
    for name, value in asked.fixed.items():
        base = name.partition("[")[0]
        if base not in law.names:
            problems.append(
                f"fixed parameter {name!r} is not one of {', '.join(law.names)} of law {law.name!r}"
            )
        elif isinstance(value, bool) or not np.isfinite(value) or (law.in_log(base) and value < 0):
            rule = "finite and not negative" if law.in_log(base) else "finite"
            problems.append(f"fixed {name} = {value!r} must be {rule}")
    for name, (low, high) in asked.bounds.items():
        if name.partition("[")[0] not in law.names or not low < high:
            problems.append(f"bounds of {name!r} = ({low!r}, {high!r}): name a parameter, and ends that rise")
    if set(law.names) <= set(asked.fixed):
        problems.append(f"all parameters of {law.name!r} are fixed; leave at least one to fit")
    if problems:
        raise AnalysisError(problems)


def _check_names(asked: Request, problem: Problem) -> None:
    """Names of one group's parameter are known only with the table."""
    known = {*problem.names, *problem.law.names}
    unknown = [name for name in (*asked.fixed, *asked.bounds) if name not in known]
    if unknown:
        raise AnalysisError(f"parameters {', '.join(unknown)}: the groups give {', '.join(problem.names)}")


def _with_delta(asked: Request, problem: Problem) -> Problem:
    if asked.objective != "huber":
        return problem
    loss = Loss() if asked.delta is None else Loss(float(asked.delta))
    for _ in range(2 if asked.delta is None else 0):  # a bad run inflates the first scale, of least squares
        here = replace(problem, loss=loss)
        r = _residuals(here, solve(here, keep=8).u)
        loss = Loss(max(TUNING * robust_sd(r, problem), LEAST_DELTA))
    return replace(problem, loss=loss)


def _residuals(problem: Problem, u: np.ndarray) -> np.ndarray:
    return problem.y - problem.model.fitted(u[None])[0]


def robust_sd(r: np.ndarray, problem: Problem) -> float:
    degrees = max(len(r) - int(problem.free.sum()), 1)
    return float(MAD * np.median(np.abs(r)) * np.sqrt(len(r) / degrees))


def _nothing(asked: Request, problem: Problem, rows: Rows, reason: str) -> Fit:
    names = (*problem.names, *(("a", "b") if {"N", "D"} <= set(asked.law.inputs) else ()))
    advice = "add runs at other sizes and token counts, or fit a law with fewer parameters"
    none = {"method": "none", "kind": "none", "level": asked.level, "degrees": 1, "params": {},
            "check": {"n": 0, "agree": 0}}  # fmt: skip
    return Fit(
        law=asked.law,
        convention=asked.convention,
        params={},
        solution={},
        status={"code": "not_identified", "message": reason, "advice": advice},
        identified={name: {"verdict": "no", "reason": reason} for name in names},
        intervals=none,
        objective={"kind": asked.objective, "delta": asked.delta, "value": None, "n": len(rows.target)},
        starts={"n": 0, "agree": 0},
        excluded=rows.excluded,
        optimum={},
        fixed=asked.fixed,
        noise={},
        data=_data(rows, None),
        notes=tuple(rows.frame.attrs.get("notes", [])),
        replicates=(),
        setup=asked.setup | {"bounds": asked.bounds, "space": "log"},
    )


def _data(rows: Rows, residuals: np.ndarray | None) -> dict[str, tuple[Any, ...]]:
    frame, names = rows.frame, row_names(rows.frame)
    labels = frame["label"].fillna("").astype(str).tolist() if "label" in frame.columns else names
    more = {} if rows.weights is None else {"weight": tuple(map(float, rows.weights))}
    if rows.group is not None:
        more["group"] = tuple(map(int, rows.group))
    known = [x for x in ("N", "D", "C", "L") if x in frame.columns]
    others = [x for x in rows.inputs if x not in known]
    return {
        "row": tuple(names),
        "label": tuple(labels),
        "cluster": tuple(map(int, rows.cluster)),
        **{x: tuple(map(float, frame[x])) for x in (*known, *others)},
        **more,
        "residual": () if residuals is None else tuple(map(float, residuals)),
    }


def _noise(
    problem: Problem, solution: Solution, rows: Rows, table: pd.DataFrame
) -> tuple[dict[str, Any], Any, str]:
    """Residual scales, the residuals to keep (of logs wherever there are logs), and their space."""
    fitted = problem.model.fitted(solution.u[None])[0]
    space = "raw" if problem.loss.raw and min(problem.target.min(), fitted.min()) <= 0 else "log"
    r = problem.y - fitted
    left = np.log(problem.target) - np.log(fitted) if problem.loss.raw and space == "log" else r
    degrees = max(len(r) - int(problem.free.sum()), 1)
    repeated = "role" in table.columns and bool((table["role"] == "noise").to_numpy().any())
    seeds = seed_noise(table) if repeated and set(RUNS) <= set(table.columns) and space == "log" else None
    noise = {
        "sd_log": float(np.sqrt(left @ left / degrees)),
        "robust_sd_log": robust_sd(left, problem),
        "degrees": degrees,
        "seeds": seeds,
        "clusters_alike_p": cluster_test(r, rows.cluster) if len(r) < 20_000 else None,
    }
    return noise, left, space


def _assemble(
    asked: Request, problem: Problem, solution: Solution, found: Replicates, rows: Rows, table: pd.DataFrame
) -> Fit:
    u = problem.shift(solution.u, 1.0)
    values = problem.parameters(u)
    point = dict(zip(problem.names, map(float, values), strict=True))
    point |= {n: float(h) for i, n in enumerate(problem.names) if (h := problem.held(i)) is not None}
    point |= dict.fromkeys(solution.zero, 0.0)
    bounds, method = _parameter_intervals(asked, problem, solution, found, point, rows.cluster)
    cost = (
        Cost.of(*(rows.frame[x].to_numpy(float) for x in "NDC")) if allocation(problem, rows.frame) else None
    )
    optimum: dict[str, Any] = {}
    if cost is not None:
        here, there = (best_exponents(problem, x, cost) for x in (u[None], found.u))
        for i, name in enumerate(("a", "b")):
            bounds[name] = interval(float(here[i][0]), there[i], asked.level, found.degrees, log=False)
            optimum[name] = float(here[i][0])
        optimum |= {"log_G": float(here[2][0]) if np.isfinite(here[2][0]) else None, "cost": vars(cost)}
    ambiguous = identify.ambiguity(problem, solution)
    identified = identify.verdicts(problem, solution, point | optimum, bounds, ambiguous)
    for name in ("a", "b"):
        if optimum and identified[name]["verdict"] != "yes":
            optimum[name] = None
    noise, residuals, space = _noise(problem, solution, rows, table)
    delta = float(problem.loss.delta) if np.isfinite(problem.loss.delta) else None
    return Fit(
        law=asked.law,
        convention=asked.convention,
        params={n: point[n] if identified[n]["verdict"] == "yes" else None for n in problem.names},
        solution=point,
        status=identify.status(asked.law, solution, identified, ambiguous[0]),
        identified=identified,
        intervals={
            "method": method,
            "kind": found.kind if asked.method != "profile" else "profile",
            "level": asked.level,
            "degrees": found.degrees,
            "params": {n: bounds[n] for n in bounds if identified[n]["verdict"] != "no"},
            "check": found.check,
        },
        objective={"kind": asked.objective, "delta": delta, "value": solution.value, "n": len(rows.target)},
        starts={"n": len(solution.ends), "agree": solution.agree},
        excluded=rows.excluded,
        optimum=optimum,
        fixed={n: float(v) for n, v in asked.fixed.items()},
        noise=noise,
        data=_data(rows, residuals),
        notes=(*rows.frame.attrs.get("notes", []), *found.notes),
        replicates=tuple(map(tuple, found.u.tolist())),
        setup=asked.setup | {"bounds": asked.bounds, "space": space},
        others=_others(asked, problem, solution, bounds),
    )


def _parameter_intervals(
    asked: Request,
    problem: Problem,
    solution: Solution,
    found: Replicates,
    point: dict[str, float],
    cluster: Any,
) -> tuple[dict[str, tuple[float, float]], str]:
    draws, out = problem.parameters(found.u), {}
    for i, name in enumerate(problem.names):
        log = bool(problem.in_log[i]) or (point[name] > 0 and bool(problem.law.terms))
        out[name] = interval(point[name], draws[:, i], asked.level, found.degrees, log=log)
    if asked.method != "profile":
        return out, found.method
    words = ""
    for i, name in enumerate(problem.names):
        if problem.free[i] and point[name] != 0:
            held = profile(problem, solution, name, level=asked.level, cluster=cluster,
                           simulations=SIMULATIONS, seed=asked.seed)  # fmt: skip
            ends = (0.0, 1e300) if problem.in_log[i] else problem.law.domain(problem.base[i])
            out[name] = (
                ends[0] if held.low is None else held.low,
                ends[1] if held.high is None else held.high,
            )
            words = held.calibration
    return out, f"profile of the objective, {words}; derived quantities: {found.method}"


def _others(
    asked: Request, problem: Problem, solution: Solution, bounds: Mapping[str, tuple[float, float]]
) -> tuple[dict[str, Any], ...]:
    """Parameters under the other objectives, solved from this optimum, where one leaves its interval."""
    out = []
    raw = float(np.median(problem.target)) if problem.loss.raw else 1.0
    delta = TUNING * robust_sd(_residuals(problem, solution.u), problem) / raw
    losses = {"huber": Loss(max(delta, LEAST_DELTA)), "log-ls": Loss(), "raw-ls": Loss(raw=True)}
    for kind, loss in losses.items():
        tuned = kind == "huber" and asked.delta is None
        if (kind == asked.objective and (kind != "huber" or tuned)) or (
            not loss.raw and problem.target.min() <= 0
        ):
            continue
        here = replace(problem, loss=loss)
        end = minimise(here, solution.u[None], steps=60)[0][0]
        x = here.parameters(here.shift(end, 1.0))
        params = {n: float(v) for n, v in zip(problem.names, x, strict=True)}
        outside = [n for n, v in params.items() if n not in problem.fixed
                   and not bounds[n][0] <= v <= bounds[n][1]]  # fmt: skip
        if outside:
            shown = loss.delta if np.isfinite(loss.delta) else None
            out.append({"kind": kind, "delta": shown, "params": params, "outside": outside})
    return tuple(out)
