"""Damped Newton with exact derivatives on a batch of problems.

Shapes: R problems solved together, n rows, P coordinates.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.solve.objective import Model
from analysis.solve.problem import Problem

BLOCK = 96_000  # rows x problems solved at a time: bounds memory, and stays in cache
FIRST = 14  # steps of all blocks before stragglers are gathered
EXACT = 1e-13  # relative decrease promised by the last step of a solved problem
NEAR = 1e-8  # of one that exact derivatives finish
TRUSTED = 1e-6  # of one that is not looked at again; noise alone, of n rows, would promise 1 / n
HUGE = 1e100  # what is larger is not told apart, lest squares overflow
MOST = 0.95  # of the way to a bound
FACES = 8  # of the box that a step is taken along, one after another
SMALL = 1e-9  # damping of starts near solutions
LEAST = 1e-11  # a pivot or eigenvalue of a scaled matrix that is taken for positive

# indices (R,) of replicates -> their responses, (n,) or (R, n), and weights likewise
Draw = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def minimise(
    problem: Problem,
    start: np.ndarray,
    *,
    draw: Draw | None = None,
    steps: int = 100,
    exact: bool = True,
    near: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve R problems together, each from a start of its own.

    A formula takes Gauss-Newton steps first, then exact ones.

    Args:
        problem: the law on its rows.
        start: starts (R, P), centred.
        draw: gives the responses and weights of some replicates, made only when their turn comes; left out:
            the problem's own.
        steps: at most; stragglers creep along a curved valley (E against A, alpha).
        exact: whether a formula takes exact steps at all. If not, every second problem keeps off the faces
            of the box: active bounds trap some starts and help others.
        near: whether starts lie beside solutions of smooth objectives, with many rows; the last small step
            is not looked at again.

    Returns:
        Solutions (R, P), centred, their objectives (R,) and whether each converged (R,).
    """
    model = problem.model
    if model.coarse is None:
        return _all(problem, model, start, draw, steps, EXACT, near)
    inside = None if exact else np.arange(len(start)) % 2 > 0
    ends = _all(problem, model.coarse, start, draw, steps, NEAR if exact else EXACT, inside=inside)
    return _all(problem, model, ends[0], draw, steps, EXACT, near) if exact and steps else ends


def _all(
    problem: Problem,
    model: Model,
    start: np.ndarray,
    draw: Draw | None,
    steps: int,
    enough: float,
    near: bool = False,
    inside: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    size = max(1, BLOCK // len(problem.target))
    inside = np.zeros(len(start), bool) if inside is None else inside
    u, value = np.array(start, float), np.full(len(start), np.inf)
    done, todo = np.zeros(len(start), bool), np.arange(len(start))
    # a few stragglers would hold up every block: they wait, and are resumed together
    stages = [min(FIRST, steps), steps - FIRST] if len(start) > size else [steps]
    for most in stages:
        for i in range(0, len(todo) if most >= 0 else 0, size):
            which = todo[i : i + size]
            y, w = (problem.y, problem.w) if draw is None else draw(which)
            u[which], value[which], done[which] = _newton(
                problem, model, (u[which], y, w), most, enough, near, inside[which]
            )
        todo = todo[~done[todo]]
    return u, value, done


def _newton(
    problem: Problem,
    model: Model,
    given: tuple[np.ndarray, np.ndarray, np.ndarray],
    steps: int,
    enough: float,
    near: bool,
    inside: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Projected Newton with Levenberg damping, each problem at its own pace; those solved leave the batch."""
    (low, high), free, (start, y, w) = problem.limits, problem.free, given
    u = np.clip(start, low, high)
    value, g, h, scale = model.derivatives(u, y, w)
    damping, todo = np.full(len(u), SMALL if near else 1e-3), np.arange(len(u))
    ends, end_values, done = u.copy(), value.copy(), np.zeros(len(u), bool)
    for iteration in range(steps):
        movable = free & ~((u <= low) & (g > 0)) & ~((u >= high) & (g < 0))
        room = (low - u, high - u)
        step, gain = _step((g, h, scale, damping), movable, room, problem.reach, inside[todo])
        trial = np.clip(u + step, low, high)
        if near and (gain <= TRUSTED * value).all() and (damping <= SMALL).all():
            ends[todo], end_values[todo], done[todo] = trial, value - gain, True
            break
        scaled = iteration % 8 == 7  # the metric of a step may lag behind
        new, g1, h1, s1 = model.derivatives(trial, y, w, scaled)
        s1 = s1 if scaled else scale.copy()
        better = new < value
        worse = ~better
        u, value = np.where(better[:, None], trial, u), np.where(better, new, value)
        g1[worse], h1[worse], s1[worse] = g[worse], h[worse], scale[worse]
        g, h, scale = g1, h1, s1
        damping = np.clip(np.where(better, damping / 8, damping * 6), 1e-14, 1e14)
        stop = (gain <= enough * value + 1e-26) | (damping > 1e12) | ~np.isfinite(value)
        last = iteration == steps - 1
        if stop.any() or last:
            ends[todo], end_values[todo] = u, value
            done[todo[stop]] = True
        left = int((~stop).sum())
        if not left or last:
            break
        if left <= 0.8 * len(todo) or left < 4:
            keep = ~stop
            todo, u, value, g, h, scale, damping = (x[keep] for x in (todo, u, value, g, h, scale, damping))
            y, w = (x[keep] if x.ndim == 2 else x for x in (y, w))
    return ends, end_values, done & np.isfinite(end_values)


Local = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # gradient, Hessian, scale, damping


def _step(
    local: Local,
    movable: np.ndarray,
    room: tuple[np.ndarray, np.ndarray],
    reach: np.ndarray,
    inside: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Damped Newton step (R, P) within the box, and the decrease it promises (R,). One that would leave the
    box goes to its face and along that: cut short in one coordinate alone, it would be wrong in all that make
    up for it. Those ``inside`` (R,) reach no face: a coordinate is the stiffer the nearer the bound is that
    its gradient points to (Coleman and Li 1996, doi 10.1137/0806023)."""
    (g, h, scale, damping), (low, high) = local, room
    if inside.any():
        way = np.where(g > 0, -low, high)
        near = inside[:, None] & movable & (way > 0)
        stiff = np.abs(g) / np.where(near, np.maximum(way, np.abs(g) / HUGE), np.inf)
        h = h + stiff[:, :, None] * np.eye(g.shape[1])
    weight = _weight(scale, reach)
    step, gain = _direction((g, h, scale, damping), movable, weight)
    out = movable & ((step < low) | (step > high))
    step = np.where(out & inside[:, None], MOST * np.clip(step, low, high), step)
    at = np.flatnonzero(out.any(1) & ~inside)
    if len(at):
        local_at = (g[at], h[at], scale[at], damping[at])
        step[at], gain[at] = _along(
            local_at, movable[at], weight[at], (low[at], high[at]), step[at], gain[at]
        )
    longest = (np.abs(step) / reach).max(1, keepdims=True)
    return step / np.maximum(1.0, longest), gain


def _along(
    local: Local,
    movable: np.ndarray,
    weight: np.ndarray,
    room: tuple[np.ndarray, np.ndarray],
    step: np.ndarray,
    gain: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps (R, P) and their gains (R,) along faces of the box, for steps that leave it."""
    g, h, scale, damping = local
    cut = np.clip(step, *room)
    held = movable & (step != cut)
    new = cut.copy()
    for _ in range(FACES):
        fixed = np.where(held, new, 0.0)
        bent = (g + np.einsum("rpq,rq->rp", h, fixed), h, scale, damping)
        step = fixed + _direction(bent, movable & ~held, weight)[0]
        new = np.clip(step, *room)
        more = movable & (step != new)
        if not more.any():
            break
        held |= more
    curved = np.einsum("rpq,rq->rp", h, new) + damping[:, None] * weight**2 * new
    promised = -((g + 0.5 * curved) * new).sum(1)
    good = promised > 0
    return np.where(good[:, None], new, cut), np.where(good, promised, gain)


def _weight(scale: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """(R, P) what a unit of each coordinate weighs; of one that does nothing, a millionth of what the
    weightiest does over its reach."""
    unit = np.where(np.isfinite(reach), reach, 1.0)
    least = 1e-6 * (np.sqrt(scale) * unit).max(1, keepdims=True) / unit
    return np.sqrt(scale + np.minimum(least, HUGE) ** 2 + 1e-300)


def _direction(local: Local, movable: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Damped Newton step (R, P) of the movable coordinates and the decrease it promises (R,)."""
    g, h, _, damping = local
    size = g.shape[1]
    d = np.where(movable, weight, 1.0)
    h = np.where(movable[:, :, None] & movable[:, None, :], h / (d[:, :, None] * d[:, None, :]), np.eye(size))
    g = np.where(movable, g / d, 0.0)
    solved, bent = _factored(h, g, damping) if size <= 8 else _solved(h, g, damping)
    if bent.any():
        eigen, vectors = np.linalg.eigh(h[bent])
        curve = np.maximum(np.abs(eigen), LEAST) + damping[bent, None]
        along = np.einsum("rpq,rp->rq", vectors, g[bent])
        solved[bent] = np.einsum("rpq,rq->rp", vectors, along / curve)
    return -solved / d, 0.5 * np.einsum("rp,rp->r", g, solved)


def _factored(h: np.ndarray, g: np.ndarray, damping: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(h + damping)^-1 g by LDL' of all R small matrices at once, and which have a pivot that is not
    positive."""
    size = g.shape[1]
    a = np.array(np.moveaxis(h, 0, 2), order="C")  # copies, of a single matrix too
    x = np.array(g.T, order="C")
    pivots, bent = np.empty_like(x), np.zeros(len(g), bool)
    for j in range(size):
        pivot = a[j, j] + damping
        bad = ~(pivot > LEAST)
        bent |= bad
        pivots[j] = np.where(bad, 1.0, pivot)
        for i in range(j + 1, size):
            factor = a[i, j] / pivots[j]
            a[i, j + 1 : i + 1] -= factor * a[j + 1 : i + 1, j]
            x[i] -= factor * x[j]
        a[j + 1 :, j] /= pivots[j]
    x /= pivots
    for j in range(size - 1, 0, -1):
        for i in range(j):
            x[i] -= a[j, i] * x[j]
    return x.T.copy(), bent


def _solved(h: np.ndarray, g: np.ndarray, damping: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What :func:`_factored` returns, of larger matrices, by Cholesky's factors: elimination with a choice
    of pivots may call a matrix singular that has them."""
    factor = _cholesky(h + damping[:, None, None] * np.eye(g.shape[1]))
    pivots = np.diagonal(factor, axis1=1, axis2=2) ** 2
    bent = ~np.all(pivots > LEAST, axis=1)
    factor[bent] = np.eye(g.shape[1])
    half = np.linalg.solve(factor, g[:, :, None])
    return np.linalg.solve(np.moveaxis(factor, 1, 2), half)[:, :, 0], bent


def _cholesky(a: np.ndarray) -> np.ndarray:
    """Cholesky's factors of matrices (R, P, P); 0 for those that have none."""
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:  # of one or more of them: halves find which
        middle = len(a) // 2
        return np.concatenate([_cholesky(a[:middle]), _cholesky(a[middle:])]) if middle else np.zeros_like(a)
