"""How far estimates of a law scatter, and which intervals a fit reports, from slopes of log losses alone.

Shapes: n runs, P free coordinates of the law (logs of coefficients, exponents), G clusters, Q quantities.
The fit is least squares of log losses (Huber's, nearly as efficient), so that with slopes J (n, P) and noise
of covariance V its estimate has covariance B J' V J B, B = (J' J)^-1. The interval that the fit will *report*
is another number: residuals of clusters, what the fit took from them given back (CR3), stretched by Student's
t of G - 1 degrees of freedom, and no narrower than that of independent runs. Both are given.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats

from analysis.fits.covariance import LEAST
from analysis.planning.prior import NoiseLevel

EFFICIENCY = 0.95  # of Huber's estimate at its usual delta, for normal noise
SINGULAR = 1e-13  # of the largest eigenvalue of J'J, below which nothing is known of a direction
MANY = 150  # clusters, from which a variance by clusters is what it estimates
CEILING = 1e3  # a standard deviation of a coordinate that says as little as any larger one


@dataclass(frozen=True)
class Estimates:
    """Of runs with slopes ``jacobian`` (n, P) of their log losses, ``noise`` and the index of the ``cluster``
    (n,) that shares some of it."""

    jacobian: np.ndarray
    cluster: np.ndarray
    noise: NoiseLevel

    def of(self, rows: np.ndarray) -> Estimates:
        """Those of some runs alone, by index (k,)."""
        cluster = np.unique(self.cluster[rows], return_inverse=True)[1]
        return Estimates(self.jacobian[rows], cluster, self.noise)

    @property
    def determined(self) -> bool:
        """Whether there are more runs than coordinates, and these are all seen."""
        return len(self.jacobian) > self.jacobian.shape[1] and bool(np.isfinite(self.condition))

    @cached_property
    def clusters(self) -> int:
        return int(self.cluster.max()) + 1

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray]:
        """Of J'J, rising."""
        return np.linalg.eigh(self.jacobian.T @ self.jacobian)

    @cached_property
    def weakest(self) -> np.ndarray:
        """The direction (P,) that is seen least, each coordinate's part of it in size."""
        return np.abs(self._eigen[1][:, 0])

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
    def _root(self) -> np.ndarray:
        """R (P, P) with R R' = (J'J)^-1; a direction that is not seen has ``CEILING`` squared in units of the
        noise."""
        eigen, vectors = self._eigen
        limit = (self.noise.run / CEILING) ** 2
        return vectors / np.sqrt(np.maximum(eigen, max(limit, SINGULAR * float(eigen[-1]))))

    @cached_property
    def bread(self) -> np.ndarray:
        """(J'J)^-1 (P, P), as far as directions are seen."""
        return self._root @ self._root.T

    def _by_cluster(self, rows: np.ndarray) -> np.ndarray:
        """Sums (G, K) of rows (n, K) over each cluster."""
        columns = [np.bincount(self.cluster, column, self.clusters) for column in rows.T]
        return np.stack(columns, axis=1)

    @cached_property
    def _sums(self) -> np.ndarray:
        """Sums (G, P) of the slopes of each cluster, which noise that it shares moves together."""
        return self._by_cluster(self.jacobian)

    @cached_property
    def _meat(self) -> np.ndarray:
        """J' V J (P, P)."""
        own, shared = self.noise.run**2, self.noise.shared**2
        return own * self.jacobian.T @ self.jacobian + shared * self._sums.T @ self._sums

    @cached_property
    def covariance(self) -> np.ndarray:
        """(P, P) of the estimates over repeated studies."""
        return self.bread @ self._meat @ self.bread / EFFICIENCY

    @cached_property
    def _given_back(self) -> np.ndarray:
        """Leverages (n, P) of residuals on the estimates, what the fit took from each cluster given back:
        (I - H)^-1 J B of its rows, with H = J B J', by the eigenvalues of H, as many as there are
        coordinates."""
        count = self.jacobian.shape[1]
        pairs = (self.jacobian[:, :, None] * self.jacobian[:, None]).reshape(-1, count**2)
        seen = self._root.T @ self._by_cluster(pairs).reshape(-1, count, count) @ self._root
        taken, vectors = np.linalg.eigh(seen)
        turned = self._root @ vectors
        back = (turned / np.maximum(1 - taken, LEAST)[:, None]) @ np.swapaxes(turned, 1, 2)
        return np.einsum("np,npq->nq", self.jacobian, back[self.cluster])

    def _clustered(self, slopes: np.ndarray) -> tuple[float, float]:
        """The mean of the variance by clusters that a fit will find for ``slopes`` (P,), and its degrees of
        freedom: that of a sum of squares t_g' e of errors e, by its first two moments."""
        weight, own, shared = self._given_back @ slopes, self.noise.run**2, self.noise.shared**2
        total, square = np.bincount(self.cluster, weight), np.bincount(self.cluster, weight**2)
        weighted, bread = self._by_cluster(self.jacobian * weight[:, None]), self.bread
        # the covariance of t_g' e (G, G) is diag(alone) + joint @ core @ joint'
        alone = own * square + shared * total**2
        joint = np.hstack([weighted, total[:, None] * self._sums])
        moved = own * (bread @ (self.jacobian.T @ self.jacobian) @ bread - 2 * bread)
        moved += shared * bread @ (self._sums.T @ self._sums) @ bread
        core = np.block([[moved, -shared * bread], [-shared * bread, np.zeros_like(bread)]])
        seen = core @ (joint.T @ joint)
        mean = float(alone.sum() + np.trace(seen))
        squares = (alone**2).sum() + 2 * alone @ ((joint @ core) * joint).sum(1) + np.trace(seen @ seen)
        return mean, max(mean**2 / max(float(squares), 1e-300), 1.0)

    @cached_property
    def _independent(self) -> np.ndarray:
        """The covariance (P, P) that a fit is expected to find for independent runs."""
        n = len(self.jacobian)
        trace = n * (self.noise.run**2 + self.noise.shared**2) - float(np.trace(self.bread @ self._meat))
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
