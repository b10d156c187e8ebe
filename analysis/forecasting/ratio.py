"""What a user's own scores say of the shipped discrepancy: how many times it the errors beyond noise are.

Errors of log loss are taken as normal with variance law^2 + run^2 + (ratio x discrepancy)^2. The ratio is
that of Paule and Mandel (1982), its interval the Q-profile (Viechtbauer 2007, Statistics in Medicine 26,
eq. 4), both with the squares averaged within groups of forecasts that share their error.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from analysis.forecasting.calibration import LEVEL, Outcome, weights_of
from analysis.results import Interval, Part

PART = "discrepancy"  # its name among the parts of a forecast
LARGEST = 1e6  # ratio looked at


@dataclass(frozen=True)
class Ratio(Part):
    """Errors beyond noise over the shipped discrepancy: ``value`` with its ``interval`` of ``level``, from
    ``forecasts`` in independent ``groups``; ``smaller``: even without a discrepancy the errors are smaller
    than law and run noise let expect."""

    value: float
    interval: Interval
    level: float
    forecasts: int
    groups: int
    smaller: bool


def discrepancy_ratio(outcomes: Iterable[Outcome]) -> Ratio | None:
    """The ratio, from the outcomes of forecasts that were given a discrepancy; None: there is no such."""
    used = [one for one in outcomes if (one.parts or {}).get(PART, 0) > 0]
    if not used:
        return None
    groups = len({one.group for one in used})
    tails = [float(stats.chi2.ppf(p, groups)) for p in (0.5 + LEVEL / 2, 0.5 - LEVEL / 2)]
    value, low, high = (_solved(used, sum_) for sum_ in (float(groups), *tails))
    smaller = _sum(used, 0.0) < tails[1]
    return Ratio(value, Interval(low, high), LEVEL, len(used), groups, smaller)


def _sum(used: Sequence[Outcome], ratio: float) -> float:
    """The sum over groups of mean squared standardised errors; falls with the ratio."""
    parts = [one.parts or {} for one in used]
    noise = np.array([sum(sd**2 for name, sd in of.items() if name != PART) for of in parts])
    variance = noise + (ratio * np.array([of[PART] for of in parts])) ** 2
    squares = np.array([one.error for one in used]) ** 2 / np.maximum(variance, np.finfo(float).tiny)
    return len({one.group for one in used}) * float(weights_of(used) @ squares)


def _solved(used: Sequence[Outcome], wanted: float) -> float:
    """The ratio at which the sum is ``wanted``; 0 where it is below that without a discrepancy."""
    if _sum(used, 0.0) <= wanted:
        return 0.0
    root: Any = brentq(lambda ratio: _sum(used, ratio) - wanted, 0.0, LARGEST, xtol=1e-9)
    return float(root)
