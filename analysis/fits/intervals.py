"""From draws to intervals: of parameters and derived quantities, of a law, of a new run."""

from __future__ import annotations

import numpy as np
from scipy import stats

from analysis.results import Interval


def interval(
    estimate: float, replicates: np.ndarray, level: float, degrees: int, *, log: bool = True
) -> Interval:
    """Percentile interval about ``estimate``, deviations stretched by t(degrees)/z."""
    low, high = intervals(np.array([estimate]), replicates[:, None], level, degrees, log=log)
    return Interval(float(low[0]), float(high[0]))


def intervals(
    estimates: np.ndarray, replicates: np.ndarray, level: float, degrees: int, *, log: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds (m,) about ``estimates`` (m,) from ``replicates`` (R, m)."""
    tail = 0.5 * (1 - level)
    stretch = float(stats.t.ppf(1 - tail, degrees) / stats.norm.ppf(1 - tail))
    if not log:
        low, high = np.quantile(replicates - estimates, [tail, 1 - tail], axis=0) * stretch
        return estimates + np.minimum(low, 0.0), estimates + np.maximum(high, 0.0)
    zero = estimates <= 0
    centre = np.where(zero, 1.0, estimates)
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        deviations = np.log(np.maximum(replicates, 1e-300)) - np.log(centre)
        low, high = np.quantile(deviations, [tail, 1 - tail], axis=0) * stretch
        low, high = (
            centre * np.exp(np.maximum(np.minimum(low, 0), -700)),
            centre * np.exp(np.minimum(np.maximum(high, 0), 700)),
        )
    return np.where(zero, 0.0, low), np.where(zero, np.quantile(replicates, 1 - tail, axis=0), high)


def new_run(
    estimates: np.ndarray, replicates: np.ndarray, sd: float | np.ndarray, level: float, degrees: int, *,
    log: bool = True,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Bounds (m,) of a new run's value: the law's ``estimates`` (m,) and ``replicates`` (R, m) of it, and the
    standard deviation ``sd`` of a run about its law."""
    with np.errstate(all="ignore"):
        deviations = np.log(replicates) - np.log(estimates) if log else replicates - estimates
    law = np.sqrt(np.mean(deviations**2, axis=0))
    reach = stats.t.ppf(0.5 + level / 2, degrees) * np.hypot(law, sd)
    if log:
        return estimates * np.exp(-reach), estimates * np.exp(reach)
    return estimates - reach, estimates + reach
