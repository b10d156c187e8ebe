"""Which parameters and derived quantities a table determines, and why not the others.

A verdict is ``yes``, ``one_sided`` (only the bound given holds) or ``no``. The stated widths: an exponent or
the offset is identified when its interval lies within +-25 % of it, a coefficient when its interval spans
less than a factor of ten (it is the size of its term at N = 1 or D = 1, far outside any table).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from analysis.fits.allocation import split_terms
from analysis.fits.covariance import indifference, satterthwaite, usable
from analysis.fits.edges import crossings
from analysis.laws.curve import INPUTS
from analysis.laws.law import Law
from analysis.results import Interval, Status, Verdict
from analysis.solve.multistart import Solution, minimise
from analysis.solve.problem import Problem
from analysis.tables.levels import count_levels, levels

NEAR = 0.25  # half-width of an identified exponent or offset, relative
LOOSE = 3.0  # times wider than a claim: what replicates would show if they moved
DECADE = 10.0  # full width of an identified coefficient, as a factor
DOMAIN = 25  # values of a scale, over all of its domain
STEEPNESS = 0.05  # half-width of an identified exponent that may be 0
SURE = 0.99  # level at which an end of a domain is ruled out: no calibrated one
THIN = 2.0  # Satterthwaite degrees of freedom, below which interval widths are unreliable,
LUCK = 0.1  # so that it must be this much narrower than otherwise
NOT_CONVERGED = "the best start stopped before its tolerance"
LONE = 3  # clusters of a group, with fewer of which nothing that it has of its own is known
SEVERAL = 3  # horizons of a size, with which D varies at fixed N
PROPORTIONAL = 0.03  # spread of log D about its line in log N, relative to the spread of log D


@dataclass(frozen=True)
class Ambiguity:
    """Why the parameters ``names`` cannot be told apart; ``proportional``: D follows N in the table."""

    reason: str = ""
    names: frozenset[str] = frozenset()
    proportional: bool = False


Thin = tuple[str, float]  # a reason, and the share of the usual width that is asked for instead


def shortage(problem: Problem) -> str:
    """Why this table can determine nothing of the law; empty when it may."""
    law, rows = problem.law, len(problem.target)
    free = [name for i, name in enumerate(problem.names) if problem.free[i]]
    lacking = []
    if rows <= len(free):
        names = ", ".join(free)
        lacking.append(
            f"{rows} usable runs for {len(free)} free parameters ({names}); needs at least {len(free) + 1}"
        )
    need = 2 + (law.offset is not None and law.offset not in problem.fixed)
    for x in law.inputs:
        v = problem.inputs[x]
        distinct = count_levels(v)
        varies = any(e not in problem.fixed for p in law.terms.values() for key, e in p.items() if key == x)
        if law.terms and varies and distinct < need:
            what = {"N": "model size", "D": "token count", "C": "compute budget"}.get(x, "value")
            plural = "s" if distinct > 1 else ""
            lacking.append(f"{distinct} distinct {what}{plural} ({x}); its exponent needs at least {need}")
        elif not law.terms and distinct < 2 and (law.inputs, x) != (INPUTS, "curve"):  # one has many steps
            lacking.append(f"{x} is {v[0]:g} in every run; the law cannot show what depends on it")
    return "; ".join(lacking)


def proportional(inputs: Mapping[str, np.ndarray]) -> str:
    """A sentence when D follows a power of N throughout the table, else empty."""
    if not {"N", "D"} <= set(inputs):
        return ""
    log_n, log_d = np.log(inputs["N"]), np.log(inputs["D"])
    n, d = log_n - log_n.mean(), log_d - log_d.mean()
    slope = float((n @ d) / max(float(n @ n), 1e-300))
    if np.std(d - slope * n) > PROPORTIONAL * np.std(d):
        return ""
    if abs(slope - 1) < 0.02:
        return f"D is proportional to N in this table (D = {np.exp(np.mean(log_d - log_n)):.3g} N)"
    return f"D follows N^{slope:.2f} throughout this table"


def verdicts(
    problem: Problem,
    solution: Solution,
    point: dict[str, float],
    intervals: Mapping[str, Interval],
    ambiguous: Ambiguity,
    thin: Mapping[str, Thin] = MappingProxyType({}),
) -> dict[str, Verdict]:
    """Judge every parameter and derived quantity that has an interval.

    Args:
        problem: the law on its rows.
        solution: its optimum.
        point: estimates by name.
        intervals: of the quantities to judge, by name.
        ambiguous: which parameters cannot be told apart, and why.
        thin: what few clusters say too little of, as of :func:`thinly`.

    Returns:
        One verdict per name in ``intervals``.
    """
    law, zero, out = problem.law, solution.zero, {}
    base = dict(zip(problem.names, problem.base, strict=True))
    gone = {base[c] for c in zero}
    hit = {e for c in gone for e in law.terms.get(c, {}).values()}
    for name, (low, high) in intervals.items():
        kind = base.get(name, name)
        held = problem.held(problem.names.index(name)) if name in base else None
        if held is not None:
            out[name] = Verdict("yes", f"fixed by you at {held:g}", code="fixed")
        elif kind in hit or (zero and name in ("a", "b") and hit):
            out[name] = Verdict("no", "its term vanished: the best fit has coefficient 0", code="vanished")
        elif {kind, name} & ambiguous.names:
            out[name] = _one_end(problem, solution, name, low, high) or Verdict(
                "no", ambiguous.reason, code="ambiguous"
            )
        elif not solution.converged:
            out[name] = Verdict("no", NOT_CONVERGED, code="not_converged")
        elif name in solution.bound:
            ends = problem.ends(name, kind)
            out[name] = Verdict(
                "no", f"ended at the edge of its domain, {ends[0]:g} to {ends[1]:g}", code="at_edge"
            )
        elif name in base and (held_up := {e for e in law.terms.get(kind, {}).values()} & {*solution.bound}):
            reason = f"its exponent {', '.join(sorted(held_up))} ended at the edge of its domain"
            out[name] = Verdict("no", reason, code="exponent_at_edge")
        elif name in base and law.in_log(kind) and kind != law.offset:
            out[name] = coefficient(low, high)
            if name in thin and (low <= 0 or high / low > DECADE ** thin[name][1]):
                out[name] = Verdict("no", thin[name][0], code="few_clusters")
            elif out[name].verdict == "no":
                out[name] = _one_end(problem, solution, name, low, high) or out[name]
        elif name in thin and max(high - point[name], point[name] - low) > (
            thin[name][1] * NEAR * abs(point[name])
        ):
            out[name] = Verdict("no", thin[name][0], code="few_clusters")
        else:
            smallest = 0.95 * float(problem.target.min())
            most = law.domain(kind)[1] if not law.terms and name in base else 1.5
            ceiling = smallest if kind == law.offset else 1.0 if name in ("a", "b") else 0.95 * most
            out[name] = bounded(point[name], low, high, ceiling, least(law, kind) if name in base else 0.0)
    return out


def least(law: Law, kind: str) -> float:
    """The half-width that is enough for an exponent of a power sum that may be 0."""
    low, high = law.domain(kind)
    if low >= 0 or not np.isfinite(high - low):
        return 0.0
    return STEEPNESS if law.terms else 0.0


def thinly(problem: Problem, solution: Solution, cluster: np.ndarray, by: str) -> dict[str, Thin]:
    """Find what few clusters say too little of.

    That is, quantities whose variance, computed from clusters, has fewer than ``THIN`` degrees of freedom
    (Bell & McCaffrey 2002), and what a group of fewer than ``LONE`` of them has of its own. A coefficient of
    a power sum and a, b follow their exponents.

    Args:
        problem: the law on its rows.
        solution: its optimum.
        cluster: index of each row's cluster (n,).
        by: what clusters are, in words, as ``size``.

    Returns:
        By name, the reason and the share of the usual width that is asked for instead.
    """
    free = np.flatnonzero(usable(problem, solution.u))
    degrees = dict(zip(free.tolist(), satterthwaite(problem, solution.u, cluster).tolist(), strict=True))
    law, number = problem.law, int(cluster.max()) + 1
    out: dict[str, Thin] = {}
    why = f"{_clusters(number, by)} are too few to tell how far it can be trusted"
    few = {i: (why, LUCK) for i, d in degrees.items() if d < THIN}
    for g, row in enumerate(problem.position):
        place = dict(zip(law.names, row.tolist(), strict=True))
        for i in row.tolist():
            on = [i, *(place[e] for e in law.terms.get(problem.base[i], {}).values())]
            for k in (k for k in on if k in few):
                out[problem.names[i]] = few[k]
            own = problem.group is not None and problem.base[i] in problem.own
            if own and (count := len(np.unique(cluster[problem.group == g]))) < LONE:
                clusters = _clusters(count, by)
                lone = f"{problem.labels[g]} has {clusters}, too few to tell how far it can be trusted"
                out[problem.names[i]] = (lone, 0.0)
    pair = split_terms(law)
    weak = [few[i] for e in (pair[1], pair[3]) for i in few if problem.base[i] == e] if pair else []
    return out | (dict.fromkeys("ab", weak[0]) if weak else {})


def _clusters(count: int, by: str) -> str:
    """``5 sizes``; of anything but sizes, trunks and runs, ``5 clusters by seed and size``."""
    single = {"size": "size", "trunk": "trunk", "run": "run"}.get(by, "cluster")
    return f"{count} {single}{'s' * (count != 1)}" + ("" if single == by else f" by {by}")


def coefficient(low: float, high: float) -> Verdict:
    """Of a coefficient with the interval ``low, high``."""
    if low > 0 and high / low <= DECADE:
        return Verdict("yes", f"interval spans a factor {high / low:.2g}")
    wide = f"a factor {high / low:.2g}" if low > 0 and high / low < 1e6 else "a factor above 1e6"
    return Verdict("no", f"interval spans {wide}, more than {DECADE:g}", code="wide")


def _one_end(problem: Problem, solution: Solution, name: str, low: float, high: float) -> Verdict | None:
    """The bound of a scale (searched in its logarithm, not linear) that might as well lie at one end of its
    domain, by a profile over all of it; None where it may lie at neither end, or at both."""
    at = problem.names.index(name) if name in problem.names else 0
    if name not in problem.names or not problem.in_log[at] or problem.base[at] in problem.law.linear:
        return None
    starts = np.repeat(solution.u[None], DOMAIN, 0)
    starts[:, at] = np.linspace(problem.box[0][at], problem.box[1][at], DOMAIN)
    held = replace(problem, fixed={**problem.fixed, name: 1.0})  # where each start has it
    rise = minimise(held, starts)[1] - solution.value
    first, last, _ = crossings(starts[:, at], rise - indifference(problem, solution, SURE))
    if first is None and last is not None:
        end, bound = 0, {"upper": max(high, float(np.exp(last)))}
    elif last is None and first is not None:
        end, bound = -1, {"lower": min(low, float(np.exp(first)))}
    else:
        return None
    reason = f"the fit is as good with it at {np.exp(starts[end, at]):.3g}, the end of its domain"
    return Verdict("one_sided", reason, bound, "one_end")


def bounded(value: float, low: float, high: float, ceiling: float, width: float = 0.0) -> Verdict:
    """Judge an exponent or offset by its interval.

    Args:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
        ceiling: what it is at most by nature: an upper end below that is a bound.
        width: a half-width always allowed.
    """
    reach = max(NEAR * abs(value), width)
    if reach > 0 and low >= value - reach and high <= value + reach:
        share = max(high - value, value - low) / abs(value) if value else 0.0
        return Verdict("yes", f"interval within +-{share:.0%} of it")
    wide = f"interval {low:.3g} to {high:.3g} is wider than +-{NEAR:.0%}"
    if high <= ceiling:
        return Verdict("one_sided", wide, {"upper": high}, "wide")
    if value > 0 and low >= 0.5 * value:
        return Verdict("one_sided", wide, {"lower": low}, "wide")
    return Verdict("no", wide, code="wide")


def crossed(inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether most sizes N were trained for several D: more horizons of the same sizes would add little."""
    size = levels(inputs["N"])
    horizons = [count_levels(inputs["D"][size == k]) for k in np.unique(size)]
    return bool(np.median(horizons) >= SEVERAL)


def status(
    problem: Problem, solution: Solution, identified: dict[str, Verdict], ambiguous: Ambiguity
) -> Status:
    """Sum up a fit: the worst finding decides the code.

    Args:
        problem: the law on its rows.
        solution: its optimum.
        identified: verdict per parameter and derived quantity.
        ambiguous: which parameters cannot be told apart, and why.
    """
    law, weak = problem.law, [name for name, v in identified.items() if v.verdict != "yes"]
    if not solution.converged:
        code, message = "not_converged", NOT_CONVERGED
        advice = "do not quote these parameters; look for rows with a wrong loss or unit"
    elif ambiguous.reason and (ambiguous.proportional or not solution.zero):
        code, message = "several_optima", ambiguous.reason
        advice = "vary D at fixed N (isoFLOP design)"
        if not {"N", "D"} <= set(law.inputs) or (not ambiguous.proportional and crossed(problem.inputs)):
            advice = f"widen the range of {', '.join(law.inputs)}, or hold a parameter that you know"
        advice += "; predictions inside the data remain valid"
    elif solution.zero or solution.bound:
        at = [f"{c} = 0" for c in solution.zero] + [
            f"{name} at the edge of its domain" for name in solution.bound
        ]
        code, message = "at_bound", f"the best fit has {', '.join(at)}"
        ways = ["fit a law without this term"] * bool(solution.zero)
        ways += ["widen the domain (bounds)"] * bool(solution.bound)
        advice = f"{', '.join(ways)}, or add runs where it matters"
    elif weak:
        none = all(v.verdict == "no" for v in identified.values() if v.code != "fixed")
        code, which = ("none_identified", "none is") if none else ("partly_identified", "not")
        message = f"{which} determined to the stated width: {', '.join(weak)}"
        advice = (
            "add runs over a wider range, or fix a parameter that you know; predictions keep their interval"
        )
    else:
        code, message = "ok", f"all parameters of {law.name} are identified"
        advice = "check the residuals and a back-test"
    return Status(code, message, advice)
