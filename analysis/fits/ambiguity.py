"""Other parameters that fit as well: optima within the noise, an offset of zero, flat directions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.fits.allocation import split_terms
from analysis.fits.covariance import indifference, usable
from analysis.fits.identification import DECADE, LOOSE, NEAR, Ambiguity, least, proportional
from analysis.solve.multistart import Solution, minimise, solve
from analysis.solve.problem import Problem
from analysis.solve.starts import linear_start

SAME = 0.1  # relative difference below which two optima agree on a parameter


def rivals(problem: Problem, solution: Solution) -> tuple[list[np.ndarray], float | None]:
    """Other optima (plain coordinates) that fit as well at the noise level, and the objective reached from
    the exchanged optimum ((A, alpha) with (B, beta)), if the law has such a pair."""
    law, names = problem.law, problem.names
    ends, end_values, exchanged = solution.ends, solution.end_values, None
    pair = split_terms(law)
    if pair and {pair[1], pair[3]} <= set(names) and not {pair[1], pair[3]} & set(problem.fixed):
        i, j = names.index(pair[1]), names.index(pair[3])
        x = problem.parameters(problem.shift(solution.u, 1.0))[None]
        x[:, [i, j]] = x[:, [j, i]]
        x = linear_start(problem, x, problem.y, problem.w)[0]
        start = problem.coordinates(dict(zip(names, x, strict=True)))
        end, value, _ = minimise(problem, start[None])
        ends, end_values = np.vstack([ends, end]), np.append(end_values, value)
        exchanged = float(value[0])
    # those that ended at the optimum are no rivals; one that stopped early in one flat valley neither
    near = (end_values <= solution.value + indifference(problem, solution)) & _moved(
        problem, solution, ends
    ).any(1)
    if not near.any():
        return [], exchanged
    ends, _, done = minimise(problem, ends[near])
    far = done & _moved(problem, solution, ends).any(1)
    return [problem.shift(u, 1.0) for u in ends[far]], exchanged


def _moved(problem: Problem, solution: Solution, ends: np.ndarray) -> np.ndarray:
    """(R, P) which coordinates lie elsewhere than at the optimum. Coefficients of a power sum follow their
    exponents and do not count."""
    curved = np.array([not (problem.law.terms and p in problem.law.linear) for p in problem.base])
    best, gap = solution.u, np.abs(ends - solution.u)
    if problem.law.terms:
        return (gap > SAME * np.abs(best[curved & problem.free]).max(initial=1e-9)) & curved & problem.free
    width = np.where(
        problem.in_log, 0.5 * np.log(DECADE), NEAR * np.abs(best) + 0.01 * (problem.box[1] - problem.box[0])
    )
    return (gap > width) & problem.free


def offset_free(problem: Problem, solution: Solution) -> bool:
    """Whether the law without its constant fits as well at the noise level (a term with an exponent near 0
    takes its place)."""
    offset = problem.law.offset
    if offset is None or offset in problem.fixed:
        return False
    without = replace(problem, fixed={**problem.fixed, offset: 0.0})
    return solve(without, keep=6).value <= solution.value + indifference(problem, solution)


def ambiguity(problem: Problem, solution: Solution) -> Ambiguity:
    """Why parameters cannot be told apart, and which: D follows N, or another optimum fits as well. Empty if
    neither."""
    law = problem.law
    others, exchanged = rivals(problem, solution)
    again = ""
    if exchanged is not None and exchanged <= solution.value + indifference(problem, solution):
        there, here = f"{exchanged:.6g}", f"{solution.value:.6g}"
        if there != here:
            again = f"; refitted from the exchanged optimum: objective {there}, here {here}"
        elif others:  # else the search came back here
            again = "; the exchanged optimum is as good"
    sentence = proportional(problem.inputs)
    if law.terms and sentence and len([e for e in law.exponents if e not in problem.fixed]) > 1:
        names = {n for n in (*law.names, "a", "b") if n != law.offset}
        if law.offset is not None and offset_free(problem, solution):
            names.add(law.offset)
        return Ambiguity(f"{sentence}, so that its terms can be exchanged{again}", frozenset(names), True)
    if not others and (loose := flat(problem, solution)):
        why = f"{sentence}: " if sentence else ""
        names = {*loose, "a", "b"} if {"N", "D"} <= set(law.inputs) else loose
        how = "can be traded for one another" if len(loose) > 1 else "may lie anywhere near: the fit is flat"
        return Ambiguity(f"{why}{', '.join(sorted(loose))} {how}{again}", frozenset(names), bool(sentence))
    if not others:
        return Ambiguity()
    moved = _moved(problem, solution, problem.shift(np.array(others), -1.0))
    best = problem.parameters(problem.shift(solution.u, 1.0))
    optima = problem.parameters(np.array(others))
    names = {problem.base[i] for i in np.flatnonzero(moved.any(0))}
    names |= {c for c, powers in law.terms.items() if names & set(powers.values())} | {"a", "b"}
    at = [i for i, p in enumerate(problem.base) if p == law.offset]
    if at and (np.abs(optima[:, at] - best[at]) > SAME * best[at]).any():
        names.add(str(law.offset))
    other = optima[np.argmax(np.abs(others - problem.shift(solution.u, 1.0)).max(1))]
    shown = [i for i, p in enumerate(problem.base) if p not in law.linear or p == law.offset]
    text = ", ".join(f"{problem.names[i]} = {other[i]:.3g}" for i in shown)
    names |= flat(problem, solution)
    why = f"{sentence}: " if sentence else ""
    reason = f"{why}another optimum fits as well at the noise level ({text}){again}"
    return Ambiguity(reason, frozenset(names), bool(sentence))


def flat(problem: Problem, solution: Solution) -> frozenset[str]:
    """Parameters that a direction carries along in which the fit is flat: linearised, noise lets them wander
    ``LOOSE`` times further than any claim allows. Replicates that start at the optimum do not see it."""
    free = usable(problem, solution.u)
    r = problem.y - problem.model.fitted(solution.u[None])[0]
    jacobian = problem.model.jacobian(solution.u)[:, free] * np.sqrt(problem.w)[:, None]
    size = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
    _, singular, across = np.linalg.svd(jacobian / size, full_matrices=False)
    singular = np.maximum(singular, 1e-10 * singular.max(initial=1e-300))
    sd = np.sqrt(problem.w @ r**2 / max(len(r) - int(problem.free.sum()), 1))
    with np.errstate(over="ignore"):
        error = 1.645 * sd * np.sqrt(((across / singular[:, None]) ** 2).sum(0)) / size
    smallest = np.array([least(problem.law, kind) for kind in problem.base])
    allowed = np.where(problem.in_log, 0.5 * np.log(DECADE), np.maximum(NEAR * np.abs(solution.u), smallest))[
        free
    ]
    names = np.array(problem.base, object)[free]
    return frozenset(map(str, names[error > LOOSE * allowed]))
