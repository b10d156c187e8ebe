"""A fit put together: estimates with intervals and verdicts, rows, notes; or why there is none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.fits import ambiguity, diagnostics, identification
from analysis.fits.allocation import Optimum, allocation, best_exponents, cost_of, drift
from analysis.fits.bootstrap import MANY, Replicates, fewest
from analysis.fits.intervals import interval, of_parameters
from analysis.fits.options import ADVICE, FitOptions
from analysis.fits.profile import PARTS, profile
from analysis.fits.result import Fit
from analysis.fits.rows import Rows
from analysis.fits.splits import splits
from analysis.fits.stacked import stacked
from analysis.results import FitSetup, Interval, Intervals, Noise, Objective, Starts, Status, Verdict
from analysis.solve.multistart import Solution, on_edge
from analysis.solve.problem import Problem
from analysis.tables.checks import row_names
from analysis.tables.table import Table, about

SIMULATIONS = 199  # that calibrate a profile


def _common(asked: FitOptions, problem: Problem, rows: Rows) -> dict[str, Any]:
    return {"law": problem.law, "convention": asked.convention, "excluded": rows.excluded,
            "fixed": dict(problem.fixed)}  # fmt: skip


def unfitted(
    asked: FitOptions, setup: FitSetup, problem: Problem, rows: Rows, reason: str, advice: str = ADVICE
) -> Fit:
    """The fit of a table that determines nothing, and the ``reason``.

    Args:
        asked: options.
        setup: columns and bounds asked for.
        problem: the law on its rows.
        rows: of the table that could be fitted.
        reason: in words.
        advice: what to do.
    """
    names = (*problem.names, *(("a", "b") if {"N", "D"} <= set(problem.law.inputs) else ()))
    return Fit(
        **_common(asked, problem, rows),
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
        setup=setup,
        splits=splits(rows.frame, rows.inputs, problem.y, _used(asked, rows)) if len(rows.target) else (),
    )


def _used(asked: FitOptions, rows: Rows) -> set[str]:
    """Columns that a fit takes account of, by which it splits no table."""
    given = asked.groups, asked.cluster, asked.weights, asked.target, about(rows.frame).run
    return {*rows.inputs, *(about(rows.frame).columns.get(x, x) for x in given if x is not None)}


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


def assemble(
    asked: FitOptions,
    setup: FitSetup,
    problem: Problem,
    solution: Solution,
    replicates: Replicates,
    rows: Rows,
    table: pd.DataFrame | Table,
) -> Fit:
    """The fit of a problem.

    Args:
        asked: options.
        setup: columns and bounds asked for.
        problem: the law on its rows.
        solution: its optimum.
        replicates: behind its intervals.
        rows: of the table that were fitted.
        table: whose repeated seeds are measured.
    """
    u = problem.shift(solution.u, 1.0)
    values = problem.parameters(u)
    point = dict(zip(problem.names, map(float, values), strict=True))
    point |= {n: float(h) for i, n in enumerate(problem.names) if (h := problem.held(i)) is not None}
    point |= dict.fromkeys(solution.zero, 0.0)
    bounds, method = _parameter_intervals(asked, problem, solution, replicates, point, rows.cluster)
    optimum, costs = _optimum(asked, problem, u, replicates, rows, bounds)
    exponents = cast(Any, optimum.exponents) if optimum else {}
    ambiguous = ambiguity.ambiguity(problem, solution)
    few = replicates.clustered and 1 < fewest(problem, rows.cluster) + (problem.group is not None) < MANY
    thin = identification.thinly(problem, solution, rows.cluster, rows.by) if few else {}
    identified = identification.verdicts(problem, solution, point | exponents, bounds, ambiguous, thin)
    for name in ("a", "b"):
        if optimum and identified[name].verdict != "yes":
            optimum = replace(optimum, **{name: None})
    scales, left = diagnostics.noise(problem, solution, rows, table, asked.where)
    apart = splits(rows.frame, rows.inputs, left, _used(asked, rows))
    delta = float(problem.loss.delta) if np.isfinite(problem.loss.delta) else None
    return Fit(
        **_common(asked, problem, rows),
        params={n: point[n] if identified[n].verdict == "yes" else None for n in problem.names},
        solution=point,
        status=identification.status(problem, solution, identified, ambiguous),
        identified=identified,
        intervals=Intervals(
            method,
            asked.level,
            replicates.degrees,
            {n: bounds[n] for n in bounds if identified[n].verdict != "no"},
            replicates.kind if asked.method != "profile" else "profile",
            replicates.check,
        ),
        objective=Objective(asked.objective, delta, solution.value, len(rows.target)),
        starts=Starts(solution.tried, solution.agree),
        optimum=optimum,
        noise=scales,
        data=_data(rows, left),
        notes=(
            *about(rows.frame).notes,
            *diagnostics.beware(asked, problem, solution),
            *diagnostics.outliers(problem, solution, rows),
            *("; ".join(kinds) for kinds in (stacked(problem, rows.frame),) if kinds and not apart),
            *replicates.notes,
            *costs,
        ),
        replicates=tuple(map(tuple, replicates.u.tolist())),
        setup=replace(setup, space=scales.space),
        others=diagnostics.others(asked, problem, solution, bounds),
        splits=apart,
    )


def _optimum(
    asked: FitOptions,
    problem: Problem,
    u: np.ndarray,
    replicates: Replicates,
    rows: Rows,
    bounds: dict[str, Interval],
) -> tuple[Optimum | None, tuple[str, ...]]:
    """a, b, log G and the cost behind them, and what to know of it; intervals of a and b go into
    ``bounds``."""
    if not allocation(problem, rows.frame):
        return None, ()
    cost, notes = cost_of(rows.frame, asked.convention, asked.cost)
    most, point = float(rows.frame["C"].max()), u[None]
    best = best_exponents(problem, point, cost, most)
    draws = best_exponents(problem, replicates.u, cost.drawn(len(replicates.u)), most)
    for name, value, many in zip("ab", best, draws, strict=False):
        bounds[name] = interval(float(value[0]), many, asked.level, replicates.degrees, log=False)
    a, b, log_g = (float(value[0]) for value in best)
    if np.isfinite(log_g):
        return Optimum(a, b, log_g, cost), notes
    ends = np.array([rows.frame["C"].min(), most])
    return Optimum(a, b, None, cost, most), (*notes, *drift(problem, point, cost, ends))


def _parameter_intervals(
    asked: FitOptions,
    problem: Problem,
    solution: Solution,
    replicates: Replicates,
    point: dict[str, float],
    cluster: Any,
) -> tuple[dict[str, Interval], str]:
    out = of_parameters(
        problem, solution.u, replicates.u, cluster, level=asked.level, degrees=replicates.degrees
    )
    if asked.method != "profile":
        return out, replicates.method
    words, parted, edges = "", [], on_edge(problem, solution.u)
    for i, name in enumerate(problem.names):
        if problem.free[i] and not edges[i]:
            held = profile(problem, solution, name, level=asked.level, cluster=cluster,
                           simulations=SIMULATIONS, seed=asked.seed)  # fmt: skip
            ends = (0.0, 1e300) if problem.in_log[i] else problem.law.domain(problem.base[i])
            low, high = held.low, held.high
            out[name] = Interval(ends[0] if low is None else low, ends[1] if high is None else high)
            words = held.calibration
            parted += [] if held.connected else [name]
    words += f", {PARTS} ({', '.join(parted)})" if parted else ""
    return out, f"profile of the objective, {words}; derived quantities: {replicates.method}"
