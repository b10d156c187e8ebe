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
from analysis.fits.covariance import LEAST, satterthwaite
from analysis.fits.identification import shortage
from analysis.fits.options import FitOptions
from analysis.fits.rows import prepare
from analysis.planning.prior import Prior
from analysis.solve.problem import Loss, Problem

EFFICIENCY = 0.95  # of Huber's estimate at its usual delta, for normal noise
STEP = 1e-4  # of a coordinate, over which slopes of derived quantities are taken
SINGULAR = 1e-13  # of the largest eigenvalue of J'J, below which nothing is known of a direction
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
    def _reported(self) -> tuple[np.ndarray, np.ndarray]:
        """Covariances (P, P) that the fit is expected to report: by clusters, and by independent runs."""
        noise, lever, n = self.prior.noise, self.jacobian @ self.bread, len(self.jacobian)
        by_cluster, total = np.zeros_like(self.bread), 0.0
        ends = np.cumsum(np.bincount(self.cluster))[:-1]
        for g, rows in enumerate(np.split(np.argsort(self.cluster, kind="stable"), ends)):
            own, mine = self.jacobian[rows], np.eye(len(rows))
            # of (I - H) V (I - H), H = J B J', the part of this cluster
            across = noise.run**2 * own + noise.shared**2 * self._sums[g]
            taken = lever[rows] @ across.T
            left = noise.run**2 * mine + noise.shared**2 - taken - taken.T
            left += lever[rows] @ self._meat @ lever[rows].T
            total += float(np.trace(left))
            room, vectors = np.linalg.eigh(mine - lever[rows] @ own.T)
            given_back = (vectors / np.maximum(room, LEAST)) @ vectors.T @ lever[rows]
            by_cluster += given_back.T @ left @ given_back
        degrees = max(n - len(self.bread), 1)
        return by_cluster / EFFICIENCY, self.bread * total / degrees / EFFICIENCY

    def spread(self, slopes: np.ndarray) -> np.ndarray:
        """Standard deviations (Q,) over repeated studies of what has ``slopes`` (Q, P)."""
        return np.sqrt(np.maximum(np.einsum("qp,pr,qr->q", slopes, self.covariance, slopes), 0.0))

    def half_width(self, slopes: np.ndarray, level: float = 0.9) -> np.ndarray:
        """Half the width (Q,) of the interval that the fit is expected to report, in the median, of what has
        ``slopes`` (Q, P)."""
        stretch = float(stats.t.ppf(0.5 + level / 2, max(self.clusters - 1, 1)))
        wide, alone = (np.einsum("qp,pr,qr->q", slopes, part, slopes) for part in self._reported)
        degrees = np.maximum(self._degrees_of(slopes), 1.0)
        usual = (1 - 2 / (9 * degrees)) ** 3  # the median of a chi2 over its mean
        return stretch * np.sqrt(np.maximum(np.maximum(usual * wide, alone), 0.0))

    @cached_property
    def _degrees(self) -> np.ndarray:
        """Degrees of freedom (P,) of the variances of the coordinates by clusters."""
        with np.errstate(all="ignore"):
            try:
                found = satterthwaite(self.problem, self.u, self.cluster)
            except np.linalg.LinAlgError:  # of runs that leave a direction open
                found = np.ones(len(self.u))
        return np.where(np.isfinite(found), found, 1.0)

    def _degrees_of(self, slopes: np.ndarray) -> np.ndarray:
        """Those (Q,) of quantities: of the coordinates, by their shares of the variance."""
        shares = slopes**2 * np.diag(self.covariance)
        return shares @ self._degrees / np.maximum(shares.sum(axis=1), 1e-300)

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
