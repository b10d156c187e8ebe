"""The forecast of a run beyond the data, in parts: the law, the run, and the discrepancy between law and
world.

The law is fitted again with weights (C / max C)^1/4, so that it is truest where the forecast begins; the
descriptive fit stays what it is. An interval at any level is z(level) sqrt(law^2 + run^2 + discrepancy^2) of
log loss on both sides of that refit's value, from which the mean of the discrepancy is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from typing import TYPE_CHECKING

import numpy as np

from analysis.errors import AnalysisError
from analysis.fits.allocation import values
from analysis.fits.bootstrap import METHODS, RESAMPLED, replicate
from analysis.fits.covariance import usable
from analysis.fits.discrepancy import FULL, Discrepancy, shipped
from analysis.fits.earlier import budget_of, scale_of
from analysis.fits.intervals import NORMAL
from analysis.fits.promise import improvement, promised, steepness, unbending, unsettled
from analysis.solve.multistart import solve
from analysis.solve.problem import Problem

if TYPE_CHECKING:
    from analysis.fits.result import Fit

REPLICATES = 200
PROMISES = 40  # of these, by which the size of the discrepancy is known
SIDES = (0.05, 0.95)  # of replicates, a few of which may lie far off: the central 90 %
UNSEEN = 0.25  # standard errors of a back-test's mean error: the least that it is taken for
LEAST_FAR = 1.01  # a back-test that reaches less far says nothing of growth with distance


@dataclass(frozen=True)
class Parts:
    """Of runs asked for, (m,) each: ``refit``, its loss in nats; ``lean``, how much too high it is expected
    to be, of log loss; and standard deviations of log loss: of the ``law``, of a ``run`` about it, of the
    ``discrepancy`` between law and world; ``above``: how far the target lies above the data in log C, or what
    stands for it."""

    refit: np.ndarray
    lean: np.ndarray
    law: np.ndarray
    run: np.ndarray
    discrepancy: np.ndarray
    above: np.ndarray

    @property
    def se(self) -> np.ndarray:
        """All together."""
        return np.sqrt(self.law**2 + self.run**2 + self.discrepancy**2)


@dataclass(frozen=True)
class Own:
    """What the table's own back-test was off: ``error`` of log loss beyond the noise of a run, with the
    largest compute ``far`` times the most that was fitted."""

    error: float
    far: float

    def grown(self, h: np.ndarray) -> np.ndarray:
        """The error at a distance ``h`` in log C from the data."""
        return self.error * np.maximum(1.0, h / np.log(max(self.far, LEAST_FAR)))


@dataclass(frozen=True)
class Extrapolation:
    """A fit's law beyond its data. ``problem``: the weighted refit, ``point`` (1, P) its optimum, ``draws``
    (R, P) its replicates, in plain coordinates; ``run``: standard deviation of a run's log loss about it, at
    the largest compute; ``own``: the back-test, None where the table allows none; ``constants``: of the
    discrepancy; ``least``: slopes of the power law that the discrepancy is no less than with, None where the
    fit is settled."""

    fit: Fit
    problem: Problem
    point: np.ndarray
    draws: np.ndarray
    run: float
    own: Own | None
    constants: Discrepancy
    least: dict[str, np.ndarray] | None = None

    @classmethod
    def of(cls, fit: Fit, constants: Discrepancy | None = None) -> Extrapolation:
        """Refit the law of a fit for forecasts. Raises AnalysisError where :func:`why_not` says so."""
        reason = why_not(fit)
        if reason:
            raise AnalysisError(f"forecast by {fit.law.name!r}: {reason}")
        constants = constants or shipped()
        scale = scale_of(fit.data, fit.law.inputs)
        assert scale is not None  # why_not
        share = scale / _largest(fit.problem, scale)
        weights = fit.problem.w * share**constants.weight
        problem = replace(fit.problem, weights=weights / weights.mean())
        solution = solve(problem, start=None if problem.law.terms else fit.solved.u[None])
        kind = fit.intervals.kind if fit.intervals.kind in METHODS else "auto"
        count = min(REPLICATES, len(fit.replicates)) if kind in RESAMPLED else REPLICATES
        cluster = np.array(fit.data["cluster"])
        drawn = replicate(problem, solution, cluster, "cluster", method=kind, count=count, check=0)
        return cls(
            fit, problem, problem.shift(solution.u, 1.0)[None], drawn.u,
            _run_noise(fit, problem, solution.u, share), _own(fit), constants,
            unbending(problem) if unsettled(fit) else None,
        )  # fmt: skip

    @cached_property
    @np.errstate(all="ignore")
    def leans(self) -> np.ndarray:
        """By how much forecasts of each group are expected to be too high, of log loss (G,): the mean of the
        discrepancy, with what the law promises where the group's largest budget ends."""
        problem, budget = self.problem, budget_of(self.fit)
        group = np.zeros(len(budget), int) if problem.group is None else problem.group
        slopes = steepness(problem, self.point, problem.inputs, group)
        near = np.full(len(budget), log(FULL))
        each = improvement(slopes, near, dict.fromkeys(slopes, np.zeros(1)))[0]
        top = budget == _largest(problem, budget)
        gain = np.array([each[top & (group == g)].mean() for g in range(group.max() + 1)])
        own = None if self.own is None else self.own.grown(near[: len(gain)])
        return self.constants.lean(gain, own)

    @np.errstate(all="ignore")
    def at(self, inputs: Mapping[str, np.ndarray], group: np.ndarray) -> Parts:
        """Forecast runs.

        Args:
            inputs: of the law, and N, D, C as far as they are known, (m,) each.
            group: index of each one's group (m,).
        """
        best = values(self.problem, self.point, dict(inputs), group)[0]
        drawn = np.log(values(self.problem, self.draws, dict(inputs), group)) - np.log(best)
        some = self.draws[:: max(1, len(self.draws) // PROMISES)]
        gain, h, above = promised(self.problem, some, self.fit.data, inputs, group, self.least)
        own = None if self.own is None else self.own.grown(h)
        return Parts(
            best,
            self.leans[group],
            0.5 * np.ptp(np.quantile(drawn, SIDES, axis=0), axis=0) / NORMAL,
            np.full(len(best), self.run),
            _central(self.constants.sd(gain, own)),
            above,
        )


def _central(deviations: np.ndarray) -> np.ndarray:
    """The root mean square (m,) over draws of standard deviations (R, m): that of an error whose size is
    known as well as the draws say. Those outside ``SIDES`` count as these."""
    low, high = np.nanquantile(deviations, SIDES, axis=0)
    return np.sqrt(np.nanmean(np.clip(deviations, low, high) ** 2, axis=0))


def why_not(fit: Fit) -> str:
    """Why a fit makes no calibrated forecasts; empty where it does."""
    if not fit.usable:
        return fit.status.message
    if fit.unit is None:
        return f"it is of column {fit.setup.target!r}; what is known of laws beyond their data is of losses"
    if fit.problem.loss.space != "log":
        return f"its residuals are not of log loss (objective {fit.objective.kind!r}); fit with 'huber'"
    if scale_of(fit.data, fit.law.inputs) is None:
        return "neither compute nor N nor D of its runs is known"
    return ""


def _largest(problem: Problem, scale: np.ndarray) -> np.ndarray:
    """The largest scale of each row's group (n,)."""
    group = np.zeros(len(scale), int) if problem.group is None else problem.group
    return np.array([scale[group == g].max() for g in range(group.max() + 1)])[group]


def _run_noise(fit: Fit, problem: Problem, u: np.ndarray, share: np.ndarray) -> float:
    """Standard deviation of a run's log loss at the largest compute: of the refit's residuals weighted by
    C / max C, drawn to their mean as far as few runs carry it; at least that of repeated seeds."""
    r, n = problem.y - problem.model.fitted(u[None])[0], len(share)
    free = int(problem.free.sum())
    near, all_ = (float(np.average(r**2, weights=share**power)) for power in (1.0, 0.5))
    carried = share.sum() ** 2 / (share**2).sum()
    variance = (carried * near + free * all_) / (carried + free) * n / max(n - free, 1)
    seeds = fit.noise.seeds.sd_log if fit.noise.seeds else 0.0
    return max(float(np.sqrt(variance)), seeds)


def _own(fit: Fit) -> Own | None:
    """What the fit below the largest budget is off there; None where that leaves too little to fit."""
    try:
        before = fit.earlier
    except AnalysisError:
        return None
    late = fit.problem.at(~before.early)
    group = np.zeros(len(late.target), int) if late.group is None else late.group
    error = np.log(values(before.problem, before.point, dict(late.inputs), group)[0]) - late.y
    if not np.isfinite(error).all():
        return None
    square = _unexplained(fit.problem, before.point[0], before.early, error, fit.noise.sd**2)
    return Own(float(np.sqrt(square)), before.far)


def _unexplained(
    problem: Problem, u: np.ndarray, early: np.ndarray, error: np.ndarray, variance: float
) -> float:
    """The square of a back-test's error that neither the noise of runs nor that of the law explains.

    Args:
        problem: the law on all rows.
        u: its optimum on the early ones, plain coordinates (P,).
        early: which rows are early (n,).
        error: of log loss at the late ones.
        variance: of a run's log loss about the law.
    """
    u = problem.shift(u, -1.0)
    rows = problem.model.jacobian(u)[:, usable(problem, u)]
    late, mean = rows[~early], rows[~early].mean(axis=0)
    spread = np.linalg.pinv((rows[early] * problem.w[early, None]).T @ rows[early], hermitian=True)
    of_each = 1 + np.einsum("np,pq,nq->n", late, spread, late).mean()
    of_mean = 1 / len(error) + mean @ spread @ mean
    return max(
        float(np.mean(error**2) - variance * of_each),
        float(np.mean(error) ** 2 - variance * of_mean),
        UNSEEN**2 * variance / len(error),  # what so few runs cannot show is not taken for 0
    )
