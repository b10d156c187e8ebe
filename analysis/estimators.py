"""Estimators: from a table straight to compute-optimal sizes, without a law of the loss.

``isoflop.minima`` is the parabola per budget (Hoffmann et al. 2022, approach 2). Here: interpolation in its
place (Porian et al. 2024, arXiv:2406.19146), and the lower envelope of all runs by its convex hull (approach
1; McLeish et al. 2025, arXiv:2502.06857). Each gives a :class:`Scaling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy.interpolate import Akima1DInterpolator
from scipy.spatial import ConvexHull, QhullError

from analysis.errors import AnalysisError
from analysis.isoflop import BIAS, curves, minima
from analysis.tables import clusters, select

FINE = 25  # grid points between two sizes
LEAST = 1 / 3  # of the mean spacing of sizes: no minimum is known better than that
BIASES = {
    "parabola": BIAS,
    "interpolation": "the best of noisy runs is taken: minima follow the noise, losses there are too low",
    "hull": "the hull keeps the luckiest runs: losses on it are too low, and exponents move with the range "
    "of compute and with which checkpoints of a run are in the table",
}


@dataclass(frozen=True)
class Scaling:
    """N* ~ C^a, D* ~ C^b by regression on log C through ``points`` (budget, N, D, loss). ``intervals`` of a
    and b at ``level`` from ``replicates`` bootstraps by ``method`` (None with fewer than ten that gave an
    answer);
    ``bias``: what the method is known to get wrong; ``message`` says what was left out."""

    kind: str
    convention: str
    a: float | None
    b: float | None
    intervals: dict[str, tuple[float, float] | None]
    level: float
    method: str
    points: tuple[dict[str, float], ...]
    bias: str
    message: str
    excluded: tuple[dict[str, str], ...]

    def __str__(self) -> str:
        if self.a is None or self.b is None:
            return f"{self.kind}: {self.message}"
        ends = {k: f" [{v[0]:.3f}, {v[1]:.3f}]" if v else "" for k, v in self.intervals.items()}
        return (
            f"{self.kind}: N* ~ C^{self.a:.4f}{ends['a']}, D* ~ C^{self.b:.4f}{ends['b']} "
            f"({len(self.points)} points; {self.level:.0%}, {self.method})\n  {self.message}\n"
            f"  note: {self.bias}"
        )


class Estimator(Protocol):
    """From selected rows (columns N, D, C, L) to points (budget, N, D, loss)."""

    def __call__(self, frame: Any) -> list[dict[str, float]]: ...


def hull(frame: Any) -> list[dict[str, float]]:
    """Vertices of the lower convex hull of (log C, log L), up to the least loss."""
    x = np.log(frame[["C", "L"]].to_numpy(float))
    if len(x) < 3:
        return []
    try:
        found = ConvexHull(x)
    except QhullError:  # all on one line
        return []
    down = found.equations[:, 1] < 0
    rows = np.unique(found.simplices[down])
    rows = rows[np.argsort(x[rows, 0])]
    rows = rows[: int(np.argmin(x[rows, 1])) + 1]
    kept = frame.iloc[rows]
    return [
        dict(zip(("budget", "N", "D", "loss"), row, strict=True))
        for row in kept[["C", "N", "D", "L"]].to_numpy(float).tolist()
    ]


def interpolation(frame: Any) -> list[dict[str, float]]:
    """Per budget, the least of Akima's interpolation of log L on log N, unless it is at an end."""
    out = []
    for budget, x, y, d in _budgets(frame):
        found = _least(x, y[None], d)[0]
        if np.isfinite(found[0]):
            out.append(_point(budget, found))
    return out


def _point(budget: float, logs: np.ndarray) -> dict[str, float]:
    return dict(zip(("budget", "N", "D", "loss"), (float(budget), *np.exp(logs).tolist()), strict=True))


def _budgets(frame: Any) -> list[tuple[float, np.ndarray, np.ndarray, np.ndarray]]:
    return [(budget, x, y, d) for budget, _, x, y, d in curves(frame) if len(x) >= 3]


def _least(x: np.ndarray, y: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Minima of curves through log losses ``y`` (R, m) at log sizes ``x``: logs of N, D, loss (R, 3), nan
    where at an end."""
    at = np.interp(np.arange(FINE * (len(x) - 1) + 1) / FINE, np.arange(len(x)), x)
    curve = Akima1DInterpolator(x, y.T)(at)
    k = np.argmin(curve, axis=0)
    found = np.stack([at[k], np.interp(at[k], x, d), np.min(curve, axis=0)], axis=1)
    return np.where(((k > 0) & (k < len(at) - 1))[:, None], found, np.nan)


def _noisy(frame: Any, noise: float, count: int, seed: int) -> tuple[list[dict[str, float]], Any, Any]:
    """Interpolation of ``count`` tables with Gaussian ``noise`` on every loss: per budget the median minimum,
    its spread in log N (B,), and the logs of all minima (count, B, 2). Budgets whose minimum is interior in
    fewer than half of the tables are left out; the spread of others grows by the share that is not."""
    rng, points, spread, draws = np.random.default_rng(seed), [], [], []
    for budget, x, y, d in _budgets(frame):
        noisy = np.maximum(np.exp(y) + noise * rng.normal(size=(count, len(y))), 1e-300)
        found = _least(x, np.log(noisy), d)
        inside = np.isfinite(found[:, 0])
        if inside.mean() >= 0.5 and np.isfinite(_least(x, y[None], d)).all():
            points.append(_point(budget, np.median(found[inside], axis=0)))
            least = LEAST * (x[-1] - x[0]) / (len(x) - 1)
            spread.append(max(float(np.std(found[inside, 0])), least) / inside.mean())
            draws.append(found[:, :2])
    return points, np.array(spread), np.stack(draws, axis=1) if draws else np.zeros((count, 0, 2))


def parabola(frame: Any) -> list[dict[str, float]]:
    """Per budget, the minimum of the parabola of :func:`analysis.isoflop.minima`."""
    found = minima(frame, convention=frame.attrs["convention"], roles=tuple(frame["role"].unique()))
    return [
        {"budget": m.budget, "N": m.N, "D": m.D, "loss": m.loss}
        for m in found.interior
        if m.N is not None and m.D is not None and m.loss is not None
    ]


ESTIMATORS: dict[str, Estimator] = {"parabola": parabola, "interpolation": interpolation, "hull": hull}


def estimate(
    kind: str,
    table: pd.DataFrame,
    *,
    convention: str = "total",
    roles: Sequence[str] = ("fit",),
    replicates: int = 200,
    level: float = 0.9,
    by: str | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> Scaling:
    """Exponents by an estimator of ``ESTIMATORS``, with a bootstrap over clusters: column ``by``, left out:
    trunk, else seed and size, else size.

    ``noise``, for interpolation only: the standard deviation of a run's loss between seeds, in units of the
    loss. Replicates are then tables with such noise on every loss; points are medians of their minima, and
    the regression weighs them by 1 / spread^2, as Porian et al. 2024 do. Raises AnalysisError."""
    if kind not in ESTIMATORS:
        raise AnalysisError(f"estimator {kind!r} is unknown; choose one of {', '.join(ESTIMATORS)}")
    if noise is not None and not (kind == "interpolation" and 0 < noise < np.inf and replicates > 0):
        raise AnalysisError(
            f"noise = {noise!r} with kind {kind!r} and replicates = {replicates!r}: it must be positive, "
            "goes with kind 'interpolation' and needs replicates (1000 is usual)"
        )
    frame: Any
    frame, excluded = select(table, roles, convention=convention)
    if by is not None and by not in frame.columns:
        raise AnalysisError(f"column {by!r} is missing; name the column of what shares noise")
    spread: Any = None
    minima_of: Any = None
    if noise is not None and len(frame):
        points, spread, minima_of = _noisy(frame, noise, replicates, seed)
    else:
        points = ESTIMATORS[kind](frame) if len(frame) else []
    slopes = _slopes(points, spread)
    message = f"{len(frame)} runs, {len(excluded)} left out"
    if slopes is None:
        message = f"{len(points)} optimal points from {message}; exponents need two"
        none: dict[str, tuple[float, float] | None] = {"a": None, "b": None}
        return Scaling(kind, convention, None, None, none, level, "none", tuple(points), BIASES[kind],
        message,
                       tuple(excluded))  # fmt: skip
    index, name = (pd.factorize(frame[by])[0], by) if by else clusters(frame)
    if spread is not None:
        draws = _regressions(np.log([p["budget"] for p in points]), minima_of, spread)
        origin = f"seed noise {noise:g} on every loss, points weighted by their spread"
    else:
        draws = _bootstrap(ESTIMATORS[kind], frame, index, replicates, seed)
        origin = f"bootstrap over {index.max() + 1} clusters by {name}"
    tails = [0.5 - level / 2, 0.5 + level / 2]
    ends = np.quantile(draws, tails, axis=0) if len(draws) >= 10 else None
    found = {x: None if ends is None else (float(ends[0, i]), float(ends[1, i])) for i, x in enumerate("ab")}
    method = f"{origin}, {len(draws)} of {replicates} gave exponents"
    return Scaling(
        kind, convention, *slopes, found, level, method, tuple(points), BIASES[kind], message, tuple(excluded)
    )


def _slopes(
    points: Sequence[dict[str, float]], spread: np.ndarray | None = None
) -> tuple[float, float] | None:
    if len({p["budget"] for p in points}) < 2:
        return None
    x, n, d = (np.log([p[key] for p in points]) for key in ("budget", "N", "D"))
    w = None if spread is None else 1 / spread
    return float(np.polyfit(x, n, 1, w=w)[0]), float(np.polyfit(x, d, 1, w=w)[0])


def _regressions(x: np.ndarray, y: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Weighted slopes (R, 2) of ``y`` (R, B, 2) on ``x`` (B,) through what is not nan, where that are two."""
    there = np.isfinite(y[:, :, 0])
    y = np.nan_to_num(y[there.sum(1) > 1])
    w = (there / spread**2)[there.sum(1) > 1]
    w /= w.sum(1, keepdims=True)
    dx = x - (w @ x)[:, None]
    return np.einsum("rb,rbk->rk", w * dx, y) / (w * dx**2).sum(1)[:, None]


def _bootstrap(estimator: Estimator, frame: Any, index: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Exponents (R, 2) of tables whose clusters are drawn with replacement."""
    rng = np.random.default_rng(seed)
    parts = [np.flatnonzero(index == g) for g in range(int(index.max()) + 1)]
    out = []
    for _ in range(count):
        rows = np.concatenate([parts[g] for g in rng.integers(0, len(parts), len(parts))])
        again = frame.iloc[rows].drop(columns=[c for c in ("run_id",) if c in frame.columns])
        again.attrs.update(frame.attrs)
        slopes = _slopes(estimator(again.reset_index(drop=True)))
        out += [slopes] if slopes else []
    return np.array(out).reshape(-1, 2)
