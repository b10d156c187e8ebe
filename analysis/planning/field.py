"""Log losses of runs as one normal distribution: a law near its prior, where it bends away from the runs,
and noise. It says what a run teaches about another.

Shapes: m cells, P coordinates, T targets. With slopes J (m, P), log L = J u + bend + noise: u has a wide
normal prior; the bend is a Gaussian process of the logs of the inputs that grows with the distance from the
target, so that runs far from it tell less of it, however cheap and many they are (the smallest sizes are the
usual case); and runs of one trunk share some of their noise. This is universal kriging with the law for its
trend (Stein 1999, ch. 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.fits.result import Fit
from analysis.planning.prior import NoiseLevel, Prior, misfit_in
from analysis.results import Part
from analysis.solve.problem import Loss, Problem

WIDTH = {"log": 1.0, "exponent": 0.15, "plain": 0.25}  # prior standard deviations of coordinates:
# logarithms; exponents of power sums; other parameters, as a share of their domain or size
REACH = 10.0  # of log loss, or times the loss itself, by which one coordinate's prior moves a cell at most
BEND, DECADES = 0.002, 1.0  # of log loss, and the decades over which it is alike


@dataclass(frozen=True)
class Misfit(Part):
    """How runs bend away from the law that holds at the target: ``size``, the standard deviation of log loss
    there, which grows by as much with each decade from it; ``decades`` over which a bend is alike."""

    size: float = BEND
    decades: float = DECADES

    def covariance(self, places: np.ndarray, target: np.ndarray) -> np.ndarray:
        """(m, m) between cells at ``places`` (m, X), log10 of inputs, with the target at (X,): exponential in
        their distance."""
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)
        size = self.size * (1 + np.linalg.norm(places - target, axis=1) / self.decades)
        return size[:, None] * size[None] * np.exp(-apart / self.decades)


def misfit_of(fit: Fit) -> Misfit:
    """The misfit of a fitted law: what its residuals are beyond the noise of repeated seeds, and no less than
    is usual."""
    return Misfit(max(BEND, misfit_in(fit)))


def places(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """(m, X) of inputs (m,) each: their log10, or where some are not positive their share of the range."""
    columns = []
    for value in inputs.values():
        value = np.asarray(value, float)
        span = float(np.ptp(value)) or 1.0
        columns.append(np.log10(value) if (value > 0).all() else (value - value.min()) / span)
    return np.stack(columns, axis=1)


def widths(problem: Problem) -> np.ndarray:
    """Prior standard deviations (P,) of the coordinates, centred."""
    low, high = problem.box
    wide = np.where(np.isfinite(high - low), high - low, 4.0)
    plain = WIDTH["plain"] * wide
    powers = np.array([name in problem.law.exponents for name in problem.base]) & bool(problem.law.terms)
    return np.where(problem.in_log, WIDTH["log"], np.where(powers, WIDTH["exponent"], plain))


@dataclass(frozen=True)
class Field:
    """``problem``: the law on all cells (m), losses those of the prior at ``u``; ``misfit``; ``noise``;
    ``cluster`` (m,) of what shares some of it. ``derived``: slopes (T, P) of other quantities, such as log
    N* at some compute, which follow the cells as rows m to m + T - 1 and do not bend. ``targets`` (k,) are
    the cells about which the law holds."""

    problem: Problem
    u: np.ndarray
    misfit: Misfit
    noise: NoiseLevel
    cluster: np.ndarray
    derived: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(
        cls,
        prior: Prior,
        inputs: Mapping[str, np.ndarray],
        cluster: np.ndarray,
        misfit: Misfit,
        *,
        targets: np.ndarray,
        derived: np.ndarray | None = None,
    ) -> Field:
        """Take a prior at cells.

        Args:
            prior: the law, its values and noise.
            inputs: of the law by name, (m,) each.
            cluster: index of what shares noise (m,).
            misfit: how runs bend away from the law.
            targets: indices (k,) of the cells about which it holds: their middle.
            derived: slopes (T, P) in the coordinates of a problem with the same ``inputs``; left out: none.
        """
        problem = problem_of(prior, inputs)
        slopes = np.zeros((0, len(problem.names))) if derived is None else derived
        return cls(problem, problem.coordinates(prior.params), misfit, prior.noise, cluster, slopes, targets)

    @cached_property
    def slopes(self) -> np.ndarray:
        """(m + T, P) of log losses and of what is derived, by prior standard deviations of the coordinates. A
        prior that would move the loss of a cell by more than ``REACH`` is taken to move it by that: in sums
        with larger ones there are no digits left for noise, and runs seem to say nothing."""
        problem = self.problem
        # where a law has no slope, a run says nothing of it
        cells = np.nan_to_num(problem.model.jacobian(self.u), posinf=0.0, neginf=0.0)
        wide = np.concatenate([cells, self.derived]) * widths(problem)
        reach = REACH * (float(np.abs(problem.target).mean()) if problem.loss.raw else 1.0)
        return wide * np.minimum(1.0, reach / np.maximum(np.abs(wide[: len(cells)]).max(axis=0), 1e-300))

    def latent(self) -> np.ndarray:
        """Covariance (m + T, m + T) of log losses without noise, and of what is derived."""
        at, m = places(self.problem.inputs), len(self.cluster)
        out = self.slopes @ self.slopes.T
        out[:m, :m] += self.misfit.covariance(at, at[self.targets].mean(axis=0))
        return out

    def observed(self, latent: np.ndarray) -> np.ndarray:
        """Covariance (m, m) of what runs of the cells would measure, where each is trained once."""
        m = len(self.cluster)
        return latent[:m, :m] + self.noise.covariance(self.cluster)


def problem_of(prior: Prior, inputs: Mapping[str, np.ndarray]) -> Problem:
    """The law of a prior on cells, whose ``inputs`` are (m,) each, with the losses that it gives there."""
    own = {x: np.asarray(inputs[x], float) for x in prior.law.inputs}
    return Problem(prior.law, own, prior.losses(own), Loss())
