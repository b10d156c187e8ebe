"""The minimum of one basin: log loss over the logs of one or two hyperparameters.

Shapes: n runs, p hyperparameters, k = 1 + p + p (p + 1) / 2 coefficients of a quadratic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.errors import plural

METHODS = {
    "quadratic": "quadratic in logs",
    "local": "local quadratic in logs (tricube weights)",
    "argmin": "best run",
}
VERDICTS = ("interior", "edge", "not convex", "saddle", "too few", "not settled")
SPARE = 2  # runs beyond the coefficients of a quadratic
STEPS = 60  # of a local quadratic, until its minimum stays


@dataclass(frozen=True)
class Basin:
    """``at`` (p,) log of the optimum, inside the swept range (where ``verdict`` is edge: the bound);
    ``covariance`` (p, p) of it; log loss = log ``loss`` + 1/2 d' ``hessian`` d with d = x - at; ``noise``:
    standard deviation of log loss about the quadratic; ``used`` (n,) rows. What is unknown is nan."""

    verdict: str
    reason: str
    at: np.ndarray
    covariance: np.ndarray
    hessian: np.ndarray
    loss: float
    noise: float
    used: np.ndarray

    def factor(self, excess: float) -> np.ndarray:
        """(p,) by what factor each hyperparameter may be off until the loss is ``excess`` (relative) higher,
        the others set to what is then best."""
        with np.errstate(all="ignore"):
            return np.exp(np.sqrt(2 * np.log1p(excess) * np.diag(np.linalg.inv(self.hessian))))


def find(
    x: np.ndarray, y: np.ndarray, names: tuple[str, ...], method: str, window: float | None, span: float
) -> Basin:
    """Find the minimum of log loss over the logs of hyperparameters.

    Args:
        x: logs of the hyperparameters (n, p).
        y: log losses (n,).
        names: what the hyperparameters are called, p of them.
        method: of ``METHODS``: a quadratic through the runs near the best; one around its own minimum, with
            tricube weights; or the best run.
        window: relative loss above the best up to which runs enter the quadratic; None: all.
        span: the share of the runs, nearest to the minimum, that the local quadratic weighs.
    """
    p = x.shape[1]
    least = 1 + p + p * (p + 1) // 2 + SPARE
    levels = {name: len(np.unique(np.round(x[:, i], 6))) for i, name in enumerate(names)}
    few = [f"{count} values of {name}" for name, count in levels.items() if count < 3]
    if few or (method != "argmin" and len(y) < least):
        reason = f"{', '.join(few)}; a minimum needs 3" if few else f"{plural(len(y), 'run')}; needs {least}"
        return _nothing("too few", reason, p, np.ones(len(y), bool))
    best = int(np.argmin(y))
    edge, nan, only = _edge(x, y, x[best], names), np.full((p, p), np.nan), np.arange(len(y)) == best
    at_best = Basin(
        "edge" if edge else "interior", edge, x[best], nan, nan, float(np.exp(y[best])), np.nan, only
    )
    if method == "argmin":
        return at_best
    if method == "local":
        basin = _local(x, y, names, max(least, int(np.ceil(span * len(y)))))
    else:
        near = len(y) if window is None else int(np.sum(y - y.min() <= np.log1p(window)))
        w = np.zeros(len(y))
        w[np.argsort(y, kind="stable")[: max(near, least)]] = 1.0
        basin = _quadratic(x, y, w, x.mean(axis=0), names)
    if edge and not np.isfinite(basin.at).all():
        return replace(at_best, reason=f"{edge} ({basin.verdict}: {basin.reason})")
    return basin


def _local(x: np.ndarray, y: np.ndarray, names: tuple[str, ...], nearest: int) -> Basin:
    size = np.ptp(x, axis=0)
    centre = x[int(np.argmin(y))]
    basin = None
    for _ in range(STEPS):
        away = np.linalg.norm((x - centre) / size, axis=1)
        reach = np.sort(away)[nearest - 1] * 1.001
        w = np.clip(1 - (away / reach) ** 3, 0, None) ** 3
        basin = _quadratic(x, y, w, centre, names)
        if not np.isfinite(basin.at).all():
            return basin
        step = basin.at - centre
        if np.abs(step / size).max() < 1e-4:
            return basin
        centre = centre + 0.7 * step
    return _nothing(
        "not settled", f"the local minimum still moves after {STEPS} steps", x.shape[1], np.asarray(w > 0)
    )


def _quadratic(
    x: np.ndarray, y: np.ndarray, w: np.ndarray, centre: np.ndarray, names: tuple[str, ...]
) -> Basin:
    p, used = x.shape[1], w > 0
    design, i, j = _terms(x - centre, p)
    half = np.sqrt(w)[:, None]
    coefficients, _, rank, _ = np.linalg.lstsq(design * half, y * half[:, 0], rcond=1e-10)
    if rank < design.shape[1]:
        return _nothing(
            "too few", "the runs near the best have too few values for a quadratic; widen the window", p, used
        )
    bend = np.zeros((p, p))
    bend[i, j] = bend[j, i] = coefficients[1 + p :] * np.where(i == j, 2.0, 1.0)
    eigen = np.linalg.eigvalsh(bend)
    if eigen[0] <= 1e-12 * np.abs(eigen).max():
        saddle = eigen[-1] > 0 and p > 1
        return _nothing("saddle" if saddle else "not convex", "the quadratic has no minimum", p, used)
    away = np.linalg.solve(bend, -coefficients[1 : 1 + p])
    inverse = np.linalg.inv(design.T @ (design * w[:, None]))
    spread = design.T @ (design * (w**2)[:, None])
    r = y - design @ coefficients
    degrees = w.sum() - np.trace(inverse @ spread)
    noise = float(w @ r**2 / degrees) if degrees > 1e-9 else np.nan
    slope = _slopes(away, p, i, j)  # of the gradient at the minimum, in the coefficients
    turn = np.linalg.solve(bend, slope)
    covariance = turn @ (inverse @ spread @ inverse) @ turn.T * noise
    top = float(coefficients[0] + 0.5 * coefficients[1 : 1 + p] @ away)
    at = centre + away
    edge = _edge(x, y, at, names) or _beyond(x[used], at, names)
    if edge:
        at = np.clip(at, x.min(axis=0), x.max(axis=0))
        d = at - centre - away
        top += 0.5 * float(d @ bend @ d)
    loss, sd = float(np.exp(top)), float(np.sqrt(noise))
    return Basin("edge" if edge else "interior", edge, at, covariance, bend, loss, sd, used)


def _terms(d: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns 1, d, d_i d_j (n, k) and the pairs i <= j."""
    i, j = np.triu_indices(p)
    return np.column_stack([np.ones(len(d)), d, d[:, i] * d[:, j]]), i, j


def _slopes(d: np.ndarray, p: int, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """(p, k): derivative of the quadratic's gradient at ``d`` in its coefficients."""
    unit = np.eye(p)
    return np.column_stack([np.zeros(p), unit, (unit[:, i] * d[j] + unit[:, j] * d[i])])


def _edge(x: np.ndarray, y: np.ndarray, at: np.ndarray, names: tuple[str, ...]) -> str:
    """Which hyperparameters have their optimum, or best run, at an end of what was swept; else empty."""
    best, ends = x[int(np.argmin(y))], []
    for k, name in enumerate(names):
        low, high = x[:, k].min(), x[:, k].max()
        if min(at[k], best[k]) <= low + 1e-9:
            ends.append(f"{name} at the low end of the sweep")
        elif max(at[k], best[k]) >= high - 1e-9:
            ends.append(f"{name} at the high end of the sweep")
    return ", ".join(ends)


def _beyond(x: np.ndarray, at: np.ndarray, names: tuple[str, ...]) -> str:
    low, high = x.min(axis=0), x.max(axis=0)
    out = [name for k, name in enumerate(names) if not low[k] <= at[k] <= high[k]]
    return f"{', '.join(out)} beyond the runs that the quadratic is fitted to" if out else ""


def _nothing(verdict: str, reason: str, p: int, used: np.ndarray) -> Basin:
    nan = np.full((p, p), np.nan)
    return Basin(verdict, reason, nan[0], nan, nan, np.nan, np.nan, used)
