"""IsoFLOP analysis: the best size at each compute budget, N*(C) and D*(C), and the naive forecast.

Hoffmann et al. 2022 (arXiv:2203.15556), approach 2. A parabola in log N is symmetric and the loss curve is
not, so minima are biased when sizes are not spread evenly about them, the more so the wider the spread;
``BIAS`` says so beside every result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.budgets import budgets
from analysis.tables.runs import select
from analysis.tables.table import Table
from analysis.tables.units import loss_unit

BIAS = (
    "a parabola in log N is symmetric, the loss curve is not: minima shift toward the side with the wider "
    "range of sizes, and exponents inherit it"
)
SIZES = 3  # that a parabola needs
# FLOPs, and runs, log N (rising), log L, log D of the sizes of one budget
Curve = tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Minimum:
    """One budget: its runs and the parabola log L = c0 + c1 x + c2 x^2, x = log N - ``centre``.

    ``N, D, loss`` at the minimum; None unless ``interior`` (convex, minimum within the sizes, and the best
    run at neither end); ``reason`` says why not. ``se_log_N``: standard error from the parabola's residuals.
    """

    budget: float
    n: int
    N: float | None
    D: float | None
    loss: float | None
    se_log_N: float | None
    interior: bool
    reason: str
    centre: float
    coefficients: tuple[float, float, float]
    sizes: tuple[float, ...]
    losses: tuple[float, ...]

    def curve(self, n: np.ndarray) -> np.ndarray:
        """The parabola's loss at sizes ``n``."""
        x = np.log(n) - self.centre
        c0, c1, c2 = self.coefficients
        return np.exp(c0 + c1 * x + c2 * x**2)


@dataclass(frozen=True)
class Line:
    """log y = intercept + slope log C through the minima; ``se`` of the slope (None with two points)."""

    slope: float
    intercept: float
    se: float | None
    n: int

    def at(self, c: np.ndarray | float) -> np.ndarray:
        return np.exp(self.intercept + self.slope * np.log(np.asarray(c, float)))


@dataclass(frozen=True)
class IsoFlop:
    """Minima per budget and power laws through the interior ones: N* ~ C^a, D* ~ C^b, L* ~ C^-c.

    ``size, tokens, loss`` are None with fewer than two interior minima (``message`` says so). ``convention``
    says what N and C are.
    """

    convention: str
    minima: tuple[Minimum, ...]
    size: Line | None
    tokens: Line | None
    loss: Line | None
    message: str
    excluded: tuple[dict[str, str], ...]
    unit: str  # of the loss
    bias: str = BIAS

    @property
    def interior(self) -> tuple[Minimum, ...]:
        return tuple(m for m in self.minima if m.interior)

    def baseline(self, flops: float) -> float | None:
        """The naive forecast: the power law through the losses at the minima, extrapolated. None without."""
        return None if self.loss is None else float(self.loss.at(flops))


def minima(
    table: pd.DataFrame | Table, *, convention: str = "total", roles: tuple[str, ...] = ("fit",)
) -> IsoFlop:
    """Parabola per budget and power laws through the interior minima; none of either, and a message, where no
    run is usable. Raises AnalysisError."""
    kept, excluded = select(table, roles, convention=convention)
    frame: Any = kept
    if not len(frame):
        message = f"no usable runs with role {', '.join(roles)}; exponents need two interior minima"
        return IsoFlop(convention, (), None, None, None, message, tuple(excluded), loss_unit(frame))
    parabolas = tuple(minimum(*curve) for curve in curves(frame))
    inside = [m for m in parabolas if m.interior]
    if len(inside) < 2:
        message = f"{len(inside)} of {len(parabolas)} budgets have an interior minimum; exponents need two"
        return IsoFlop(convention, parabolas, None, None, None, message, tuple(excluded), loss_unit(frame))
    size, tokens, loss = power_laws(np.log([[m.budget, m.N, m.D, m.loss] for m in inside]))
    message = f"{len(inside)} of {len(parabolas)} minima are interior"
    return IsoFlop(convention, parabolas, size, tokens, loss, message, tuple(excluded), loss_unit(frame))


def curves(frame: Any) -> list[Curve]:
    """The curves of a selected table."""
    return split(budgets(frame), np.log(frame[["N", "L", "D"]].to_numpy(float)))


def split(budget: np.ndarray, logs: np.ndarray) -> list[Curve]:
    """Curves of rows with a ``budget`` each and ``logs`` (rows, 3) of N, L, D. Repeated sizes (seeds) are
    averaged in log, so that they have no extra weight."""
    out = []
    for c in np.unique(budget):
        rows = logs[budget == c]
        index, times = np.unique(rows[:, 0].round(4), return_inverse=True, return_counts=True)[1:]
        mean = np.stack([np.bincount(index.ravel(), column) / times for column in rows.T])
        order = np.argsort(mean[0], kind="stable")
        out.append((float(c), times[order], *mean[:, order]))
    return out


def minimum(budget: float, times: np.ndarray, x: np.ndarray, y: np.ndarray, d: np.ndarray) -> Minimum:
    """Fit the parabola through one curve.

    Args:
        budget: compute of the curve (FLOPs).
        times: runs of each size (m,).
        x: log N (m,), rising.
        y: log L (m,).
        d: log D (m,).
    """
    centre = float(x.mean())
    (c2, c1, c0), se = _parabola(x - centre, y) if len(x) >= SIZES else ((0.0, 0.0, float(y.mean())), None)
    best = -c1 / (2 * c2) if c2 > 0 else np.nan
    if len(x) < SIZES:
        reason = f"{len(x)} of the {SIZES} sizes that a parabola needs"
    elif c2 <= 0:
        reason = "not convex"
    elif not (x[0] < best + centre < x[-1]) or int(np.argmin(y)) in (0, len(y) - 1):
        reason = f"minimum at the {'smallest' if best + centre <= x[len(x) // 2] else 'largest'} size"
    else:
        reason = ""
    near = np.polyfit(x - centre, d, min(2, len(x) - 1))  # log D is nearly linear in log N at fixed C
    at_minimum = [best + centre, np.polyval(near, best), c0 + c1 * best / 2]
    n, tokens, loss = (None if reason else float(np.exp(v)) for v in at_minimum)
    return Minimum(
        budget, int(times.sum()), n, tokens, loss, None if reason else se, not reason, reason, centre,
        (c0, c1, c2), tuple(np.exp(x).tolist()), tuple(np.exp(y).tolist()),
    )  # fmt: skip


def _parabola(x: np.ndarray, y: np.ndarray) -> tuple[tuple[float, float, float], float | None]:
    """(c2, c1, c0) and the standard error of the minimum's position (delta method; None for 3 points)."""
    design = np.vander(x, 3)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    c2, c1, c0 = map(float, coefficients)
    if len(x) == 3 or c2 == 0:
        return (c2, c1, c0), None
    r = y - design @ coefficients
    covariance = np.linalg.inv(design.T @ design) * float(r @ r) / (len(x) - 3)
    gradient = np.array([c1 / (2 * c2**2), -1 / (2 * c2), 0.0])
    return (c2, c1, c0), float(np.sqrt(gradient @ covariance @ gradient))


def power_laws(logs: np.ndarray) -> tuple[Line, ...]:
    """The power laws of N, D and L in C through optima ``logs`` (B, 4) of C, N, D, L."""
    centre = logs[:, 0].mean()
    x, y = logs[:, 0] - centre, logs[:, 1:]
    heights, slopes = lines(x, y[None])[0].reshape(3, 2).T
    squares = ((y - heights - x[:, None] * slopes) ** 2).sum(0)
    count = len(x)
    errors = np.sqrt(squares / (count - 2) / (x @ x)).tolist() if count > 2 else [None] * 3
    return tuple(
        Line(float(slope), float(height - slope * centre), error, count)
        for height, slope, error in zip(heights, slopes, errors, strict=True)
    )


def lines(x: np.ndarray, y: np.ndarray, spread: np.ndarray | None = None) -> np.ndarray:
    """Height at x = 0 and slope of each of 3 lines (R', 6) through ``y`` (R, B, 3) on ``x`` (B,), weighted by
    1 / ``spread``^2, without what is nan; of those R that have two points left."""
    known = np.isfinite(y[:, :, 0])
    kept = known.sum(1) > 1
    y, w = np.nan_to_num(y[kept]), known[kept] / (1.0 if spread is None else spread**2)
    w = w / w.sum(1, keepdims=True)
    dx = x - (w @ x)[:, None]
    slope = np.einsum("rb,rbk->rk", w * dx, y) / (w * dx**2).sum(1)[:, None]
    height = np.einsum("rb,rbk->rk", w, y) - slope * (w @ x)[:, None]
    return np.stack([height, slope], axis=2).reshape(len(y), 6)


def frontier(
    table: pd.DataFrame | Table, *, convention: str = "total", roles: tuple[str, ...] = ("fit",)
) -> pd.DataFrame:
    """The lower envelope: runs with a lower loss than every run of no more compute; columns C, N, D, L.

    Budgets are met to the nearest step, so compute within 1 % counts as the same.
    """
    frame: Any = select(table, roles, convention=convention)[0]
    frame = frame.sort_values(["C", "L"])
    compute, loss = frame["C"].to_numpy(float), frame["L"].to_numpy(float)
    last = np.searchsorted(compute, 1.01 * compute, side="right") - 1
    return frame[loss <= np.minimum.accumulate(loss)[last]].drop_duplicates("L")
