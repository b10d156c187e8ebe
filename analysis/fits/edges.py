"""Estimates on the edge of their domain, as E = 0: the objective with a coordinate held off it, and the bound
that its rise gives.

A coefficient at 0 has no slope in its logarithm, so that a search which begins there stays: a replicate needs
starts off the edge. And replicates of a fit on the edge say what such a truth would give, not which truths
give such a fit, so the bound is by the profile of the objective.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import stats

from analysis.fits.covariance import design_effect, noise_square
from analysis.laws.law import ZERO
from analysis.results import Interval
from analysis.solve.multistart import minimise, on_edge
from analysis.solve.problem import FLOOR, Problem

SHARES = np.array([0.0, 0.1, 0.25, 0.45, 0.65, 0.85])  # of the smallest loss, or of a domain, off the edge
POINTS = 25  # of a profile, and again between the two that a bound lies between
ROUNDS = 3  # from neighbour to neighbour


def restart(problem: Problem, u: np.ndarray) -> np.ndarray:
    """``u`` (P,) with coefficients at zero a little above it."""
    zero = (u < 0.5 * ZERO) & problem.free & problem.in_log
    return np.where(zero, np.log(1e-3 * problem.smallest), u)


def off_edge(problem: Problem, u: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Starts (R, P) on and off the edges of the domains of the coordinates ``at``: the others are solved with
    each in turn held there, from ``u`` (P,)."""
    low, high = problem.box
    out = [np.empty((0, len(u)))]
    for i in at:
        if problem.in_log[i] and problem.law.terms:
            places = np.log(np.maximum(SHARES, FLOOR) * problem.smallest)
        elif np.isfinite(high[i] - low[i]):
            places = low[i] + (high[i] - low[i]) * (SHARES if u[i] < 0.5 * (low[i] + high[i]) else 1 - SHARES)
        out.append(_held(problem, u, i, np.clip(places, low[i], high[i]))[0])
    return np.concatenate(out)


def bounds(
    problem: Problem, u: np.ndarray, cluster: np.ndarray, *, level: float, degrees: int
) -> dict[str, Interval]:
    """Bound the parameters that lie on an edge.

    An interval goes from the edge to where the profile of the objective has risen by more than noise
    explains.

    Noise is Student's t, at half the tail of another interval's end: the tables whose fit lies on an edge
    are those that noise moved there. In 98 of 100 of them the bound of 95 % holds the truth, in 88 to 90
    with the whole tail (``benchmarks/coverage.py --designs floor``).

    Args:
        problem: the law on its rows.
        u: the optimum (P,), centred.
        cluster: index of each row's cluster (n,).
        level: of the intervals, between 0 and 1.
        degrees: degrees of freedom of Student's t.

    Returns:
        Intervals of the parameters on an edge, by full name; none for the coefficient of a power.
    """
    best = float(minimise(problem, u[None], steps=0)[1][0])
    reach = float(stats.t.ppf(1 - (1 - level) / 4, degrees)) ** 2
    threshold = 0.5 * reach * noise_square(problem, u) * design_effect(problem, u, cluster)
    out, (low, high) = {}, problem.box
    for i in np.flatnonzero(on_edge(problem, u)).tolist():
        if problem.law.terms.get(problem.base[i]) or not np.isfinite(high[i] - low[i]):
            continue  # of a term that vanished any coefficient does, with some exponent
        upper = bool(u[i] < 0.5 * (low[i] + high[i]))
        places, end = np.linspace(low[i], high[i], POINTS), None
        for _ in range(2):  # coarse, then between the points that the crossing lies between
            above = _held(problem, u, i, places)[1] - best - threshold
            first, last, _ = crossings(places, above)
            if (crossing := last if upper else first) is None:
                break
            end = crossing
            k = int(np.clip(np.searchsorted(places, end), 1, POINTS - 1))
            places = np.linspace(places[k - 1], places[k], POINTS)
        name = problem.names[i]
        edges = problem.ends(name, problem.base[i])
        if end is not None and problem.in_log[i]:
            end = float(np.exp(end))
        out[name] = Interval(edges[0], edges[1] if end is None else end) if upper else Interval(
            edges[0] if end is None else end, edges[1])  # fmt: skip
    return out


def _held(problem: Problem, u: np.ndarray, i: int, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Optima (R, P) and their objectives with the centred coordinate ``i`` held at each of ``places``."""
    held = replace(problem, fixed={**problem.fixed, problem.names[i]: 1.0})  # where each start has it
    starts = np.repeat(restart(problem, u)[None], len(places), axis=0)
    starts[:, i] = places
    starts = held.shift(problem.shift(starts, 1.0), -1.0)
    ends, values, _ = minimise(held, starts)
    ends, values = smoothed(held, i, starts[:, i], ends, values)
    return problem.shift(held.shift(ends, 1.0), -1.0), values


def smoothed(
    held: Problem, i: int, at: np.ndarray, ends: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Solve a profile's points again from both neighbours, which mends a search that failed at one of them.

    Args:
        held: the problem with the coordinate fixed where each start has it.
        i: index of that coordinate.
        at: its values (R,), ascending.
        ends: optima found there (R, P).
        values: their objectives (R,).

    Returns:
        The better optima (R, P) and their objectives (R,).
    """
    count = len(ends)
    for _ in range(ROUNDS):
        starts = np.concatenate([ends[[0, *range(count - 1)]], ends[[*range(1, count), -1]]])
        starts[:, i] = np.tile(at, 2)
        again, heights = minimise(held, starts)[:2]
        better = np.argmin(heights.reshape(2, -1), axis=0) * count + np.arange(count)
        lower = heights[better] < values * (1 - 1e-9)
        values = np.where(lower, heights[better], values)
        ends = np.where(lower[:, None], again[better], ends)
        if not lower.any():
            break
    return ends, values


def crossings(at: np.ndarray, above: np.ndarray) -> tuple[float | None, float | None, bool]:
    """The outermost points where the curve passes zero, by interpolation (None: it is below zero at that end
    of the grid), and whether it stays below between them."""
    below = np.flatnonzero(above <= 0)
    if not len(below):
        return None, None, True
    first, last = int(below[0]), int(below[-1])

    def between(inside: int, outside: int) -> float | None:
        if not 0 <= outside < len(at):
            return None
        share = -above[inside] / (above[outside] - above[inside])
        return float(at[inside] + (at[outside] - at[inside]) * share)

    return between(first, first - 1), between(last, last + 1), last - first + 1 == len(below)
