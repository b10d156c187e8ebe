"""FLOPs per token as a function of N: in general, as a power of N, and as counted at some sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from scipy.interpolate import PchipInterpolator

from analysis.results import Interval, Part

WIDEST = (-50.0, 120.0)  # log N, of a cost that is known at every size
HALVINGS = 60  # of a range of log N: to the last digit

Function = Callable[[np.ndarray], np.ndarray]


class Rate:
    """FLOPs per token as a function of N, of one curve or of many at once, (R, 1) draws of it."""

    @property
    def reach(self) -> tuple[float, float]:
        """The range of log N in which it is known at all."""
        return -np.inf, np.inf

    def log_rate(self, x: np.ndarray) -> np.ndarray:
        """log(C/D) at log N = ``x``."""
        raise NotImplementedError

    def slope(self, x: np.ndarray) -> np.ndarray:
        """d log(C/D) / d log N at log N = ``x``, positive."""
        raise NotImplementedError

    def tokens(self, n: np.ndarray | float, c: np.ndarray | float) -> np.ndarray:
        """D that compute ``c`` buys at size ``n``."""
        with np.errstate(all="ignore"):  # of replicates whose N* is at an end of the floats
            return np.asarray(c, float) / np.exp(self.log_rate(np.log(np.asarray(n, float))))

    def size(self, d: np.ndarray, c: np.ndarray) -> np.ndarray:
        """N at which ``d`` tokens cost ``c``; nan where that is out of ``reach``."""
        goal = np.log(np.asarray(c, float) / np.asarray(d, float))
        ends = np.clip(self.reach, *WIDEST)
        low, high = (np.full(np.broadcast_shapes(goal.shape, self.log_rate(goal).shape), x) for x in ends)
        inside = (self.log_rate(low) <= goal) & (goal <= self.log_rate(high))
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            up = self.log_rate(middle) < goal
            low, high = np.where(up, middle, low), np.where(up, high, middle)
        return np.where(inside, np.exp(0.5 * (low + high)), np.nan)

    def flops(self, n: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
        """C of ``d`` tokens at size ``n``."""
        with np.errstate(all="ignore"):
            return np.asarray(d, float) * np.exp(self.log_rate(np.log(np.asarray(n, float))))


@dataclass(frozen=True)
class Power(Rate, Part):
    """C = ``kappa`` N^``gamma`` D. ``misfit``: the largest relative error at the table's runs."""

    kappa: float
    gamma: float = 1.0
    misfit: float = 0.0
    kind: Literal["power"] = "power"

    @property
    def description(self) -> str:
        return f"C = {self.kappa:.4g} N{'' if self.gamma == 1 else f'^{self.gamma:.4g}'} D"

    @property
    def sizes(self) -> Interval:
        return Interval(0.0, np.inf)

    @property
    def beyond(self) -> str:
        return ""

    def log_rate(self, x: np.ndarray) -> np.ndarray:
        return np.log(self.kappa) + self.gamma * x

    def slope(self, x: np.ndarray) -> np.ndarray:
        return np.full_like(x, self.gamma, float)

    def drawn(self, count: int) -> Rate:
        return self


@dataclass(frozen=True)
class Known(Rate, Part):
    """FLOPs per token that were counted, at ``points`` of (N, C/D), between which logs are interpolated.
    ``source``: by what; ``sizes``: of the table; ``beyond``: what it is beyond those, empty where the same.
    ``misfit``: the largest relative difference from the table's compute; ``kappa, gamma``: of the power
    nearest to the table."""

    kappa: float
    gamma: float
    misfit: float
    source: str
    beyond: str
    sizes: Interval
    points: tuple[tuple[float, float], ...]
    kind: Literal["known"] = "known"

    @property
    def description(self) -> str:
        return f"C/D {self.source}"

    @property
    def reach(self) -> tuple[float, float]:
        return float(np.log(self.points[0][0])), float(np.log(self.points[-1][0]))

    @cached_property
    def _curve(self) -> PchipInterpolator:
        return PchipInterpolator(*np.log(self.points).T, extrapolate=False)

    @cached_property
    def _slope(self) -> Function:
        return self._curve.derivative()

    def log_rate(self, x: np.ndarray) -> np.ndarray:
        return self._curve(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        return self._slope(x)

    def drawn(self, count: int) -> Rate:
        return self


def nearest_power(n: np.ndarray, d: np.ndarray, c: np.ndarray) -> Power:
    """The power of N nearest to the FLOPs per token of runs."""
    x, y = np.log(n), np.log(c / d)
    spread = float(np.var(x))
    gamma = float(np.cov(x, y, bias=True)[0, 1] / spread) if spread > 1e-8 else 1.0
    if abs(gamma - 1) < 1e-9:
        gamma = 1.0
    intercept = float(np.mean(y - gamma * x))
    misfit = float(np.max(np.abs(np.expm1(y - gamma * x - intercept))))
    return Power(float(np.exp(intercept)), gamma, 0.0 if misfit < 1e-9 else misfit)


def off(rate: Rate, n: np.ndarray, d: np.ndarray, c: np.ndarray) -> float:
    """Give the largest relative error of a cost at runs.

    Args:
        rate: the cost.
        n: sizes of the runs (n,).
        d: their tokens.
        c: their FLOPs.
    """
    return float(np.max(np.abs(rate.flops(n, d) / c - 1)))
