"""Compute-optimal allocation of a law in N and D: what C buys, N*(C) and D*(C), their exponents.

The law is minimised on the curve C(N, D) = C. With one term in N alone and one in D alone, and s the slope
d log(C/D) / d log N, the optimum is where alpha A / N^alpha = s beta B / D^beta: in closed form where s is
constant, else by bisection. Any other law is searched on a grid of sizes, and between the neighbours of its
least value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.fits.cost import BEYOND, EXACT, Cost, counted, fitted
from analysis.fits.rates import Function, Power, Rate, nearest_power
from analysis.fits.shapes import cost_of_shapes
from analysis.laws.law import Law
from analysis.results import Exponents
from analysis.solve.problem import Problem
from analysis.tables.runs import CONVENTIONS

SIZES = 241  # sizes tried where the optimum has no closed form
BISECTIONS = 56  # of the range of log N: to the last digit
THIRDS = 50  # left out of the range between three sizes: to 1e-9
MISFIT = 0.02  # of a cost, beyond which a fit says so
DRIFT = 0.01  # of a local exponent
STEP = 0.25  # in log C, over which a local exponent is taken


@dataclass(frozen=True)
class Optimum(Exponents):
    """Compute-optimal allocation of a fit, at what runs ``cost``: N* = exp(``log_G``) C^a, or where that is
    no power (``log_G`` None) the local exponents a and b at compute ``at``."""

    log_G: float | None
    cost: Cost
    at: float | None = None


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


def exponents(law: Law, u: np.ndarray, rate: Rate) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(a, b, log G) with N* = G C^a, D* ~ C^b, for coordinates u (..., parameters of the law); None where N*
    is no power of C. Minimising the law at fixed C = kappa N^gamma D gives a = beta / (alpha + gamma beta),
    b = 1 - gamma a; Hoffmann et al. 2022, eq. 4, where gamma = 1."""
    found = _two_terms(law)
    if found is None or not isinstance(rate, Power):
        return None
    log_a, alpha, log_b, beta = (u[..., law.names.index(name)] for name in found)
    total = alpha + rate.gamma * beta
    ratio = np.log(alpha / (rate.gamma * beta)) + log_a - log_b - beta * np.log(rate.kappa)
    return beta / total, alpha / total, ratio / total


def best(problem: Problem, u: np.ndarray, rate: Rate, c: np.ndarray, group: Any = 0) -> np.ndarray:
    """Find N* at given compute, for every draw.

    Args:
        problem: the law on the table's rows.
        u: draws (R, P), plain coordinates.
        rate: FLOPs per token, one curve or (R, 1) of them.
        c: compute, (m,) or (R, m).
        group: index of the group, or (m,) of them.

    Returns:
        N* (R, m); nan where the best size lies more than ``BEYOND`` outside the table's.
    """
    log_c, law = np.log(np.atleast_2d(np.asarray(c, float))), problem.law
    groups = np.broadcast_to(group, log_c.shape[1:])
    own = u[:, problem.position[groups]]
    closed = exponents(law, own, rate)
    if closed is not None:
        return np.exp(closed[2] + closed[0] * log_c)
    with np.errstate(all="ignore"):
        if _two_terms(law) is not None:
            return _stationary(law, own, rate, log_c, _ends(problem, rate))
        return _least(problem, u, rate, np.exp(log_c), groups, _ends(problem, rate))


def _ends(problem: Problem, rate: Rate) -> tuple[float, float]:
    """The range of log N that is searched."""
    n = problem.inputs["N"]
    low, high = rate.reach
    return max(float(np.log(n.min() / BEYOND)), low), min(float(np.log(n.max() * BEYOND)), high)


def _stationary(
    law: Law, u: np.ndarray, rate: Rate, log_c: np.ndarray, ends: tuple[float, float]
) -> np.ndarray:
    """N* (R, m) of a law of two terms, ``u`` (R, m, parameters of the law)."""
    log_a, alpha, log_b, beta = (u[..., law.names.index(name)] for name in _two_terms(law) or ())
    lead = np.log(alpha) + log_a - np.log(beta) - log_b + beta * log_c

    def gain(x: np.ndarray) -> np.ndarray:
        """Log of what the term in N falls by, over what that in D rises by, as N grows: it falls."""
        return lead - alpha * x - beta * rate.log_rate(x) - np.log(rate.slope(x))

    low, high = (np.full(lead.shape, end) for end in ends)
    inside = (gain(low) > 0) & (gain(high) < 0)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        up = gain(middle) > 0
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    return np.where(inside, np.exp(0.5 * (low + high)), np.nan)


def _least(
    problem: Problem, u: np.ndarray, rate: Rate, c: np.ndarray, groups: np.ndarray, ends: tuple[float, float]
) -> np.ndarray:
    """N* (R, m) of any law at compute ``c`` (1, m) or (R, m)."""

    def loss(x: np.ndarray, c: np.ndarray, group: Any) -> np.ndarray:
        n = np.exp(x)
        y = values(problem, u, {"N": n, "D": rate.tokens(n, c)}, group)
        return np.where(np.isfinite(y), y, np.inf)

    x, least, inside = np.linspace(*ends, SIZES), [], []
    for i, group in enumerate(groups):
        y = loss(x, c[:, [i]], group)
        k = np.argmin(y, axis=1)
        inner = np.clip(k, 1, SIZES - 2)
        left, mid, right = (y[np.arange(len(y)), inner + side] for side in (-1, 0, 1))
        least.append(inner)
        inside.append((k == inner) & (left - 2 * mid + right > 0))
    at = np.stack(least, axis=1)
    low, high = x[at - 1], x[at + 1]
    for _ in range(THIRDS):
        third = (high - low) / 3
        up = loss(low + third, c, groups) > loss(high - third, c, groups)
        low, high = np.where(up, low + third, low), np.where(up, high, high - third)
    return np.where(np.stack(inside, axis=1), np.exp(0.5 * (low + high)), np.nan)


def allocation(problem: Problem, columns: Any) -> bool:
    """Whether the law allots compute between N and D, and the table says what that costs."""
    known = not {"a", "b"} & set(problem.names)  # a law's own names come first
    return known and set(problem.law.inputs) == {"N", "D"} and all(x in columns for x in "NDC")


def cost_of(
    frame: Any, convention: str, given: Cost | Function | None = None
) -> tuple[Cost, tuple[str, ...]]:
    """What the runs of a frame with N, D, C cost, and what to know of that. Raises AnalysisError for a
    function ``given`` that is none of a cost."""
    n, d, c = (frame[x].to_numpy(float) for x in "NDC")
    per_token, notes = CONVENTIONS[convention][1], ()
    if isinstance(given, Cost):
        cost: Cost = given
    elif given is not None:
        cost = counted(given, n, d, c)
    elif per_token is not None:
        cost = Power(per_token)
    elif (power := nearest_power(n, d, c)).misfit < EXACT:
        cost = power
    else:
        known, why = cost_of_shapes(frame)
        cost, notes = known or fitted(n, d, c), (why,) if why else ()
    if cost.misfit > MISFIT:
        notes = (*notes, f"cost: {cost.description}; the compute of a run differs by {cost.misfit:.1%}")
    return cost, notes


def drift(problem: Problem, u: np.ndarray, cost: Cost, c: np.ndarray) -> tuple[str, ...]:
    """Note where the local exponents change over compute.

    Args:
        problem: the law on the table's rows.
        u: the draw (1, P), plain coordinates.
        cost: what N and D cost.
        c: compute (m,).
    """
    a = local(problem, u, cost, c)[0][0]
    if not np.ptp(a) > DRIFT:
        return ()
    ends = " and ".join(f"{x:.3f} at C = {at:.3g}" for x, at in zip(a, c, strict=True))
    return (f"a and b drift, as N* is no power of C: a is {ends}",)


def values(problem: Problem, u: np.ndarray, inputs: dict[str, np.ndarray], group: Any = 0) -> np.ndarray:
    """Evaluate the law at draws: (R, m), as :meth:`Problem.values`.

    Args:
        problem: the law on the table's rows.
        u: draws (R, P), plain coordinates.
        inputs: of the law by name, (m,) or (R, m) each.
        group: index of the group, or (m,) of them.
    """
    return problem.values(problem.parameters(u), inputs, group)


def local(
    problem: Problem, u: np.ndarray, rate: Rate, c: np.ndarray, group: Any = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Find the local exponents a = d log N* / d log C and b = d log D* / d log C.

    Args:
        problem: the law on the table's rows.
        u: draws (R, P), plain coordinates.
        rate: FLOPs per token, one curve or (R, 1) of them.
        c: compute (m,).
        group: index of the group, or (m,) of them.

    Returns:
        a and b, (R, m) each.
    """
    sides = [np.asarray(c, float) * np.exp(sign * STEP) for sign in (-1, 1)]
    low, high = (best(problem, u, rate, side, group) for side in sides)
    a = np.log(high / low) / (2 * STEP)
    tokens = [rate.tokens(n, side) for n, side in zip((low, high), sides, strict=True)]
    return a, np.log(tokens[1] / tokens[0]) / (2 * STEP)


def best_exponents(
    problem: Problem, u: np.ndarray, rate: Rate, c: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find a, b and log G of N* = G C^a, D* ~ C^b, or local exponents where they have no closed form.

    Args:
        problem: the law on the table's rows.
        u: draws (R, P), plain coordinates.
        rate: FLOPs per token, one curve or (R, 1) of them.
        c: compute at which local exponents are taken.

    Returns:
        (a, b, log G), (R,) each. Without a closed form log G is nan, and the median stands for draws that
        have no best size.
    """
    closed = exponents(problem.law, u[:, problem.position[0]], rate)
    if closed is not None:
        return closed
    pair = []
    for found in local(problem, u, rate, np.array([c])):
        column = found[:, 0]
        fine = np.isfinite(column)
        pair.append(np.where(fine, column, np.median(column[fine]) if fine.any() else np.nan))
    return pair[0], pair[1], np.full(len(u), np.nan)
