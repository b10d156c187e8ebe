"""Compute-optimal allocation of a law in N and D: what C buys, N*(C) and D*(C), their exponents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.laws.law import Law
from analysis.results import Exponents
from analysis.solve.problem import Problem

SIZES = 241  # sizes tried where the optimum has no closed form
STEP = 0.5  # in log C, over which a local exponent is taken
BEYOND = 1e4  # times the table's range of sizes


@dataclass(frozen=True)
class Cost:
    """C = kappa N^gamma D, fitted to the table. 6 N D has kappa 6, gamma 1; an exact count over small models
    has another gamma under a convention that leaves out head or embedding. ``misfit``: the largest
    relative error."""

    kappa: float
    gamma: float
    misfit: float

    @staticmethod
    def of(n: np.ndarray, d: np.ndarray, c: np.ndarray) -> Cost:
        x, y = np.log(n), np.log(c / d)
        spread = float(np.var(x))
        gamma = float(np.cov(x, y, bias=True)[0, 1] / spread) if spread > 1e-8 else 1.0
        if abs(gamma - 1) < 1e-9:
            gamma = 1.0
        intercept = float(np.mean(y - gamma * x))
        misfit = float(np.max(np.abs(np.expm1(y - gamma * x - intercept))))
        return Cost(float(np.exp(intercept)), gamma, 0.0 if misfit < 1e-9 else misfit)

    def tokens(self, n: np.ndarray | float, c: np.ndarray | float) -> np.ndarray:
        with np.errstate(divide="ignore", over="ignore"):  # of replicates whose N* is at an end of the floats
            return np.asarray(c, float) / (self.kappa * np.asarray(n, float) ** self.gamma)


@dataclass(frozen=True)
class Optimum(Exponents):
    """Compute-optimal allocation of a fit, N* = exp(log_G) C^a (log_G None: no closed form), at the fitted
    ``cost``."""

    log_G: float | None
    cost: Cost


def split_terms(law: Law) -> tuple[str, str, str, str] | None:
    """(A, alpha, B, beta) of a law with one term in N alone and one in D alone, of different exponents; None
    for any other law."""
    found = _two_terms(law)
    return None if found is None or found[1] == found[3] else found


def _two_terms(law: Law) -> tuple[str, str, str, str] | None:
    found = {next(iter(p)): (c, next(iter(p.values()))) for c, p in law.terms.items() if len(p) == 1}
    if set(found) != {"N", "D"} or len([p for p in law.terms.values() if p]) != 2:
        return None
    return (*found["N"], *found["D"])


def exponents(law: Law, u: np.ndarray, cost: Cost) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(a, b, log G) with N* = G C^a, D* ~ C^b, for coordinates u (..., parameters of the law). Minimising the
    law at fixed C = kappa N^gamma D gives a = beta / (alpha + gamma beta), b = 1 - gamma a; Hoffmann et al.
    2022, eq. 4, where gamma = 1."""
    found = _two_terms(law)
    if found is None:
        return None
    log_a, alpha, log_b, beta = (u[..., law.names.index(name)] for name in found)
    total = alpha + cost.gamma * beta
    ratio = np.log(alpha / (cost.gamma * beta)) + log_a - log_b - beta * np.log(cost.kappa)
    return beta / total, alpha / total, ratio / total


def best_sizes(
    value: Callable[[np.ndarray, np.ndarray], np.ndarray], cost: Cost, n: np.ndarray, c: float | np.ndarray
) -> np.ndarray:
    """N* (R,) at compute ``c`` of any law: ``value`` gives its (R, m) values at sizes and tokens (m,); ``n``
    the table's sizes. A parabola in log N through the least three of many sizes; nan where the least is at an
    end."""
    x = np.linspace(np.log(n.min() / BEYOND), np.log(n.max() * BEYOND), SIZES)
    y = value(np.exp(x), cost.tokens(np.exp(x), c))
    k = np.argmin(np.where(np.isfinite(y), y, np.inf), axis=1)
    inner = np.clip(k, 1, SIZES - 2)
    left, mid, right = (y[np.arange(len(y)), inner + s] for s in (-1, 0, 1))
    bend = left - 2 * mid + right
    shift = np.clip(0.5 * (left - right) / np.where(bend > 0, bend, 1.0), -1, 1) * (x[1] - x[0])
    return np.where((k == inner) & (bend > 0), np.exp(x[inner] + shift), np.nan)


def allocation(problem: Problem, columns: Any) -> bool:
    """Whether the law allots compute between N and D, and the table says what that costs."""
    known = not {"a", "b"} & set(problem.names)  # a law's own names come first
    return known and set(problem.law.inputs) == {"N", "D"} and all(x in columns for x in "NDC")


def values(problem: Problem, u: np.ndarray, inputs: dict[str, np.ndarray], group: Any = 0) -> np.ndarray:
    """(R, m) the law at plain coordinates ``u`` (R, P): see :meth:`Problem.values`."""
    return problem.values(problem.parameters(u), inputs, group)


def best(problem: Problem, u: np.ndarray, cost: Cost, c: float, group: int = 0) -> np.ndarray:
    """N* (R,) at compute ``c``."""
    closed = exponents(problem.law, u[:, problem.position[group]], cost)
    if closed is not None:
        return np.exp(closed[2] + closed[0] * np.log(c))
    return best_sizes(lambda n, d: values(problem, u, {"N": n, "D": d}, group), cost, problem.inputs["N"], c)


def best_exponents(problem: Problem, u: np.ndarray, cost: Cost) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(a, b, log G) of draws (R, P); without a closed form, a is that at the middle of the table's
    compute."""
    closed = exponents(problem.law, u[:, problem.position[0]], cost)
    if closed is not None:
        return closed
    c = np.exp(np.mean(np.log(cost.kappa * problem.inputs["N"] ** cost.gamma * problem.inputs["D"])))
    low, high = (best(problem, u, cost, c * np.exp(s * STEP)) for s in (-1, 1))
    a = np.log(high / low) / (2 * STEP)
    fine = np.isfinite(a)
    a = np.where(fine, a, np.median(a[fine]) if fine.any() else np.nan)
    return a, 1 - cost.gamma * a, np.full(len(u), np.nan)
