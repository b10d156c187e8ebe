"""Fit a law to a table of runs.

Default objective: the sum of Huber losses of log residuals, with delta = 1.345 x their robust scale (95 %
efficient on clean data, bounded influence of a bad run). ``delta`` may be given, to compare with published
fits; ``log-ls``, ``raw-ls`` and ``log1p-ls`` are least squares of log residuals, of residuals, and of
residuals of log(1 + loss) (for losses that may be 0; the MSLE of Caballero et al. 2022, arXiv:2210.14891).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits import ambiguity, diagnostics, identification, noise
from analysis.fits.allocation import Cost, Optimum, allocation, best_exponents
from analysis.fits.bootstrap import MANY, Replicates, fewest, replicate
from analysis.fits.diagnostics import LEAST_DELTA, TUNING, residuals, robust_sd
from analysis.fits.intervals import interval
from analysis.fits.options import ADVICE, SPACES, Request, check, check_names, not_falling
from analysis.fits.profile import profile
from analysis.fits.result import Fit
from analysis.fits.rows import Rows, prepare
from analysis.laws.curve import CurveLaw, span
from analysis.laws.law import Law
from analysis.laws.lookup import require, require_curve_law
from analysis.results import Interval, Intervals, Noise, Objective, Setup, Starts, Status, Verdict
from analysis.solve.multistart import Solution, solve
from analysis.solve.problem import Loss, Problem
from analysis.tables.checks import row_names
from analysis.tables.table import Table, about, frame_of

LEAST = {"log": 0.0, "log1p": -1.0, "raw": -np.inf}  # what a target must exceed
SIMULATIONS = 199  # that calibrate a profile


def fit(
    law: str | Law | CurveLaw,
    table: pd.DataFrame | Table,
    *,
    schedules: Mapping[str, Any] | None = None,
    curve: str = "curve",
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
    ``roles``; with ``schedules``, a name of ``CURVE_LAWS`` or a CurveLaw to rows of training curves.

    ``schedules``: the learning rates of each curve, one an update, by the name that it has in column
    ``curve``; other columns are ``step`` (updates made, from 1) and the loss. Losses of one curve share
    noise: they cluster by it unless ``cluster`` says otherwise.

    ``bootstrap``: replicates for intervals by ``method`` (``intervals.METHODS``, or ``profile``), clustered
    by column ``cluster`` (left out: trunk, else seed and size, else size); 0 takes a linearised covariance.
    ``fixed`` parameters are held, ``bounds`` replace domains. ``target``, ``weights``: columns. ``groups``: a
    column of data sets fitted together: parameters in ``own`` (left out: the linear ones) have a value for
    each, ``A[name]``, the others are shared. ``level`` of the intervals. ``where``: a filter of rows
    (:mod:`analysis.tables.where`). ``excluded``: rows left out before, to be listed with ours. A table that
    determines nothing gives status ``not_identified`` and no parameters. Raises AnalysisError for a bad
    request or table.
    """
    seen = {}
    if schedules is not None:
        law, table = require_curve_law(law).of_table(frame_of(table), schedules, curve)
        cluster, seen = cluster or "curve", span(schedules)
    law = require(law)
    own = tuple(law.linear if own is None else own) if groups else tuple(own or ())
    ends = {name: Interval(*pair) for name, pair in (bounds or {}).items()}
    setup = Setup(target, weights, groups, own, cluster, bounds=ends, **seen)
    asked = Request(
        law, objective, delta, bootstrap, method, dict(fixed or {}), ends, level, seed,
        convention, setup
    )  # fmt: skip
    check(asked)
    rows = prepare(
        law, table, convention=convention, roles=roles, target=target, weights=weights, groups=groups,
        cluster=cluster, least=LEAST[SPACES[objective]], where=where,
    )  # fmt: skip
    if cluster is not None and len(rows.cluster) and not rows.cluster.any():
        raise AnalysisError(
            f"cluster {cluster!r}: all rows are of one cluster, which leaves nothing to compare; name a "
            "column of what shares noise, such as sizes or trunks"
        )
    rows = replace(rows, excluded=(*({**row} for row in excluded), *rows.excluded))
    problem = Problem(
        law, rows.inputs, rows.target, Loss(space=SPACES[objective]),
        {name: float(value) for name, value in asked.fixed.items()}, rows.weights, asked.bounds, rows.group,
        rows.labels, own,
    )  # fmt: skip
    asked = replace(asked, setup=replace(setup, labels=rows.labels, unit=rows.unit))
    reason = identification.shortage(problem) if len(rows.target) else _none_left(rows.excluded)
    if not reason and np.ptp(rows.target) <= 1e-12 * np.abs(rows.target).max():
        reason = f"the loss is {rows.target[0]:g} in every run; nothing depends on {', '.join(law.inputs)}"
    if reason:
        return _nothing(asked, problem, rows, reason)
    check_names(asked, problem)
    problem = _with_delta(asked, problem)
    solution = solve(problem)
    _check_rows(problem, solution)
    if law.terms and all(name in solution.zero for name, base in zip(problem.names, problem.base, strict=True)
                         if base in law.linear and law.terms[base]):  # fmt: skip
        return _nothing(asked, problem, rows, *not_falling(asked, problem))
    if not noise.depends(problem, solution):
        what = f"nothing shows that {target!r} depends on {', '.join(law.inputs)}"
        return _nothing(asked, problem, rows, f"a constant fits as well at the noise level: {what}")
    found = replicate(
        problem, solution, rows.cluster, rows.by, method="auto" if method == "profile" else method,
        count=bootstrap, seed=seed,
    )  # fmt: skip
    return _assemble(asked, problem, solution, found, rows, table)


def _none_left(excluded: Sequence[Mapping[str, Any]]) -> str:
    """Why a table has no usable runs: the reasons, most frequent first, with how many rows each left out."""
    reasons = Counter(str(row["reason"]) for row in excluded).most_common(3)
    return "; ".join(["no usable runs", *(f"{number} rows: {reason}" for reason, number in reasons)])


def _check_rows(problem: Problem, solution: Solution) -> None:
    """Raises AnalysisError for a formula whose value at a row depends on which others there are."""
    if problem.law.terms:
        return
    rows = np.random.default_rng(0).integers(
        0, len(problem.target), len(problem.target)
    )  # as many: no compiling
    whole, drawn = (x.model.fitted(solution.u[None])[0] for x in (problem, problem.at(rows)))
    if not np.allclose(whole[rows], drawn, rtol=1e-6, atol=1e-9 * np.abs(whole).max()):
        i = int(np.argmax(np.abs(whole[rows] - drawn)))
        raise AnalysisError(
            f"law {problem.law.name!r} does not work row by row: with other rows beside it, one row's value "
            f"changes from {whole[rows][i]:.6g} to {drawn[i]:.6g}; its function may use only what belongs to "
            "a row (no sum, mean, maximum or order over an input)"
        )


def _with_delta(asked: Request, problem: Problem) -> Problem:
    if asked.objective != "huber":
        return problem
    loss, ends = Loss() if asked.delta is None else Loss(float(asked.delta)), None
    for _ in range(2 if asked.delta is None else 0):  # a bad run inflates the first scale, of least squares
        here = replace(problem, loss=loss)
        found = solve(here, keep=8, start=ends)
        if not problem.law.terms:  # whose many starts take long: the few best again
            ends = found.ends[np.argsort(found.end_values, kind="stable")[:8]]
        loss = Loss(max(TUNING * robust_sd(residuals(here, found.u), problem), LEAST_DELTA))
    return replace(problem, loss=loss)


def _common(asked: Request, rows: Rows) -> dict[str, Any]:
    fixed = {name: float(value) for name, value in asked.fixed.items()}
    return {"law": asked.law, "convention": asked.convention, "excluded": rows.excluded, "fixed": fixed}


def _nothing(asked: Request, problem: Problem, rows: Rows, reason: str, advice: str = ADVICE) -> Fit:
    names = (*problem.names, *(("a", "b") if {"N", "D"} <= set(asked.law.inputs) else ()))
    return Fit(
        **_common(asked, rows),
        params={},
        solution={},
        status=Status("not_identified", reason, advice),
        identified={name: Verdict("no", reason) for name in names},
        intervals=Intervals("none", asked.level, 1, {}),
        objective=Objective(asked.objective, asked.delta, None, len(rows.target)),
        starts=Starts(0, 0),
        optimum=None,
        noise=Noise(),
        data=_data(rows, None),
        notes=tuple(about(rows.frame).notes),
        replicates=(),
        setup=asked.setup,
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


def _assemble(
    asked: Request,
    problem: Problem,
    solution: Solution,
    found: Replicates,
    rows: Rows,
    table: pd.DataFrame | Table,
) -> Fit:
    u = problem.shift(solution.u, 1.0)
    values = problem.parameters(u)
    point = dict(zip(problem.names, map(float, values), strict=True))
    point |= {n: float(h) for i, n in enumerate(problem.names) if (h := problem.held(i)) is not None}
    point |= dict.fromkeys(solution.zero, 0.0)
    bounds, method = _parameter_intervals(asked, problem, solution, found, point, rows.cluster)
    optimum = _optimum(asked, problem, u, found, rows, bounds)
    exponents = cast(Any, optimum.exponents) if optimum else {}
    ambiguous = ambiguity.ambiguity(problem, solution)
    few = found.clustered and 1 < fewest(problem, rows.cluster) + (problem.group is not None) < MANY
    thin = identification.thinly(problem, solution, rows.cluster) if few else {}
    identified = identification.verdicts(problem, solution, point | exponents, bounds, ambiguous, thin)
    for name in ("a", "b"):
        if optimum and identified[name].verdict != "yes":
            optimum = replace(optimum, **{name: None})
    scales, left = diagnostics.noise(problem, solution, rows, table)
    delta = float(problem.loss.delta) if np.isfinite(problem.loss.delta) else None
    return Fit(
        **_common(asked, rows),
        params={n: point[n] if identified[n].verdict == "yes" else None for n in problem.names},
        solution=point,
        status=identification.status(asked.law, solution, identified, ambiguous[0]),
        identified=identified,
        intervals=Intervals(
            method,
            asked.level,
            found.degrees,
            {n: bounds[n] for n in bounds if identified[n].verdict != "no"},
            found.kind if asked.method != "profile" else "profile",
            found.check,
        ),
        objective=Objective(asked.objective, delta, solution.value, len(rows.target)),
        starts=Starts(solution.tried, solution.agree),
        optimum=optimum,
        noise=scales,
        data=_data(rows, left),
        notes=(
            *about(rows.frame).notes,
            *diagnostics.beware(asked, problem, solution),
            *found.notes,
        ),
        replicates=tuple(map(tuple, found.u.tolist())),
        setup=replace(asked.setup, space=scales.space),
        others=diagnostics.others(asked, problem, solution, bounds),
    )


def _optimum(
    asked: Request,
    problem: Problem,
    u: np.ndarray,
    found: Replicates,
    rows: Rows,
    bounds: dict[str, Interval],
) -> Optimum | None:
    """a, b, log G and the cost behind them; intervals of a and b go into ``bounds``."""
    if not allocation(problem, rows.frame):
        return None
    cost, optimum = Cost.of(*(rows.frame[x].to_numpy(float) for x in "NDC")), {}
    here, there = (best_exponents(problem, x, cost) for x in (u[None], found.u))
    for i, name in enumerate(("a", "b")):
        bounds[name] = interval(float(here[i][0]), there[i], asked.level, found.degrees, log=False)
        optimum[name] = float(here[i][0])
    log_g = float(here[2][0])
    return Optimum(optimum["a"], optimum["b"], log_g if np.isfinite(log_g) else None, cost)


def _parameter_intervals(
    asked: Request,
    problem: Problem,
    solution: Solution,
    found: Replicates,
    point: dict[str, float],
    cluster: Any,
) -> tuple[dict[str, Interval], str]:
    draws, out = problem.parameters(found.u), {}
    for i, name in enumerate(problem.names):
        log = bool(problem.in_log[i] or (point[name] > 0 and problem.positive[i]))
        low, high = interval(point[name], draws[:, i], asked.level, found.degrees, log=log)
        if (
            not problem.law.terms and problem.free[i]
        ):  # the stretched ends may lie where the law is not defined
            ends = problem.bounds.get(
                name, problem.bounds.get(problem.base[i], problem.law.domain(problem.base[i]))
            )
            low, high = max(low, ends[0]), min(high, ends[1])
        out[name] = Interval(low, high)
    if asked.method != "profile":
        return out, found.method
    words = ""
    for i, name in enumerate(problem.names):
        if problem.free[i] and point[name] != 0:
            held = profile(problem, solution, name, level=asked.level, cluster=cluster,
                           simulations=SIMULATIONS, seed=asked.seed)  # fmt: skip
            ends = (0.0, 1e300) if problem.in_log[i] else problem.law.domain(problem.base[i])
            low, high = held.low, held.high
            out[name] = Interval(ends[0] if low is None else low, ends[1] if high is None else high)
            words = held.calibration
    return out, f"profile of the objective, {words}; derived quantities: {found.method}"
