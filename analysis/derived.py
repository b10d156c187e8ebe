"""Quantities that follow from a fitted law: a and b of N* ~ C^a, D* ~ C^b, and N* itself, with their
draws."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.allocation import Cost, best_sizes, exponents
from analysis.problem import Problem

STEP = 0.5  # in log C, over which a local exponent is taken


def allocation(problem: Problem, columns: Any) -> bool:
    """Whether the law allots compute between N and D, and the table says what that costs."""
    known = not {"a", "b"} & set(problem.names)  # a law's own names come first
    return known and set(problem.law.inputs) == {"N", "D"} and all(x in columns for x in "NDC")


def values(problem: Problem, u: np.ndarray, inputs: dict[str, np.ndarray], group: Any = 0) -> np.ndarray:
    """(R, m) the law at plain coordinates ``u`` (R, P) and inputs (m,), with the parameters of ``group``; at
    a
    ``group`` (m,) of indices, with those of each."""
    x = problem.parameters(u)
    at = problem.position[group].reshape(-1, len(problem.law.names))
    params = {name: x[:, at[:, i]] for i, name in enumerate(problem.law.names)}
    with np.errstate(all="ignore"):
        out = problem.law.values(params, {k: np.asarray(v, float)[None] for k, v in inputs.items()})
    return np.broadcast_to(out, (len(u), len(next(iter(inputs.values())))))


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
