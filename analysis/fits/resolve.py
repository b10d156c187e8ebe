"""Optima of a law on many versions of its rows: other responses, or other weights."""

from __future__ import annotations

import numpy as np

from analysis.fits.edges import off_edge, restart
from analysis.solve.multistart import LARGE, Draw, Solution, minimise, on_edge, sampled
from analysis.solve.problem import Problem
from analysis.solve.starts import linear_start

FEWER = 2  # versions of a large table that are solved again from many starts
AGREE = 1e-6


def solved(
    problem: Problem,
    solution: Solution,
    count: int,
    draw: Draw,
    check: int,
    begin: np.ndarray | None = None,
) -> tuple[np.ndarray, int, int]:
    """Solve replicates from the optimum, and the first few of them from many other starts too; where those
    find better optima, all of them.

    Args:
        problem: the law on its rows.
        solution: its optimum.
        count: number of replicates R.
        draw: gives the responses and weights of replicates by index.
        check: how many of them are solved again; fewer of a large table.
        begin: starts (R, P), centred; left out: the optimum.

    Returns:
        Ends (R, P), centred; of those checked, how many no other start improves on; how many were checked.
    """
    start = restart(problem, solution.u)
    large = len(problem.target) > LARGE
    begin = np.repeat(start[None], count, axis=0) if begin is None else begin
    ends, heights, done = minimise(problem, begin, draw=draw, steps=100, near=large)
    _leave_edges(problem, solution.u, draw, ends, heights, done)
    checked = min(check, count, FEWER if large else check)
    if not checked:
        return ends, 0, 0
    many = np.concatenate([_spread(problem, solution), start[None]])
    if large:
        many = sampled(problem, problem.y, problem.w, start=many)

    agree = _again(problem, many, np.arange(checked), draw, ends, heights)
    if agree < checked and not large:  # of a large table the many starts take too long
        _again(problem, many, np.arange(checked, count), draw, ends, heights)
    return ends, agree, checked


def _again(
    problem: Problem, many: np.ndarray, which: np.ndarray, draw: Draw, ends: np.ndarray, heights: np.ndarray
) -> int:
    """Solve replicates again from many starts.

    Args:
        problem: the law on its rows.
        many: the starts (S, P), centred.
        which: indices of the replicates.
        draw: gives their responses and weights.
        ends: of all replicates (R, P), replaced where better.
        heights: their objectives (R,), likewise.

    Returns:
        How many of them no start improved on.
    """
    size = len(many)
    others, values, _ = minimise(
        problem, np.tile(many, (len(which), 1)), draw=lambda at: draw(which[at // size]), steps=100
    )
    values, others = values.reshape(-1, size), others.reshape(-1, size, len(problem.names))
    best = values.argmin(1)
    least = values[np.arange(len(which)), best]
    agree = int((heights[which] <= least * (1 + AGREE) + 1e-18).sum())
    better = least < heights[which]
    ends[which[better]] = others[better, best[better]]
    heights[which[better]] = least[better]
    return agree


def _leave_edges(
    problem: Problem, u: np.ndarray, draw: Draw, ends: np.ndarray, heights: np.ndarray, done: np.ndarray
) -> None:
    """Solve again, from starts on and off the edge, all replicates of an estimate ``u`` (P,) on an edge, and
    otherwise those that ended where a logarithm has no slope, or on the way there. Better ``ends`` and
    ``heights`` replace theirs."""
    offset = np.array([problem.law.terms.get(p) == {} for p in problem.base]) & problem.free & problem.in_log
    on = on_edge(problem, u) | (on_edge(problem, ends) & problem.in_log) | (offset & ~done[:, None])
    again = np.flatnonzero(on.any(1))
    for away in off_edge(problem, u, np.flatnonzero(on.any(0))):
        others, values, _ = minimise(
            problem,
            np.repeat(away[None], len(again), axis=0),
            draw=lambda which: draw(again[which]),
            steps=100,
        )
        better = values < heights[again]
        ends[again[better]], heights[again[better]] = others[better], values[better]


def _spread(problem: Problem, solution: Solution, most: int = 8) -> np.ndarray:
    """Starts away from the optimum: exponents halved, doubled and exchanged, linear parameters anew."""
    curved = [i for i, p in enumerate(problem.base) if p not in problem.law.linear and problem.free[i]]
    low, high = problem.box
    if not curved:
        return solution.ends[:1]
    u = np.repeat(problem.shift(solution.u, 1.0)[None], most, axis=0)
    factors = np.array([0.5, 0.75, 1.5, 2.0])
    for k in range(most):
        for m, i in enumerate(curved):
            factor = factors[(k + (m + 1) * (k // 4)) % 4]
            u[k, i] = u[k, i] + np.log(factor) if problem.in_log[i] else u[k, i] * factor
    inside = np.clip(u[:, curved], low[curved], high[curved])
    u[:, curved] = inside
    x = linear_start(problem, problem.parameters(u), problem.y, problem.w)
    with np.errstate(divide="ignore", invalid="ignore"):
        filled = np.where(problem.in_log & problem.free, np.log(x), u)
    return problem.shift(np.nan_to_num(filled, neginf=-50.0), -1.0)
