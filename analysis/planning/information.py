"""What runs would say of a law, linearised at a prior: the covariance of its parameters.

Shapes: n runs, P free coordinates of the law (logs of coefficients, exponents), G clusters, Q quantities.
The fit is least squares of log losses (Huber's, nearly as efficient), so that with slopes J (n, P) and noise
of covariance V its estimate has covariance B J' V J B, B = (J' J)^-1. The interval that the fit will *report*
is another number: residuals of clusters, what the fit took from them given back (CR3), stretched by Student's
t of G - 1 degrees of freedom, and no narrower than that of independent runs. Both are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.errors import AnalysisError, Complaint
from analysis.fits.covariance import LEAST
from analysis.fits.identification import shortage
from analysis.fits.options import FitOptions
from analysis.fits.rows import prepare
from analysis.planning.prior import Prior
from analysis.solve.problem import Loss, Problem

EFFICIENCY = 0.95  # of Huber's estimate at its usual delta, for normal noise
STEP = 1e-4  # of a coordinate, over which slopes of derived quantities are taken
SINGULAR = 1e-13  # of the largest eigenvalue of J'J, below which nothing is known of a direction
MANY = 150  # clusters, from which a variance by clusters is what it estimates
CEILING = 1e3  # a standard deviation of a coordinate that says as little as any larger one

Quantity = Callable[[np.ndarray], np.ndarray]  # of plain coordinates (R, P), (R, Q)


def slopes(problem: Problem, u: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Slopes (Q, P) of a quantity at coordinates ``u`` (P,), centred, by central differences."""
    steps = STEP * np.where(problem.in_log, 1.0, np.maximum(np.abs(u), 1e-3))
    both = np.concatenate([u + np.diag(steps), u - np.diag(steps)])
    up, down = np.split(np.asarray(quantity(problem.shift(both, 1.0)), float), 2)
    return ((up - down) / (2 * steps[:, None])).T


@dataclass(frozen=True)
class Information:
    """Runs that are planned, and what they would say of ``prior``. ``frame`` has the runs with columns N, D,
    C; ``problem`` the law on them, their losses those of the prior; ``u`` its coordinates (P,), centred;
    ``cluster`` (n,) what shares noise, ``by`` in words."""

    prior: Prior
    frame: pd.DataFrame
    problem: Problem
    u: np.ndarray
    cluster: np.ndarray
    by: str

    @classmethod
    def of(cls, prior: Prior, runs: pd.DataFrame, *, convention: str = "total") -> Information:
        """Linearise ``prior`` at runs.

        Args:
            prior: the law with its values and noise.
            runs: columns of the law's inputs (``params``, ``tokens``, ``flops`` ...), and ``trunk_id``,
                ``seed`` where runs share noise by them. No losses are needed.
            convention: which N and C, a name of ``analysis.tables.runs.CONVENTIONS``.

        Raises:
            AnalysisError: a column is missing, no run is left, or the prior is no loss at some run.
        """
        asked = FitOptions(convention=convention, cells="all").checked(prior.law)
        rows = prepare(prior.law, runs.drop(columns="role", errors="ignore").assign(loss=1.0), asked)
        if not len(rows.target):
            raise AnalysisError(Complaint("no run to plan with", hint="give params, tokens and flops"))
        losses = prior.losses(rows.inputs)
        if not (np.isfinite(losses) & (losses > 0)).all():
            message = f"prior of {prior.law.name!r}: gives a loss of {losses.min():g} at a run"
            raise AnalysisError(Complaint(message, hint="give values that were fitted near these sizes"))
        problem = Problem(prior.law, rows.inputs, losses, Loss())
        u = problem.coordinates(prior.params)
        return cls(prior, rows.frame.assign(L=losses), problem, u, rows.cluster, rows.by)

    @cached_property
    def jacobian(self) -> np.ndarray:
        """Slopes (n, P) of log losses."""
        return self.problem.model.jacobian(self.u)

    @cached_property
    def shortage(self) -> str:
        """Why so few runs can say nothing of the law; empty where they may."""
        return shortage(self.problem)

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Of J'J, rising."""
        return np.linalg.eigh(self.jacobian.T @ self.jacobian)

    @cached_property
    def condition(self) -> float:
        """The ratio of the largest to the smallest eigenvalue of J'J of coordinates in units of their own
        slopes; infinite where a direction is not seen at all."""
        size = np.linalg.norm(self.jacobian, axis=0)
        if not size.all():
            return np.inf
        eigen = np.linalg.eigvalsh((self.jacobian / size).T @ (self.jacobian / size))
        return float(eigen[-1] / eigen[0]) if eigen[0] > SINGULAR * eigen[-1] else np.inf

    @cached_property
    def confounded(self) -> tuple[str, ...]:
        """The parameters that the direction least seen is made of, most of it first."""
        weakest = np.abs(self._eigen[1][:, 0])
        order = np.argsort(-weakest)
        return tuple(self.problem.names[i] for i in order if weakest[i] > 0.3 * weakest.max())

    @cached_property
    def bread(self) -> np.ndarray:
        """(J'J)^-1 (P, P); a direction that is not seen has ``CEILING`` squared in units of the noise."""
        eigen, vectors = self._eigen
        limit = (self.prior.noise.run / CEILING) ** 2
        floor = np.maximum(eigen, max(limit, SINGULAR * float(eigen[-1])))
        return (vectors / floor) @ vectors.T

    @cached_property
    def _sums(self) -> np.ndarray:
        """Sums (G, P) of the slopes of each cluster, which noise that it shares moves together."""
        out = np.zeros((self.clusters, self.jacobian.shape[1]))
        np.add.at(out, self.cluster, self.jacobian)
        return out

    @cached_property
    def _meat(self) -> np.ndarray:
        """J' V J (P, P)."""
        noise = self.prior.noise
        return noise.run**2 * self.jacobian.T @ self.jacobian + noise.shared**2 * self._sums.T @ self._sums

    @cached_property
    def covariance(self) -> np.ndarray:
        """(P, P) of the estimates over repeated studies."""
        return self.bread @ self._meat @ self.bread / EFFICIENCY

    @cached_property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1

    @cached_property
    def _given_back(self) -> np.ndarray:
        """Leverages (n, P) of residuals on the estimates, what the fit took from each cluster given back."""
        lever, out = self.jacobian @ self.bread, np.empty_like(self.jacobian)
        ends = np.cumsum(np.bincount(self.cluster))[:-1]
        for rows in np.split(np.argsort(self.cluster, kind="stable"), ends):
            room, vectors = np.linalg.eigh(np.eye(len(rows)) - lever[rows] @ self.jacobian[rows].T)
            out[rows] = (vectors / np.maximum(room, LEAST)) @ vectors.T @ lever[rows]
        return out

    def _clustered(self, slopes: np.ndarray) -> tuple[float, float]:
        """The mean of the variance by clusters that a fit will find for ``slopes`` (P,), and its degrees of
        freedom: that of a sum of squares t_g' e of errors e, by its first two moments."""
        weight = np.zeros((len(self.jacobian), self.clusters))
        weight[np.arange(len(weight)), self.cluster] = self._given_back @ slopes
        taken = weight - (self.jacobian @ self.bread) @ (self.jacobian.T @ weight)
        sums = np.zeros((self.clusters, self.clusters))
        np.add.at(sums, self.cluster, taken)
        noise = self.prior.noise
        both = noise.run**2 * taken.T @ taken + noise.shared**2 * sums.T @ sums
        mean = float(np.trace(both))
        return mean, max(mean**2 / max(float((both**2).sum()), 1e-300), 1.0)

    @cached_property
    def _independent(self) -> np.ndarray:
        """The covariance (P, P) that a fit is expected to find for independent runs."""
        noise, n = self.prior.noise, len(self.jacobian)
        trace = n * (noise.run**2 + noise.shared**2) - float(np.trace(self.bread @ self._meat))
        return self.bread * trace / max(n - len(self.bread), 1)

    def spread(self, slopes: np.ndarray) -> np.ndarray:
        """Standard deviations (Q,) over repeated studies of what has ``slopes`` (Q, P)."""
        return np.sqrt(np.maximum(np.einsum("qp,pr,qr->q", slopes, self.covariance, slopes), 0.0))

    def half_width(self, slopes: np.ndarray, level: float = 0.9) -> np.ndarray:
        """Half the width (Q,) of the interval that the fit is expected to report, in the median, of what has
        ``slopes`` (Q, P)."""
        stretch = float(stats.t.ppf(0.5 + level / 2, max(self.clusters - 1, 1)))
        alone = np.einsum("qp,pr,qr->q", slopes, self._independent, slopes)
        wide = np.empty(len(slopes))
        for i, row in enumerate(slopes):
            if self.clusters > MANY:
                wide[i] = row @ self.covariance @ row * EFFICIENCY
                continue
            mean, degrees = self._clustered(row)
            wide[i] = mean * (1 - 2 / (9 * degrees)) ** 3  # the median of a chi2 over its mean
        return stretch * np.sqrt(np.maximum(np.maximum(wide, alone), 0.0) / EFFICIENCY)

    def slopes(self, quantity: Quantity) -> np.ndarray:
        """Slopes (Q, P) of a quantity."""
        return slopes(self.problem, self.u, quantity)

    def value(self, quantity: Quantity) -> np.ndarray:
        """(Q,) the quantity at the prior."""
        return np.asarray(quantity(self.problem.shift(self.u, 1.0)[None]), float)[0]

    def to_dict(self) -> dict[str, Any]:
        return {
            "runs": len(self.frame),
            "clusters": self.clusters,
            "clusters_by": self.by,
            "condition": None if np.isinf(self.condition) else self.condition,
            "confounded": list(self.confounded),
        }
