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
from analysis.isoflop import BIAS, budgets, minima
from analysis.tables import clusters, select

FINE = 25  # grid points between two sizes
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
    for budget, rows in frame.assign(_budget=budgets(frame)).groupby("_budget", sort=True):
        logs = np.log(rows[["N", "L", "D"]].astype(float)).groupby("N", as_index=False).mean()
        x, y, d = (logs[c].to_numpy() for c in ("N", "L", "D"))
        if len(x) < 3:
            continue
        at = np.interp(np.arange(FINE * (len(x) - 1) + 1) / FINE, np.arange(len(x)), x)
        curve = Akima1DInterpolator(x, y)(at)
        k = int(np.argmin(curve))
        if 0 < k < len(at) - 1:
            point = (float(budget), *np.exp([at[k], np.interp(at[k], x, d), curve[k]]).tolist())
            out.append(dict(zip(("budget", "N", "D", "loss"), point, strict=True)))
    return out


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
    seed: int = 0,
) -> Scaling:
    """Exponents by an estimator of ``ESTIMATORS``, with a bootstrap over clusters: column ``by``, left out:
    trunk, else seed and size, else size. Raises AnalysisError."""
    if kind not in ESTIMATORS:
        raise AnalysisError(f"estimator {kind!r} is unknown; choose one of {', '.join(ESTIMATORS)}")
    frame: Any
    frame, excluded = select(table, roles, convention=convention)
    if by is not None and by not in frame.columns:
        raise AnalysisError(f"column {by!r} is missing; name the column of what shares noise")
    points = ESTIMATORS[kind](frame) if len(frame) else []
    slopes = _slopes(points)
    message = f"{len(frame)} runs, {len(excluded)} left out"
    if slopes is None:
        message = f"{len(points)} optimal points from {message}; exponents need two"
        none: dict[str, tuple[float, float] | None] = {"a": None, "b": None}
        return Scaling(kind, convention, None, None, none, level, "none", tuple(points), BIASES[kind],
        message,
                       tuple(excluded))  # fmt: skip
    index, name = (pd.factorize(frame[by])[0], by) if by else clusters(frame)
    draws = _bootstrap(ESTIMATORS[kind], frame, index, replicates, seed)
    tails = [0.5 - level / 2, 0.5 + level / 2]
    ends = np.quantile(draws, tails, axis=0) if len(draws) >= 10 else None
    found = {x: None if ends is None else (float(ends[0, i]), float(ends[1, i])) for i, x in enumerate("ab")}
    method = (
        f"bootstrap over {index.max() + 1} clusters by {name}, {len(draws)} of {replicates} gave exponents"
    )
    return Scaling(
        kind, convention, *slopes, found, level, method, tuple(points), BIASES[kind], message, tuple(excluded)
    )


def _slopes(points: Sequence[dict[str, float]]) -> tuple[float, float] | None:
    if len({p["budget"] for p in points}) < 2:
        return None
    x, n, d = (np.log([p[key] for p in points]) for key in ("budget", "N", "D"))
    return float(np.polyfit(x, n, 1)[0]), float(np.polyfit(x, d, 1)[0])


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
