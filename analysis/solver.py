"""True optima of robust fits of a Law: many starts, then batched damped Newton with exact derivatives.

Shapes: R problems solved together, n rows, K terms, P parameters; u (R, P) are a law's coordinates.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import nnls

from analysis.laws import ZERO, Law

FLOOR = 1e-9  # a term smaller than this times the smallest loss counts as zero
BLOCK = 120_000  # rows x problems solved at a time: bounds memory, and stays in cache


@dataclass(frozen=True)
class Loss:
    """Huber's rho on log residuals: r^2/2 inside ``delta``, linear outside; delta = inf: least squares."""

    delta: float = np.inf

    def rho(self, r: np.ndarray) -> np.ndarray:
        a = np.minimum(np.abs(r), self.delta)
        return a * (np.abs(r) - 0.5 * a)

    def psi(self, r: np.ndarray) -> np.ndarray:
        return np.clip(r, -self.delta, self.delta)


@dataclass(frozen=True)
class Problem:
    """One law on one table. Inputs are centred in log, where coefficients and exponents nearly decouple."""

    law: Law
    logs: dict[str, np.ndarray]  # inputs, each (n,)
    log_loss: np.ndarray  # (n,)
    loss: Loss
    fixed: dict[str, float]

    @cached_property
    def centre(self) -> dict[str, float]:
        # a fixed coefficient is a fixed coordinate only where its term is not shifted
        kept = {x for c in self.law.coefficients if c in self.fixed for x in self.law.terms[c]}
        return {x: 0.0 if x in kept else float(np.mean(v)) for x, v in self.logs.items()}

    @cached_property
    def design(self) -> np.ndarray:
        return self.law.design({x: v - self.centre[x] for x, v in self.logs.items()})

    @cached_property
    def free(self) -> np.ndarray:
        return np.array([name not in self.fixed for name in self.law.names])

    @cached_property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        floor = np.log(FLOOR) + self.log_loss.min()
        pairs = [(floor, 700.0)] * len(self.law.terms) + [self.law.domain(e) for e in self.law.exponents]
        low, high = np.array(pairs, float).T
        return low, high

    def shift(self, u: np.ndarray, sign: float) -> np.ndarray:
        """Coordinates from centred to plain inputs (sign +1), or back (sign -1)."""
        u = np.array(u, float)
        for k, powers in enumerate(self.law.terms.values()):
            for x, exponent in powers.items():
                u[..., k] += sign * u[..., self.law.names.index(exponent)] * self.centre[x]
        return u


def shares(design: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of each term (K, R, n) in the law's value, and the log of that value (R, n)."""
    terms = u @ np.swapaxes(design, 1, 2)
    top = terms.max(0)
    terms = np.exp(terms - top)
    total = terms.sum(0)
    return terms / total, top + np.log(total)


def derivatives(
    design: np.ndarray, u: np.ndarray, log_loss: np.ndarray, weights: np.ndarray, loss: Loss
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Objective (R,), gradient (R, P), Hessian (R, P, P) and the diagonal of its Gauss-Newton part (R, P).

    With s_k the share of term k, d log m = sum_k s_k M_k =: J and d2 log m = sum_k s_k M_k M_k' - J J'.
    """
    share, log_value = shares(design, u)
    r = log_loss - log_value
    psi = weights * loss.psi(r)
    inside = weights * (np.abs(r) <= loss.delta)
    jacobian = np.zeros((*r.shape, u.shape[1]))
    for k, m in enumerate(design):
        for p in np.flatnonzero(m.any(0)):
            jacobian[..., p] += share[k] * m[:, p]
    value = (weights * loss.rho(r)).sum(-1)
    gradient = -(psi[:, None, :] @ jacobian)[:, 0]
    hessian = np.swapaxes(jacobian * (inside + psi)[..., None], 1, 2) @ jacobian
    size = u.shape[1]
    for k, m in enumerate(design):
        outer = (m[:, :, None] * m[:, None, :]).reshape(len(m), size * size)
        hessian -= ((psi * share[k]) @ outer).reshape(-1, size, size)
    scale = (weights[:, None, :] @ jacobian**2)[:, 0]
    return value, gradient, hessian, scale


def values(
    design: np.ndarray, u: np.ndarray, log_loss: np.ndarray, weights: np.ndarray, loss: Loss
) -> np.ndarray:
    return (weights * loss.rho(log_loss - shares(design, u)[1])).sum(-1)


def minimise(
    problem: Problem,
    start: np.ndarray,
    *,
    log_loss: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    steps: int = 300,  # stragglers creep along a curved valley (E against A, alpha); few starts need > 50
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve R problems from ``start`` (R, P), centred: solutions (R, P), objectives and converged (R,).

    ``log_loss`` and ``weights`` (R, n) differ between replicates; both default to the problem's own.
    """
    count, n = len(start), len(problem.log_loss)
    y = np.broadcast_to(problem.log_loss if log_loss is None else log_loss, (count, n))
    w = np.broadcast_to(1.0 if weights is None else weights, (count, n))
    size = max(1, BLOCK // n)
    parts = [
        _newton(problem, start[i : i + size], y[i : i + size], w[i : i + size], steps)
        for i in range(0, count, size)
    ]
    u, value, done = (np.concatenate(x) for x in zip(*parts, strict=True))
    return u, value, done


def _newton(
    problem: Problem, start: np.ndarray, y: np.ndarray, w: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Projected Newton with |eigenvalues| and Levenberg damping, each problem at its own pace."""
    design, (low, high), free, loss = problem.design, problem.bounds, problem.free, problem.loss
    u = np.where(free, np.clip(start, low, high), start)
    value = values(design, u, y, w, loss)
    damping = np.full(len(u), 1e-3)
    todo = np.arange(len(u))
    for _ in range(steps):
        v, g, h, scale = derivatives(design, u[todo], y[todo], w[todo], loss)
        step, gain = _step(g, h, scale, damping[todo], _movable(u[todo], g, low, high, free))
        trial = np.clip(u[todo] + step, low, high)
        trial = np.where(free, trial, u[todo])
        new = values(design, trial, y[todo], w[todo], loss)
        better = new < v
        u[todo[better]], value[todo[better]] = trial[better], new[better]
        damping[todo] = np.clip(np.where(better, damping[todo] / 8, damping[todo] * 6), 1e-14, 1e14)
        small = gain <= 1e-13 * v + 1e-26
        todo = todo[~(small | (damping[todo] > 1e12))]
        if not len(todo):
            break
    done = np.ones(len(u), bool)
    done[todo] = False
    return u, value, done


def _movable(u: np.ndarray, g: np.ndarray, low: np.ndarray, high: np.ndarray, free: np.ndarray) -> np.ndarray:
    return free & ~((u <= low) & (g > 0)) & ~((u >= high) & (g < 0))


def _step(
    g: np.ndarray, h: np.ndarray, scale: np.ndarray, damping: np.ndarray, movable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Damped Newton step (R, P) and the decrease it promises (R,)."""
    d = np.where(movable, np.sqrt(scale + 1e-12 * scale.max(1, keepdims=True) + 1e-300), 1.0)
    pair = movable[:, :, None] & movable[:, None, :]
    h = np.where(pair, h / (d[:, :, None] * d[:, None, :]), np.eye(g.shape[1]))
    g = np.where(movable, g / d, 0.0)
    eigen, vectors = np.linalg.eigh(h)
    curve = np.maximum(np.abs(eigen), 1e-11) + damping[:, None]
    along = np.einsum("rpq,rp->rq", vectors, g)
    step = -np.einsum("rpq,rq->rp", vectors, along / curve) / d
    gain = 0.5 * (along**2 / curve).sum(1)
    longest = np.abs(step).max(1, keepdims=True)
    return step * np.minimum(1.0, 2.0 / np.maximum(longest, 1e-300)), gain


def linear_start(problem: Problem, exponents: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """u (P,), centred: non-negative least squares on relative residuals for the coefficients."""
    law, heads = problem.law, len(problem.law.terms)
    u = np.concatenate([np.zeros(heads), exponents])
    features = np.exp(np.einsum("knp,p->nk", problem.design, u) - problem.log_loss[:, None])
    root = np.ones(len(features)) if weights is None else np.sqrt(weights)
    target, known = root.copy(), np.zeros(heads, bool)
    features = features * root[:, None]
    for k, name in enumerate(law.coefficients):
        if name in problem.fixed:
            known[k] = True
            u[k] = np.log(problem.fixed[name]) if problem.fixed[name] > 0 else ZERO
            target = target - problem.fixed[name] * features[:, k]
    if not known.all():
        found, _ = nnls(features[:, ~known], target)
        # a zero leaves the log coordinate without a gradient: begin a little above it
        size = 1e-2 / np.abs(features[:, ~known]).max(0)
        u[:heads][~known] = np.log(np.maximum(found, size))
    return u


def grid_starts(problem: Problem, weights: np.ndarray | None = None) -> np.ndarray:
    """Starts (R, P), centred, over a grid of the free exponents."""
    law = problem.law
    free = [e for e in law.exponents if e not in problem.fixed]
    count = {0: 1, 1: 24, 2: 9, 3: 5}.get(len(free), 3)
    axes = []
    for e in law.exponents:
        low, high = law.domain(e)
        fine = np.geomspace(max(low, 0.03), min(high, 1.6), count)
        axes.append([problem.fixed[e]] if e in problem.fixed else fine)
    return np.array([linear_start(problem, np.array(point), weights) for point in itertools.product(*axes)])


@dataclass(frozen=True)
class Solution:
    """The best of many starts: ``u`` (P,) centred, ``value``; ``ends`` (R, P) and ``end_values`` (R,) of all
    starts; ``agree`` of them ended at this value within 1e-6; ``zero``: coefficients that ended at 0."""

    u: np.ndarray
    value: float
    converged: bool
    ends: np.ndarray
    end_values: np.ndarray
    agree: int
    zero: tuple[str, ...]


def solve(
    problem: Problem, *, log_loss: np.ndarray | None = None, weights: np.ndarray | None = None, keep: int = 32
) -> Solution:
    """The global optimum of one problem (or one replicate), as far as many starts can tell: the best ``keep``
    of the grid are polished."""
    y = problem.log_loss if log_loss is None else log_loss
    here = Problem(problem.law, problem.logs, y, problem.loss, problem.fixed)
    starts = grid_starts(here, weights)
    # first without the kinks of a small delta, then on the true objective
    scale = (
        1.345 * max(float(np.std(y)) * 0.05, problem.loss.delta)
        if np.isfinite(problem.loss.delta)
        else np.inf
    )
    smooth = Problem(here.law, here.logs, y, Loss(scale), here.fixed)
    ends, rough, _ = minimise(smooth, starts, weights=weights, steps=3)
    ends = ends[np.argsort(rough, kind="stable")[:keep]]
    ends, _, _ = minimise(smooth, ends, weights=weights, steps=12)
    ends, end_values, done = minimise(here, ends, weights=weights)
    best = int(np.argmin(end_values))
    u, value, zero = _faces(here, ends[best], float(end_values[best]), weights)
    tolerance = 1e-6 * value + 1e-20
    agree = int((end_values <= value + tolerance).sum())
    return Solution(u, min(value, float(end_values[best])), bool(done[best]), ends, end_values, agree, zero)


def _faces(
    problem: Problem, u: np.ndarray, value: float, weights: np.ndarray | None
) -> tuple[np.ndarray, float, tuple[str, ...]]:
    """Set coefficients that ended near zero to zero, and solve on that face, if the objective agrees."""
    largest = problem.design @ u - problem.log_loss
    small = [
        name
        for k, name in enumerate(problem.law.coefficients)
        if name not in problem.fixed and largest[k].max() < np.log(1e-5)
    ]
    if not small or len(small) == len(problem.law.terms):
        return u, value, ()
    face = Problem(
        problem.law,
        problem.logs,
        problem.log_loss,
        problem.loss,
        {**problem.fixed, **dict.fromkeys(small, 0.0)},
    )
    start = np.array([ZERO if name in small else x for name, x in zip(problem.law.names, u, strict=True)])
    start = face.shift(problem.shift(start, 1.0), -1.0)
    found, found_value, _ = minimise(face, start[None], weights=weights)
    if found_value[0] > value * (1 + 1e-4) + 1e-20:
        return u, value, ()
    return problem.shift(face.shift(found[0], 1.0), -1.0), float(found_value[0]), tuple(small)
