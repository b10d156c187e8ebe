"""Which parameters and derived quantities a table determines, and why not the others.

A verdict is ``yes``, ``one_sided`` (only the bound given holds) or ``no``. The stated widths: an exponent or
the offset is identified when its interval lies within +-25 % of it, a coefficient when its interval spans
less than a factor of ten (it is the size of its term at N = 1 or D = 1, far outside any table).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from analysis.allocation import split_terms
from analysis.laws import Law
from analysis.solver import Problem, Solution, linear_start, minimise, solve

NEAR = 0.25  # half-width of an identified exponent or offset, relative
DECADE = 10.0  # full width of an identified coefficient, as a factor
SAME = 0.1  # relative difference below which two optima agree on a parameter
PROPORTIONAL = 0.03  # spread of log D about its line in log N, relative to the spread of log D

Verdict = dict[str, Any]


def shortage(law: Law, logs: dict[str, np.ndarray], fixed: dict[str, float]) -> str:
    """Why this table can determine nothing of the law; empty when it may."""
    rows = len(next(iter(logs.values())))
    free = [name for name in law.names if name not in fixed]
    found = []
    if rows <= len(free):
        names = ", ".join(free)
        found.append(
            f"{rows} usable runs for {len(free)} free parameters ({names}); needs at least {len(free) + 1}"
        )
    need = 2 + (law.offset is not None and law.offset not in fixed)
    for x in law.inputs:
        levels = len(np.unique(np.round(logs[x], 2)))
        varies = any(e not in fixed for p in law.terms.values() for key, e in p.items() if key == x)
        if varies and levels < need:
            what = {"N": "model size", "D": "token count", "C": "compute budget"}[x]
            plural = "s" if levels > 1 else ""
            found.append(f"{levels} distinct {what}{plural} ({x}); its exponent needs at least {need}")
    return "; ".join(found)


def proportional(logs: dict[str, np.ndarray]) -> str:
    """A sentence when D follows a power of N throughout the table, else empty."""
    if not {"N", "D"} <= set(logs):
        return ""
    n, d = logs["N"] - logs["N"].mean(), logs["D"] - logs["D"].mean()
    slope = float((n @ d) / (n @ n))
    if np.std(d - slope * n) > PROPORTIONAL * np.std(d):
        return ""
    if abs(slope - 1) < 0.02:
        return f"D is proportional to N in this table (D = {np.exp(np.mean(logs['D'] - logs['N'])):.3g} N)"
    return f"D follows N^{slope:.2f} throughout this table"


def rivals(problem: Problem, solution: Solution) -> tuple[list[dict[str, float]], float | None]:
    """Other optima that fit as well at the noise level, and the objective reached from the exchanged optimum
    ((A, alpha) with (B, beta)), if the law has such a pair."""
    law = problem.law
    ends, end_values, exchanged = solution.ends, solution.end_values, None
    pair = split_terms(law)
    if pair and not {pair[1], pair[3]} & set(problem.fixed):
        i, j = law.names.index(pair[1]), law.names.index(pair[3])
        u = solution.u.copy()
        u[i], u[j] = u[j], u[i]
        start = linear_start(problem, u[len(law.terms) :])
        end, value, _ = minimise(problem, start[None])
        ends, end_values = np.vstack([ends, end]), np.append(end_values, value)
        exchanged = float(value[0])
    close = end_values <= solution.value + indifference(problem, solution)
    heads = len(law.terms)
    best = solution.u[heads:]
    if not len(best) or not close.any():
        return [], exchanged
    # a start that stopped early in one flat valley is no second optimum
    ends, _, done = minimise(problem, ends[close])
    far = np.abs(ends[:, heads:] - best).max(1) > SAME * np.abs(best).max()
    found = [law.parameters(problem.shift(u, 1.0)) for u in ends[done & far]]
    return found, exchanged


def offset_free(problem: Problem, solution: Solution) -> bool:
    """Whether the law without its constant fits as well at the noise level (a term with an exponent near 0
    takes its place)."""
    offset = problem.law.offset
    if offset is None or offset in problem.fixed:
        return False
    without = Problem(
        problem.law, problem.logs, problem.log_loss, problem.loss, {**problem.fixed, offset: 0.0}
    )
    return solve(without).value <= solution.value + indifference(problem, solution)


def indifference(problem: Problem, solution: Solution) -> float:
    """The rise of the objective that noise explains: half a chi2(1) at 95 %, times the robust scale^2."""
    r = problem.log_loss - np.logaddexp.reduce(problem.design @ solution.u, axis=0)
    psi = problem.loss.psi(r)
    degrees = max(len(r) - int(problem.free.sum()), 1)
    inside = max(float(np.mean(np.abs(r) <= problem.loss.delta)), 1 / len(r))
    return float(0.5 * stats.chi2.ppf(0.95, 1) * (psi @ psi) / degrees / inside)


def verdicts(
    law: Law,
    point: dict[str, float],
    intervals: dict[str, tuple[float, float]],
    *,
    fixed: dict[str, float],
    ambiguous: tuple[str, frozenset[str]],
    zero: tuple[str, ...],
    smallest_loss: float,
) -> dict[str, Verdict]:
    """One verdict per parameter and derived quantity in ``intervals``."""
    out = {}
    hit = {e for c in zero for e in law.terms[c].values()}
    why, unclear = ambiguous
    for name, (low, high) in intervals.items():
        if name in fixed:
            out[name] = {"verdict": "yes", "reason": f"fixed by you at {fixed[name]:g}"}
        elif name in hit or (zero and name in ("a", "b") and hit):
            out[name] = {"verdict": "no", "reason": "its term vanished: the best fit has coefficient 0"}
        elif name in unclear:
            out[name] = {"verdict": "no", "reason": why}
        elif name in law.exponents and not _inside(point[name], law.domain(name)):
            out[name] = {"verdict": "no", "reason": f"at the edge of its domain {law.domain(name)}"}
        elif name in law.coefficients and name != law.offset:
            out[name] = _coefficient(low, high)
        else:
            ceiling = 0.95 * smallest_loss if name == law.offset else (1.0 if name in ("a", "b") else 1.5)
            out[name] = _bounded(point[name], low, high, ceiling)
    return out


def _inside(value: float, domain: tuple[float, float]) -> bool:
    return domain[0] * (1 + 1e-6) < value < domain[1] * (1 - 1e-6)


def _coefficient(low: float, high: float) -> Verdict:
    if low > 0 and high / low <= DECADE:
        return {"verdict": "yes", "reason": f"interval spans a factor {high / low:.2g}"}
    wide = f"a factor {high / low:.2g}" if low > 0 and high / low < 1e6 else "many powers of ten"
    return {"verdict": "no", "reason": f"interval spans {wide}, more than {DECADE:g}"}


def _bounded(value: float, low: float, high: float, ceiling: float) -> Verdict:
    if value > 0 and low >= (1 - NEAR) * value and high <= (1 + NEAR) * value:
        return {
            "verdict": "yes",
            "reason": f"interval within +-{max(high / value - 1, 1 - low / value):.0%} of it",
        }
    width = f"interval {low:.3g} to {high:.3g} is wider than +-{NEAR:.0%}"
    upper, lower = high <= ceiling, value > 0 and low >= 0.5 * value
    if upper:
        return {"verdict": "one_sided", "reason": width, "bound": {"upper": high}}
    if lower:
        return {"verdict": "one_sided", "reason": width, "bound": {"lower": low}}
    return {"verdict": "no", "reason": width}


def ambiguity(problem: Problem, solution: Solution) -> tuple[str, frozenset[str]]:
    """Why parameters cannot be told apart, and which: D follows N, or another optimum fits as well. Both
    empty if neither."""
    law = problem.law
    others, exchanged = rivals(problem, solution)
    again = ""
    if exchanged is not None and exchanged <= solution.value + indifference(problem, solution):
        again = f"; refitted from the exchanged optimum: objective {exchanged:.6g}, here {solution.value:.6g}"
    sentence = proportional(problem.logs)
    if sentence and len([e for e in law.exponents if e not in problem.fixed]) > 1:
        names = {n for n in (*law.names, "a", "b") if n != law.offset}
        if law.offset is not None and offset_free(problem, solution):
            names.add(law.offset)
        return f"{sentence}, so that its terms can be exchanged{again}", frozenset(names)
    if not others:
        return "", frozenset()
    best = law.parameters(problem.shift(solution.u, 1.0))
    moved = {e for e in law.exponents for o in others if abs(o[e] - best[e]) > SAME * best[e]}
    names = moved | {c for c, powers in law.terms.items() if moved & set(powers.values())} | {"a", "b"}
    offset = law.offset
    if offset is not None and any(abs(o[offset] - best[offset]) > SAME * best[offset] for o in others):
        names.add(offset)
    other = max(others, key=lambda o: max(abs(o[e] - best[e]) for e in law.exponents))
    text = ", ".join(f"{name} = {other[name]:.3g}" for name in (offset, *law.exponents) if name)
    return f"another optimum fits as well at the noise level ({text}){again}", frozenset(names)


def status(law: Law, solution: Solution, identified: dict[str, Verdict], ambiguous: str) -> dict[str, str]:
    """``{code, message, advice}``; the worst finding decides the code."""
    weak = [name for name, v in identified.items() if v["verdict"] != "yes"]
    if solution.zero:
        code = "at_bound"
        message = f"the best fit has {', '.join(f'{c} = 0' for c in solution.zero)}"
        advice = "fit a law without this term, or add runs where it matters"
    elif ambiguous:
        code, message = "several_optima", ambiguous
        advice = "vary D at fixed N (isoFLOP design); predictions inside the data remain valid"
    elif not solution.converged:
        code, message = "not_converged", "the best start stopped before its tolerance"
        advice = "do not quote these parameters; look for rows with a wrong loss or unit"
    elif weak:
        code, message = "partly_identified", f"not determined to the stated width: {', '.join(weak)}"
        advice = (
            "add runs over a wider range, or fix a parameter that you know; predictions keep their interval"
        )
    else:
        code, message, advice = (
            "ok",
            f"all parameters of {law.name} are identified",
            "check the residuals and a back-test",
        )
    return {"code": code, "message": message, "advice": advice}
