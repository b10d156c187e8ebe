"""Replicates of a fit that respect clusters: runs of one trunk or size share noise.

Many clusters: they are drawn with replacement (pairs cluster bootstrap, percentile). Fewer than
``MANY``: a pairs bootstrap under-covers (Cameron, Gelbach & Miller 2008), so the clusters' residuals,
adjusted for leverage as a jackknife does (CR3; Bell & McCaffrey 2002), are multiplied by Webb's six-point
weights. Deviations are stretched by t(G - 1) / z. On 21 runs of 7 sizes at nominal 90 %, 60 to 100
simulations each with independent and with clustered noise: CR3 covers .90-.97 and CR2 .78-.89 (alpha, beta,
E, mean loss at 3x compute); a new run at 3x, CR3: .85-.90.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.laws import ZERO
from analysis.solver import Problem, minimise, shares, solve

MANY = 30
CHECKED = 6  # replicates that are solved again from many starts
WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
LEAST = 0.05  # smallest 1 - leverage that is inverted


@dataclass(frozen=True)
class Replicates:
    """``u`` (R, P) plain coordinates; ``method``; ``degrees`` of freedom; ``check``: how many of the
    replicates that were solved again from many starts had found the same objective."""

    u: np.ndarray
    method: str
    degrees: int
    check: dict[str, int]


def replicate(
    problem: Problem, u: np.ndarray, cluster: np.ndarray, by: str, count: int, seed: int
) -> Replicates:
    """``count`` replicates of the optimum ``u`` (P,), centred; ``count = 0``: draws from the linearised
    cluster-robust covariance, which costs nothing and is rougher."""
    groups = int(cluster.max()) + 1
    degrees = max(groups - 1, 1)
    rng = np.random.default_rng(seed)
    if count == 0:
        draws = _linearised(problem, u, cluster, rng)
        return Replicates(
            problem.shift(draws, 1.0),
            f"linearised CR3 sandwich over {groups} clusters by {by}, t({degrees})",
            degrees,
            {"n": 0, "agree": 0},
        )
    weights = log_loss = None
    if groups >= MANY:
        counts = rng.multinomial(groups, np.full(groups, 1 / groups), size=count)
        weights = counts[:, cluster].astype(float)
        method = f"pairs cluster bootstrap ({count} replicates of {groups} clusters by {by})"
    else:
        fitted = shares(problem.design, u[None])[1][0]
        signs = WEBB[rng.integers(0, 6, size=(count, groups))]
        log_loss = fitted + signs[:, cluster] * _adjusted(problem, u, cluster)
        method = (
            f"wild cluster bootstrap ({count} replicates, Webb weights, CR3 residuals, "
            f"{groups} clusters by {by})"
        )
    start = np.repeat(_restart(problem, u)[None], count, axis=0)
    ends, found, _ = minimise(problem, start, log_loss=log_loss, weights=weights, steps=100)
    agree = 0
    checked = range(min(CHECKED, count))
    for i in checked:
        y = None if log_loss is None else log_loss[i]
        again = solve(problem, log_loss=y, weights=None if weights is None else weights[i], keep=8)
        agree += bool(found[i] <= again.value * (1 + 1e-6) + 1e-18)
        ends[i] = ends[i] if found[i] <= again.value else again.u
    method += f", percentile, t({degrees})/z"
    return Replicates(problem.shift(ends, 1.0), method, degrees, {"n": len(checked), "agree": agree})


def _restart(problem: Problem, u: np.ndarray) -> np.ndarray:
    """A coefficient at zero has no gradient in its log: replicates start a little above it."""
    small = problem.log_loss.min() + np.log(1e-3)
    zero = (u < 0.5 * ZERO) & problem.free
    return np.where(zero, small, u)


def _linear(problem: Problem, u: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Jacobian of log L (n, free), residuals (n,), and working weights psi(r)/r (n,)."""
    design = problem.design
    share, fitted = shares(design, u[None])
    jacobian = np.einsum("kn,knp->np", share[:, 0], design)
    r = problem.log_loss - fitted[0]
    low, high = problem.bounds
    usable = problem.free & (u > low) & (u < high)
    working = np.minimum(1.0, problem.loss.delta / np.maximum(np.abs(r), 1e-300))
    return jacobian[:, usable], r, working


def _adjusted(problem: Problem, u: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """CR3: residuals (I - H_gg)^-1 r_g, undoing what the fit took from each cluster."""
    jacobian, r, working = _linear(problem, u)
    bread = np.linalg.pinv((jacobian * working[:, None]).T @ jacobian)
    out = r.copy()
    for g in range(int(cluster.max()) + 1):
        rows = np.flatnonzero(cluster == g)
        root = np.sqrt(working[rows])
        part = jacobian[rows] * root[:, None]
        eigen, vectors = np.linalg.eigh(np.eye(len(rows)) - part @ bread @ part.T)
        out[rows] = vectors @ ((vectors.T @ (r[rows] * root)) / np.maximum(eigen, LEAST)) / root
    return out


def _linearised(problem: Problem, u: np.ndarray, cluster: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    jacobian, _, working = _linear(problem, u)
    low, high = problem.bounds
    usable = problem.free & (u > low) & (u < high)
    scores = jacobian * (working * _adjusted(problem, u, cluster))[:, None]
    sums = np.array([scores[cluster == g].sum(0) for g in range(int(cluster.max()) + 1)])
    bread = np.linalg.pinv((jacobian * working[:, None]).T @ jacobian)
    draws = rng.standard_normal((200, len(sums))) @ (sums @ bread)
    out = np.repeat(u[None], len(draws), axis=0)
    # exponents stay in their domain; coefficients within e^50
    out[:, usable] = np.clip(
        out[:, usable] + draws, np.maximum(low, u - 50)[usable], np.minimum(high, u + 50)[usable]
    )
    return out


def interval(
    estimate: float, replicates: np.ndarray, level: float, degrees: int, *, log: bool = True
) -> tuple[float, float]:
    """Percentile interval about ``estimate``, deviations stretched by t(degrees)/z."""
    tail = 0.5 * (1 - level)
    stretch = float(stats.t.ppf(1 - tail, degrees) / stats.norm.ppf(1 - tail))
    if not log:
        low, high = np.quantile(replicates - estimate, [tail, 1 - tail]) * stretch
        return estimate + min(low, 0.0), estimate + max(high, 0.0)
    if estimate == 0:
        return 0.0, float(np.quantile(replicates, 1 - tail))
    with np.errstate(divide="ignore"):
        deviations = np.log(np.maximum(replicates, 1e-300)) - np.log(estimate)
    low, high = np.quantile(deviations, [tail, 1 - tail]) * stretch
    return float(estimate * np.exp(max(min(low, 0.0), -700))), float(
        estimate * np.exp(min(max(high, 0.0), 700))
    )
