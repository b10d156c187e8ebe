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
from functools import partial
from inspect import Parameter, Signature, signature
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, plural
from analysis.fits import ambiguity, diagnostics, identification
from analysis.fits.allocation import Optimum, allocation, best_exponents, cost_of, drift
from analysis.fits.bootstrap import MANY, Replicates, fewest, replicate
from analysis.fits.covariance import depends
from analysis.fits.diagnostics import tuned
from analysis.fits.intervals import interval, of_parameters
from analysis.fits.options import ADVICE, FitOptions, check_names, not_falling, rising
from analysis.fits.profile import PARTS, profile
from analysis.fits.result import Fit
from analysis.fits.rows import Rows, prepare, rises
from analysis.fits.splits import splits
from analysis.fits.stacked import stacked
from analysis.laws.curve import CurveLaw, span
from analysis.laws.law import Law
from analysis.laws.lookup import require, require_curve_law
from analysis.results import FitSetup, Interval, Intervals, Noise, Objective, Starts, Status, Verdict
from analysis.solve.multistart import Solution, on_edge, solve
from analysis.solve.problem import Loss, Problem
from analysis.tables.checks import row_names
from analysis.tables.table import Table, about, frame_of

SIMULATIONS = 199  # that calibrate a profile


@np.errstate(all="ignore")  # what overflows on the way to an optimum is nothing that a user can act on
def fit(
    law: str | Law | CurveLaw,
    table: pd.DataFrame | Table,
    *,
    schedules: Mapping[str, Any] | None = None,
    curve: str = "curve",
    **options: Any,
) -> Fit:
    """Fit a law to the rows of a table. One that determines nothing gives status ``not_identified`` and no
    parameters.

    Args:
        law: a name of ``LAWS``, ``file.py:NAME`` or a Law; with ``schedules``, a name of ``CURVE_LAWS`` or a
            CurveLaw, fitted to rows of training curves.
        table: runs; of a curve law columns ``curve``, ``step`` (updates made, from 1) and the loss.
        schedules: the learning rates of each curve, one an update, by its name. Losses of one curve share
            noise: they cluster by it unless ``cluster`` says otherwise, those of a single curve by blocks of
            its steps.
        curve: the column that names the curve.
        options: the fields of :class:`analysis.fits.options.FitOptions`.

    Raises:
        AnalysisError: for a bad request or table.
    """
    asked, seen = FitOptions(**options), {}
    if schedules is not None:
        law, table = require_curve_law(law).of_table(frame_of(table), schedules, curve)
        seen = span(schedules)
    law = require(law)
    asked = asked.checked(law)
    rows = prepare(law, table, asked)
    if asked.cluster is not None and len(rows.cluster) and not rows.cluster.any():
        raise AnalysisError(
            f"cluster {asked.cluster!r}: all rows are of one cluster, which leaves nothing to compare; name "
            "a column of what shares noise, such as sizes or trunks"
        )
    own, bounds = tuple(asked.own or ()), {name: Interval(*v) for name, v in asked.named("bounds").items()}
    setup = FitSetup(asked.target, asked.cluster, rows.unit, asked.weights, asked.groups, own, rows.labels,
                     bounds, delta=asked.delta, **seen)  # fmt: skip
    problem = Problem(
        law, rows.inputs, rows.target, Loss(space=asked.space), asked.named("fixed"), rows.weights, bounds,
        rows.group, rows.labels, own,
    )  # fmt: skip
    nothing = partial(_nothing, asked, setup, problem, rows)
    reason = identification.shortage(problem) if len(rows.target) else _none_left(rows.excluded)
    if not reason and np.ptp(rows.target) <= 1e-12 * np.abs(rows.target).max():
        reason = f"the loss is {rows.target[0]:g} in every run; nothing depends on {', '.join(law.inputs)}"
    if reason:
        return nothing(reason)
    if law.terms and min(low for low, _ in map(law.domain, law.names)) >= 0 and rises(rows.frame, law.inputs):
        return nothing(*rising(law.name, asked.target, float(rows.target.max())))
    check_names(problem)
    if asked.objective == "huber":
        problem = tuned(problem, asked.delta)
    solution = solve(problem)
    _check_rows(problem, solution)
    named = zip(problem.names, problem.base, strict=True)
    powers = [name for name, base in named if base in law.linear and law.terms.get(base)]
    gone = law.terms and {*powers} <= {*solution.zero}
    if gone or not depends(problem, solution):
        what = f"nothing shows that {asked.target!r} depends on {', '.join(law.inputs)}"
        alike = (f"a constant fits as well at the noise level: {what}",)
        return nothing(*(stacked(problem, rows.frame) or (not_falling(problem) if gone else alike)))
    method = "auto" if asked.method == "profile" else asked.method
    replicates = replicate(
        problem, solution, rows.cluster, rows.by, method=method, count=asked.bootstrap, seed=asked.seed,
        pair=rows.pair,
    )  # fmt: skip
    return _assemble(asked, setup, problem, solution, replicates, rows, table)


def _signature() -> Signature:
    """That of :func:`fit` with every option by name, for editors and help."""
    own = [p for p in signature(fit).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    options = signature(FitOptions, eval_str=True).parameters.values()
    named = [option.replace(kind=Parameter.KEYWORD_ONLY) for option in options]
    return signature(fit).replace(parameters=[*own, *named])


fit.__signature__ = _signature()  # type: ignore[attr-defined]


def _none_left(excluded: Sequence[Mapping[str, Any]]) -> str:
    """Why a table has no usable runs: the reasons, most frequent first, with how many rows each left out."""
    reasons = Counter(str(row["reason"]) for row in excluded).most_common(3)
    return "; ".join(
        ["no usable runs", *(f"{plural(number, 'row')}: {reason}" for reason, number in reasons)]
    )


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


def _common(asked: FitOptions, problem: Problem, rows: Rows) -> dict[str, Any]:
    return {"law": problem.law, "convention": asked.convention, "excluded": rows.excluded,
            "fixed": dict(problem.fixed)}  # fmt: skip


def _nothing(
    asked: FitOptions, setup: FitSetup, problem: Problem, rows: Rows, reason: str, advice: str = ADVICE
) -> Fit:
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


def _assemble(
    asked: FitOptions,
    setup: FitSetup,
    problem: Problem,
    solution: Solution,
    replicates: Replicates,
    rows: Rows,
    table: pd.DataFrame | Table,
) -> Fit:
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
