"""A fit linearised at its optimum: covariances that respect clusters, residuals that undo leverage, and what
noise explains of an objective.

Shapes: n rows, P free coordinates inside their domains, G clusters. With H = sum w psi'(r) J J' the curvature
of the objective, W_g the part of cluster g in it (whitened, so that they sum to the identity) and s_g its
score, the whitened covariance is the sum of t_g t_g' with t_g = (I - W_g)^-k s_g: k = 1 is CR3 (a jackknife
over clusters), k = 1/2 CR2 (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018), and clusters of one row HC3.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

from analysis.solve.multistart import Solution
from analysis.solve.problem import Problem

LEAST = 0.05  # smallest 1 - leverage that is inverted
POWERS = {"cr3": 1.0, "cr2": 0.5}
BLUNT = 0.9  # share of variance: a test that passes only laws which explain more of it tells nothing


def usable(problem: Problem, u: np.ndarray) -> np.ndarray:
    low, high = problem.box
    return problem.free & (u > low) & (u < high)


def linear(problem: Problem, u: np.ndarray, y: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
    """Jacobian (n, free), residuals (n,), working weights w psi(r)/r (n,) and inverse Gauss-Newton matrix."""
    jacobian = problem.model.jacobian(u)[:, usable(problem, u)]
    r = (problem.y if y is None else y) - problem.model.fitted(u[None])[0]
    working = problem.w * np.minimum(1.0, problem.loss.delta / np.maximum(np.abs(r), 1e-300))
    bread = np.linalg.pinv((jacobian * working[:, None]).T @ jacobian, hermitian=True)
    return jacobian, r, working, bread


def adjusted(problem: Problem, u: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """CR3: residuals (I - H_gg)^-1 r_g, undoing what the fit took from each cluster (HC3 for single rows)."""
    jacobian, r, working, bread = linear(problem, u)
    if len(np.unique(cluster)) == len(r):
        leverage = working * np.einsum("np,pq,nq->n", jacobian, bread, jacobian)
        return r / np.maximum(1 - leverage, LEAST)
    size = np.sqrt(np.maximum(working, 1e-300))
    out, order = r.copy(), np.argsort(cluster, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        # Woodbury in the space of the parameters: a cluster may have many rows
        part = jacobian[rows] * size[rows, None]
        if len(rows) <= part.shape[1]:
            eigen, vectors = np.linalg.eigh(np.eye(len(rows)) - part @ bread @ part.T)
            out[rows] = (
                vectors @ ((vectors.T @ (r[rows] * size[rows])) / np.maximum(eigen, LEAST)) / size[rows]
            )
            continue
        half = root(bread)
        left, singular, _ = np.linalg.svd(part @ half, full_matrices=False)
        e = r[rows] * size[rows]
        gain = 1.0 / np.maximum(1 - singular**2, LEAST) - 1.0
        out[rows] = (e + left @ (gain * (left.T @ e))) / size[rows]
    return out


def root(matrix: np.ndarray) -> np.ndarray:
    """Symmetric square root of a positive matrix (or batch of them)."""
    eigen, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(eigen, 0.0))[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def inside(problem: Problem, r: np.ndarray) -> float:
    """The mean of psi'(r): the share of residuals within delta."""
    share = float((problem.w * (np.abs(r) <= problem.loss.delta)).mean() / problem.w.mean())
    return max(share, 1 / len(r))


def hessian(problem: Problem, u: np.ndarray) -> np.ndarray:
    """Covariance (P, P) of independent residuals of one scale (Huber 1981, eq. 6.5)."""
    jacobian, r, _, bread = linear(problem, u)
    variance = float(problem.w @ problem.loss.psi(r) ** 2 / problem.w.mean()) / max(len(r) - len(bread), 1)
    spread = np.linalg.pinv((jacobian * problem.w[:, None]).T @ jacobian, hermitian=True)
    return spread * variance / inside(problem, r) ** 2


def whitened(
    problem: Problem, u: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """H^-1/2 (P, P), the parts of clusters (G, P, P) and their scores (G, P)."""
    jacobian, r, *_ = linear(problem, u)
    curve = jacobian.T @ (jacobian * (problem.w * inside(problem, r))[:, None])
    half = root(np.linalg.pinv(curve, hermitian=True))
    rows = jacobian @ half
    order = np.argsort(cluster, kind="stable")
    begin = np.flatnonzero(np.diff(cluster[order], prepend=-1))
    weight = (problem.w * inside(problem, r))[order, None, None]
    rows, psi = rows[order], (problem.w * problem.loss.psi(r))[order, None]
    parts = np.add.reduceat(weight * rows[:, :, None] * rows[:, None, :], begin)
    return half, parts, np.add.reduceat(psi * rows, begin)


def sandwich(problem: Problem, u: np.ndarray, cluster: np.ndarray, kind: str) -> np.ndarray:
    """Compute the covariance (P, P) over clusters.

    Args:
        problem: the law on its rows.
        u: the optimum, every coordinate, centred.
        cluster: index of each row's cluster (n,).
        kind: one of ``POWERS``.
    """
    half, parts, scores = whitened(problem, u, cluster)
    eigen, vectors = np.linalg.eigh(parts)
    gain = np.maximum(1 - eigen, LEAST) ** -POWERS[kind]
    along = np.einsum("gpk,gp->gk", vectors, scores) * gain
    moved = np.einsum("gpk,gk->gp", vectors, along) @ half
    return moved.T @ moved


def design_effect(problem: Problem, u: np.ndarray, cluster: np.ndarray) -> float:
    """How many times the variance of independent runs that of clusters is, in the mean over directions; at
    least 1, as where nothing is free or the law has no slope."""
    with np.errstate(all="ignore"):
        jacobian = problem.model.jacobian(u)[:, usable(problem, u)]
        if not jacobian.size or not np.isfinite(jacobian.T @ jacobian).all():
            return 1.0
    alone = np.linalg.pinv(hessian(problem, u), hermitian=True)
    return max(float(np.trace(alone @ sandwich(problem, u, cluster, "cr2"))) / len(alone), 1.0)


def satterthwaite(problem: Problem, u: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """Degrees of freedom (P,) of the CR2 variance of each coordinate, for independent residuals."""
    half, parts, _ = whitened(problem, u, cluster)
    eigen, vectors = np.linalg.eigh(parts)
    room, eigen = np.maximum(1 - eigen, LEAST), np.maximum(eigen, 0.0)
    out = np.empty(len(half))
    for i, direction in enumerate(half):
        along = np.einsum("gpk,p->gk", vectors, direction)
        moved = np.einsum("gpk,gk->gp", vectors, along * eigen / np.sqrt(room))
        size, taken = (along**2 * eigen / room).sum(1), (moved**2).sum(1)
        # of diag(size) - moved moved', which would be G x G: its trace and the sum of its squares
        square = (size**2).sum() - 2 * size @ taken + ((moved.T @ moved) ** 2).sum()
        out[i] = (size - taken).sum() ** 2 / max(square, 1e-300)
    return out


def noise_square(problem: Problem, u: np.ndarray) -> float:
    """The robust variance of residuals on the scale of the objective: psi'psi / d.f. / share inside delta."""
    r = problem.y - problem.model.fitted(u[None])[0]
    degrees = max(len(r) - int(problem.free.sum()), 1)
    share = max(float(np.mean(np.abs(r) <= problem.loss.delta)), 1 / len(r))
    return float(problem.w @ problem.loss.psi(r) ** 2 / degrees / share)


def depends(problem: Problem, solution: Solution, level: float = 0.95) -> bool:
    """Whether the law fits better than a constant does, beyond what its free parameters take from noise (an F
    test). True of laws without an offset, whose exponents may well be 0, and of groups."""
    law, held = problem.law, {*problem.fixed}
    if problem.group is not None or law.offset is None or {law.offset, *law.exponents} & held:
        return True
    y, w, loss = problem.y, problem.w, problem.loss
    centre = float(np.median(y))
    for _ in range(50):  # reweighted means: Huber's estimate of location
        r = y - centre
        weight = w * np.minimum(1.0, loss.delta / np.maximum(np.abs(r), 1e-300))
        centre = float(weight @ y / weight.sum())
    psi = loss.psi(y - centre)
    value = float((w * psi * (y - centre - 0.5 * psi)).sum())
    return value - solution.value > 0.5 * _excess(problem, level)[0] * noise_square(problem, solution.u)


def blunt(problem: Problem, level: float = 0.95) -> bool:
    """Whether the test of :func:`depends` has too few rows to tell a law from a constant: it passes only laws
    that explain more than ``BLUNT`` of the variance."""
    excess, left = _excess(problem, level)
    return excess / (excess + left) > BLUNT


def _excess(problem: Problem, level: float) -> tuple[float, int]:
    """By how much squares must fall from a constant to the law, in variances, and the degrees of freedom that
    the variance has."""
    free = int(problem.free.sum())
    taken, left = max(free - 1, 1), max(len(problem.y) - free, 1)
    return taken * float(stats.f.ppf(level, taken, left)), left


def powerless(problem: Problem, solution: Solution) -> bool:
    """Whether the optimum has none of the law's power terms left."""
    law = problem.law
    named = zip(problem.names, problem.base, strict=True)
    powers = {name for name, base in named if base in law.linear and law.terms.get(base)}
    return bool(law.terms) and powers <= {*solution.zero}


def indifference(problem: Problem, solution: Solution, level: float = 0.95) -> float:
    """The rise of the objective that noise explains: half a chi2(1) at ``level``, times the noise square."""
    return 0.5 * float(stats.chi2.ppf(level, 1)) * noise_square(problem, solution.u)
