"""What a run costs: C = D times FLOPs per token, which are a function of N.

- :class:`Power`, kappa N^gamma: 6 N D by convention, and wherever a table's compute is exactly a power.
- :class:`Known`: counted, by a function of N or from the shapes in the table (:mod:`analysis.fits.shapes`).
- :class:`Curve`: fitted to the compute of a table. A transformer spends 6 N on its matrices, about N^(2/3)
  or N^(1/2) on attention, and on the output head what grows as its width, N^(1/3) or N^(1/2), which a total N
  counts twice or not at all. So the curve is a sum of these powers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

from analysis.errors import AnalysisError
from analysis.results import Interval, Part

BEYOND = 1e4  # times the table's range of sizes, within which an optimum is looked for
WIDEST = (-50.0, 120.0)  # log N, of a cost that is known at every size
HALVINGS = 60  # of a range of log N: to the last digit
KNOTS = 241  # at which a function is kept
EXACT = 1e-4  # largest relative error of a power that is exact
POWERS = np.array([1.0, 2 / 3, 1 / 2, 1 / 3])  # of N, in a curve
SIX = 6.0  # FLOPs per parameter and token of matrices, which all else is small beside in the end
FREE = 4.0  # by how much a curve with another coefficient of N must be better, in units of an AIC
GOOD = 0.005  # relative error below which curves are not told apart
DRAWS = 100
SEED = 0
ALIKE = 4  # digits of log N, in which runs are of one size
CLIMB = np.linspace(0.0, np.log(BEYOND), 60)  # above the smallest size, where a curve must rise

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


@dataclass(frozen=True)
class Sums(Rate):
    """C/D = N sum of ``weights`` (..., 4) x (N/N0)^(p - 1), p of ``POWERS``; below log N = ``low`` a power of
    N that meets it. ``centre`` is log N0."""

    weights: np.ndarray
    centre: float
    low: float

    def log_rate(self, x: np.ndarray) -> np.ndarray:
        inside = np.maximum(x, self.low)
        value, slope = self._at(inside)
        return value + slope * (x - inside)

    def slope(self, x: np.ndarray) -> np.ndarray:
        return self._at(np.maximum(x, self.low))[1]

    def _at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        terms = self.weights * powers(x - self.centre)
        total = terms.sum(-1)
        return x + np.log(total), terms @ POWERS / total

    @property
    def rises(self) -> bool:
        """Whether C/D is positive and rises from the smallest size to ``BEYOND`` times it and more."""
        with np.errstate(all="ignore"):
            value, slope = self._at(self.low + CLIMB)
        return bool(np.isfinite(value).all() and (slope > 0).all())


@dataclass(frozen=True)
class Curve(Rate, Part):
    """FLOPs per token fitted to the compute of a table, as of :class:`Sums`: ``coefficients`` at N0 = exp
    (``centre``), and ``draws`` of them, which differ by the scatter of the table and by which powers are
    taken. ``sizes``: of the table, beyond which it is extrapolated. ``misfit, kappa, gamma``: as of
    :class:`Known`."""

    kappa: float
    gamma: float
    misfit: float
    sizes: Interval
    centre: float
    coefficients: tuple[float, ...]
    draws: tuple[tuple[float, ...], ...]
    kind: Literal["curve"] = "curve"

    @property
    def beyond(self) -> str:
        """What it is beyond ``sizes``."""
        return f"extrapolated, {self.description}"

    @property
    def description(self) -> str:
        scaled = np.array(self.coefficients) * np.exp((1 - POWERS) * self.centre)
        names = ("N", "N^(2/3)", "N^(1/2)", "N^(1/3)")
        terms = [
            f"{'-' if c < 0 else '+'} {abs(c):.3g} {name}" for c, name in zip(scaled, names, strict=True) if c
        ]
        return f"C/D = {' '.join(terms).removeprefix('+ ')}, fitted to the table"

    @cached_property
    def _sums(self) -> Sums:
        return Sums(np.array(self.coefficients), self.centre, np.log(self.sizes.low))

    def log_rate(self, x: np.ndarray) -> np.ndarray:
        return self._sums.log_rate(x)

    def slope(self, x: np.ndarray) -> np.ndarray:
        return self._sums.slope(x)

    def drawn(self, count: int) -> Rate:
        """``count`` curves (R, 1)."""
        weights = np.array(self.draws)[np.arange(count) % len(self.draws)]
        return Sums(weights[:, None], self.centre, self._sums.low)


Cost = Power | Known | Curve


def powers(x: np.ndarray) -> np.ndarray:
    """(..., 4) of N/N0 = exp(x), each over N/N0."""
    return np.exp(np.multiply.outer(x, POWERS - 1))


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
    """The largest relative error at runs."""
    return float(np.max(np.abs(rate.flops(n, d) / c - 1)))


def fitted(n: np.ndarray, d: np.ndarray, c: np.ndarray) -> Cost:
    """The cost of runs: a power where that is exact, else a curve."""
    power = nearest_power(n, d, c)
    return power if power.misfit < EXACT else _curve(power, n, d, c) or power


def counted(
    rate: Function, n: np.ndarray, d: np.ndarray, c: np.ndarray, source: str = "as given by a function of N"
) -> Known:
    """FLOPs per token by a function of N (m,), beside the table's runs. Raises AnalysisError."""
    ends = n.min(), n.max()
    size = np.union1d(ends, np.geomspace(ends[0] / BEYOND, ends[1] * BEYOND, KNOTS))
    try:
        value = np.broadcast_to(np.asarray(rate(size), float), size.shape)
    except (TypeError, ValueError) as error:
        raise AnalysisError(
            f"cost: the function does not take an array of N and give FLOPs per token of each ({error})"
        ) from error
    good = np.isfinite(value) & (value > 0)
    return tabulated(size[good], value[good], n, d, c, source)


def tabulated(
    size: np.ndarray,
    value: np.ndarray,
    n: np.ndarray,
    d: np.ndarray,
    c: np.ndarray,
    source: str,
    beyond: str = "",
) -> Known:
    """FLOPs per token ``value`` at models of rising ``size``, beside the table's runs ``n, d, c``.

    Args:
        size: numbers of parameters (m,), rising.
        value: FLOPs per token of each.
        n: sizes of the table's runs.
        d: their tokens.
        c: their FLOPs.
        source: how the values were counted.
        beyond: what they rest on beyond the sizes of the table, empty where on nothing else.

    Raises:
        AnalysisError: the values do not rise, or leave out a size of the table.
    """
    if len(size) < 2 or size[0] > n.min() or size[-1] < n.max():
        raise AnalysisError(
            f"cost: FLOPs per token must be finite and positive from N = {n.min():.3g} to {n.max():.3g}, the "
            "sizes of the table"
        )
    falls = np.flatnonzero(np.diff(value) <= 0)
    if len(falls):
        at = falls[0]
        raise AnalysisError(
            f"cost: FLOPs per token must rise with N, but are {value[at]:.4g} at N = {size[at]:.4g} and "
            f"{value[at + 1]:.4g} at {size[at + 1]:.4g}"
        )
    power, sizes = nearest_power(n, d, c), Interval(float(n.min()), float(n.max()))
    points = tuple(zip(size.tolist(), value.tolist(), strict=True))
    found = Known(power.kappa, power.gamma, 0.0, source, beyond, sizes, points)
    return replace(found, misfit=off(found, n, d, c))


class _Candidate(NamedTuple):
    score: float
    sums: Sums
    free: list[int]  # which coefficients are fitted; that of N is SIX otherwise, others 0
    sd: float


def _curve(power: Power, n: np.ndarray, d: np.ndarray, c: np.ndarray) -> Curve | None:
    """Least squares of relative errors over every subset of the powers that fewer coefficients than sizes
    allow. The best by AICc is taken; draws pick a subset by its Akaike weight and fit it to sizes whose C/D
    scatter again about it."""
    x, index = np.unique(np.log(n).round(ALIKE), return_inverse=True)
    y = np.bincount(index, np.log(c / d)) / np.bincount(index)
    candidates = [found for free in _subsets(len(x)) if (found := _candidate(x, y, free)).sums.rises]
    if not candidates:
        return None
    scores = np.array([candidate.score for candidate in candidates])
    weights = np.exp(0.5 * (scores.min() - scores))
    rng, draws = np.random.default_rng(SEED), []
    for i in rng.choice(len(candidates), DRAWS, p=weights / weights.sum()):
        one = candidates[i]
        again = _solve(x, one.sums.log_rate(x) + one.sd * rng.normal(size=len(x)), one.free)
        draws.append(tuple((again if again.rises else one.sums).weights.tolist()))
    best = candidates[int(scores.argmin())].sums
    sizes = Interval(float(n.min()), float(n.max()))
    coefficients = tuple(best.weights.tolist())
    return Curve(power.kappa, power.gamma, off(best, n, d, c), sizes, best.centre, coefficients, tuple(draws))


def _subsets(sizes: int) -> Iterator[list[int]]:
    """Sets of coefficients to fit to so many sizes."""
    for many in range(len(POWERS)):
        for lower in combinations(range(1, len(POWERS)), many):
            for free in ([*lower], [0, *lower]):
                if len(free) < sizes:
                    yield free


def _solve(x: np.ndarray, y: np.ndarray, free: list[int]) -> Sums:
    centre = float(x.mean())
    weights, terms = np.zeros(len(POWERS)), powers(x - centre) / np.exp(y - x)[:, None]
    left = np.ones(len(x))
    if 0 not in free:
        weights[0] = SIX
        left = left - SIX * terms[:, 0]
    weights[free] = np.linalg.lstsq(terms[:, free], left, rcond=None)[0]
    return Sums(weights, centre, float(x[0]))


def _candidate(x: np.ndarray, y: np.ndarray, free: list[int]) -> _Candidate:
    sums, rows, count = _solve(x, y, free), len(x), len(free)
    with np.errstate(all="ignore"):
        square = float(((sums.log_rate(x) - y) ** 2).sum())
    least = rows - count - 2
    penalty = 2 * (count + 1) * (rows / least if least > 0 else rows) + FREE * (0 in free)
    score = rows * np.log(square / rows + GOOD**2) + penalty
    return _Candidate(score, sums, free, float(np.sqrt(square / (rows - count))))
