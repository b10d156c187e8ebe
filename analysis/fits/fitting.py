"""Fit a law to a table of runs.

Default objective: the sum of Huber losses of log residuals, with delta = 1.345 x their robust scale (95 %
efficient on clean data, bounded influence of a bad run). ``delta`` may be given, to compare with published
fits; ``log-ls``, ``raw-ls`` and ``log1p-ls`` are least squares of log residuals, of residuals, and of
residuals of log(1 + loss) (for losses that may be 0; the MSLE of Caballero et al. 2022, arXiv:2210.14891).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import Parameter, Signature, signature
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, plural
from analysis.fits import identification
from analysis.fits.assembly import assemble, unfitted
from analysis.fits.bootstrap import replicate
from analysis.fits.covariance import blunt, depends, powerless
from analysis.fits.diagnostics import tuned
from analysis.fits.options import FitOptions, check_names, check_offset, not_falling, rising
from analysis.fits.result import Fit
from analysis.fits.rows import prepare, rises
from analysis.fits.stacked import stacked
from analysis.laws.curve import CurveLaw, span
from analysis.laws.law import Law
from analysis.laws.lookup import require, require_curve_law
from analysis.results import FitSetup, Interval
from analysis.solve.multistart import Solution, solve
from analysis.solve.problem import Loss, Problem
from analysis.tables.checks import row_names
from analysis.tables.table import Table, frame_of


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
    nothing = partial(unfitted, asked, setup, problem, rows)
    reason = identification.shortage(problem) if len(rows.target) else _none_left(rows.excluded)
    if not reason and np.ptp(rows.target) <= 1e-12 * np.abs(rows.target).max():
        reason = f"the loss is {rows.target[0]:g} in every run; nothing depends on {', '.join(law.inputs)}"
    if reason:
        return nothing(reason)
    if law.terms and min(low for low, _ in map(law.domain, law.names)) >= 0 and rises(rows.frame, law.inputs):
        return nothing(*rising(law.name, asked.target, float(rows.target.max())))
    check_names(problem)
    check_offset(problem, row_names(rows.frame))
    if asked.objective == "huber":
        problem = tuned(problem, asked.delta)
    solution = solve(problem)
    _check_rows(problem, solution)
    gone = powerless(problem, solution)
    if gone or not depends(problem, solution):
        alike = not_falling(problem) if gone else (_alike(problem, asked.target),)
        return nothing(*(stacked(problem, rows.frame) or alike))
    method = "auto" if asked.method == "profile" else asked.method
    replicates = replicate(
        problem, solution, rows.cluster, rows.by, method=method, count=asked.bootstrap, seed=asked.seed,
        pair=rows.pair,
    )  # fmt: skip
    return assemble(asked, setup, problem, solution, replicates, rows, table)


def _signature() -> Signature:
    """That of :func:`fit` with every option by name, for editors and help."""
    own = [p for p in signature(fit).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    options = signature(FitOptions, eval_str=True).parameters.values()
    named = [option.replace(kind=Parameter.KEYWORD_ONLY) for option in options]
    return signature(fit).replace(parameters=[*own, *named])


fit.__signature__ = _signature()  # type: ignore[attr-defined]


def _alike(problem: Problem, target: str) -> str:
    """Why a law that fits is not told from a constant: by too few rows, or as that fits as well."""
    if blunt(problem):
        runs, free = plural(len(problem.target), "run"), plural(int(problem.free.sum()), "parameter")
        return f"{runs} for {free} are too few to tell the law from a constant"
    what = f"nothing shows that {target!r} depends on {', '.join(problem.law.inputs)}"
    return f"a constant fits as well at the noise level: {what}"


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
