"""Do groups share exponents? A law whose groups differ in coefficients alone, against one whose groups have
exponents of their own too.

The statistic is the fall of the objective, as in an F test; its distribution without a difference is that of
a wild cluster bootstrap with the null imposed (Cameron, Gelbach & Miller 2008): the shared law, and its
residuals (CR3) times one of Webb's weights for each cluster. Runs of a pair are of one cluster, so that what
they share is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.fits.bootstrap import WEBB
from analysis.fits.covariance import adjusted
from analysis.fits.result import Fit
from analysis.results import Part
from analysis.solve.multistart import solve
from analysis.solve.newton import minimise
from analysis.solve.problem import Problem

REPLICATES = 199
EXACT = 1e-16  # of the objective, a row
LEVEL = 0.1  # p below which groups have exponents of their own


@dataclass(frozen=True)
class SharedTest(Part):
    """``fall``: by how much of its value the objective falls with laws of their own; ``p``: how often it
    falls as much in ``replicates`` where the law is shared."""

    fall: float
    p: float
    replicates: int

    @property
    def shared(self) -> bool:
        return self.p > LEVEL


def shared(fit: Fit, own: Sequence[str], count: int = REPLICATES, seed: int = 0) -> SharedTest:
    """Test whether the groups of a fit share parameters.

    Args:
        fit: a usable fit with groups, which share them.
        own: all parameters that each group has of its own where they do not.
        count: of replicates.
        seed: of their weights.
    """
    null, cluster = fit.problem, np.array(fit.data["cluster"])
    full = replace(null, own=tuple(own))
    begin = fit.solved.u[None]
    value = fit.solved.value
    least = min(solve(full).value, float(minimise(full, _apart(null, full, begin))[1][0]))
    fitted, left = null.model.fitted(begin)[0], adjusted(null, begin[0], cluster)
    rng = np.random.default_rng(seed)
    signs = WEBB[rng.integers(0, len(WEBB), size=(count, int(cluster.max()) + 1))]

    def draw(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return fitted + np.take(signs[which], cluster, axis=1) * left, null.w

    ends, values, _ = minimise(null, np.repeat(begin, count, axis=0), draw=draw)
    _, falls, _ = minimise(full, _apart(null, full, ends), draw=draw)
    none = EXACT * len(cluster)  # left by a law that has no noise about it
    fall = (value + none) / (least + none) - 1
    further = (values + none) / (falls + none) - 1 >= fall
    return SharedTest(fall, float((1 + further.sum()) / (count + 1)), count)


def _apart(null: Problem, full: Problem, u: np.ndarray) -> np.ndarray:
    """Coordinates (R, P), centred, of a problem of shared parameters as those of one where each group has its
    own."""
    shared, own = null.shift(u, 1.0), np.zeros((len(u), len(full.names)))
    for group in range(len(null.labels)):
        own[:, full.position[group]] = shared[:, null.position[group]]
    return full.shift(own, -1.0)
