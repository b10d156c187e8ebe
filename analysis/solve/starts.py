"""Where the search for an optimum starts: over the domains of the parameters, the linear ones solved for.

Shapes: R problems solved together, n rows, P coordinates.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import nnls
from scipy.stats import qmc

from analysis.laws.law import DECADES, ZERO
from analysis.solve.problem import Problem

SWEEPS = 30


def linear_start(problem: Problem, x: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Fill in the linear parameters of starts by bounded least squares.

    Residuals are relative ones, absolute for a raw objective.

    Args:
        problem: the law on its rows.
        x: parameters of the starts (R, P).
        y: responses (n,).
        w: weights (n,).

    Returns:
        Parameters (R, P).
    """
    linear = [i for i, p in enumerate(problem.base) if p in problem.law.linear]
    free = [i for i in linear if problem.free[i]]
    if not free:
        return x
    x = x.copy()
    x[:, free] = 0.0
    size = np.ones(len(y)) if problem.loss.raw else np.exp(-y)
    root = np.sqrt(w) * size
    goal = problem.loss.back(y) - problem.values(x)
    features = []
    for i in free:
        unit = x.copy()
        unit[:, i] = 1.0
        features.append(problem.values(unit) - problem.values(x))
    stacked = np.stack(features, 2) * root[:, None]
    largest = np.maximum(np.abs(stacked).max(1), 1e-300)
    stacked, goal = stacked / largest[:, None, :], goal * root
    ends = [problem.bounds.get(problem.names[i], problem.law.domain(problem.base[i])) for i in free]
    low, high = np.array(ends, float).T
    good = np.flatnonzero(np.isfinite(stacked).all((1, 2)) & np.isfinite(goal).all(1))
    if (low == 0).all() and np.isinf(high).all():
        for r in good:
            try:
                x[r, free] = nnls(stacked[r], goal[r])[0]
            except (RuntimeError, ValueError):  # gave up, or overflowed: this start stays at its zeros
                good = good[good != r]
    else:
        x[good[:, None], free] = _boxed(stacked[good], goal[good], low * largest[good], high * largest[good])
    # a zero leaves a logarithm without a gradient: begin a little above it
    least = np.where(problem.in_log[free], 1e-2 * np.abs(goal[good]).max(1, keepdims=True), -np.inf)
    with np.errstate(over="ignore"):  # of a feature that is all but nothing: to the end of its domain
        x[good[:, None], free] = np.maximum(x[good[:, None], free], least) / largest[good]
    return x


def _boxed(features: np.ndarray, goal: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Least squares (R, k) of ``goal`` (R, n) on ``features`` (R, n, k) between ``low`` and ``high`` (R, k),
    by coordinate descent where the box binds: good enough to start from."""
    gram = np.einsum("rnk,rnm->rkm", features, features)
    aim = np.einsum("rnk,rn->rk", features, goal)
    x = np.einsum("rkm,rm->rk", np.linalg.pinv(gram, rcond=1e-13, hermitian=True), aim)
    at = np.flatnonzero(((x < low) | (x > high)).any(1))
    x, gram, aim = np.clip(x, low, high), gram[at], aim[at]
    part, diagonal = x[at], np.maximum(np.einsum("rkk->rk", gram), 1e-300)
    for k in np.tile(np.arange(x.shape[1]), SWEEPS if len(at) else 0):
        slope = aim[:, k] - np.einsum("rm,rm->r", gram[:, k], part)
        part[:, k] = np.clip(part[:, k] + slope / diagonal[:, k], low[at, k], high[at, k])
    x[at] = part
    return x


def starts(problem: Problem, y: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Starts (R, P), centred: a grid over few free exponents of a power sum, else Sobol points of the
    domains; the linear parameters by least squares."""
    low, high = problem.box
    curved = [i for i, p in enumerate(problem.base) if p not in problem.law.linear and problem.free[i]]
    if problem.law.terms and len(curved) <= 3:
        count = {0: 1, 1: 24, 2: 9, 3: 5}[len(curved)]
        axes = [np.geomspace(max(low[i], 0.03), min(high[i], 1.6), count) if low[i] < 1.6 and high[i] > 0.03
                else np.linspace(low[i], high[i], count) for i in curved]  # fmt: skip
        points = np.array(list(itertools.product(*axes)), float)
    else:
        count = min(10, 5 + len(curved))
        points = qmc.Sobol(max(len(curved), 1), scramble=False).random_base2(count)[:, : len(curved)]
        points = low[curved] + points * (high[curved] - low[curved])
        if problem.law.terms:  # exponents are small more often than large
            points = low[curved] + (points - low[curved]) ** 2 / (high[curved] - low[curved])
        else:  # half the starts nearer to 0, where it lies within: by powers of ten in a wide domain
            most = np.maximum(np.abs(low), np.abs(high))[curved]
            share = np.abs(points[1::2]) / most
            nearer = np.where(most >= DECADES, 1e-8 ** (1 - share), share**2)
            within = (low <= 0) & (high >= 0) & ~problem.in_log
            points[1::2] *= np.where(within[curved], nearer, 1.0)
    u = np.zeros((len(points), len(problem.names)))
    for i in range(len(problem.names)):
        held = problem.held(i)
        if held is not None:
            u[:, i] = held if not problem.in_log[i] else np.log(held) if held > 0 else ZERO
    u[:, curved] = points
    x = linear_start(problem, problem.parameters(u), y, w)
    with np.errstate(divide="ignore", invalid="ignore"):
        filled = np.where(problem.in_log & problem.free, np.log(x), np.where(problem.free, x, u))
    return problem.shift(np.nan_to_num(filled, nan=0.0, neginf=-50.0), -1.0)
