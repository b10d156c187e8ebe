"""Tests of the law and its optimum: what is determined, edges, other laws and approaches, a back-test."""

from __future__ import annotations

import numpy as np

from analysis.comparison import Comparison, compare
from analysis.errors import AnalysisError
from analysis.fits.summary import number
from analysis.forecasting import backtest
from analysis.laws.law import Law
from analysis.laws.shipped import LAWS
from analysis.optimal_size.estimators import estimate
from analysis.referee.outcome import Outcome, judged, unseen
from analysis.referee.subject import Subject, Test
from analysis.results import Interval

EDGES = ("at_edge", "exponent_at_edge", "vanished")  # codes of verdicts
QUICK = ("kaplan",)  # rivals beside the sums of powers
REPLICATES = 200
LEAST = 3  # runs at the largest budget, from which a back-test is judged
HALF = 0.5  # of the runs at the largest budget, that a back-test must hold in its intervals
ALIKE = (
    "convention",
    "roles",
    "where",
    "cells",
    "level",
    "cluster",
    "seed",
)  # options of fits and estimators


def _parameters(subject: Subject) -> Outcome:
    fitted = subject.fitted
    verdicts = {n: v for n, v in fitted.identified.items() if v.code != "fixed"}
    weak = [n for n, v in verdicts.items() if v.verdict == "no"]
    one = [n for n, v in verdicts.items() if v.verdict == "one_sided"]
    known = len(verdicts) - len(weak) - len(one)
    message = f"{known} of {len(verdicts)} identified"
    message += f"; only bounded: {', '.join(one)}" if one else ""
    message += f"; not determined: {', '.join(weak)}" if weak else ""
    if not fitted.usable:
        message = fitted.status.message
    return judged(
        bool(weak),
        message,
        f"do not quote {', '.join(weak)}; {fitted.status.advice}",
        value=known / max(len(verdicts), 1),
        measure="share of parameters, a and b that are identified",
    )


def _edges(subject: Subject) -> Outcome:
    fitted = subject.fit
    at = [n for n, v in fitted.identified.items() if v.code in EDGES]
    ends = {**dict.fromkeys(n for n, v in fitted.solution.items() if v == 0 and n not in fitted.fixed)}
    names = list(dict.fromkeys([*ends, *at]))
    return judged(
        bool(names),
        f"the best fit lies on the edge of a domain or has no such term: {', '.join(names)}"
        if names
        else "no parameter lies at a bound of its domain",
        "what the others are rests on that bound: fit a law without the term, widen the bounds to see what "
        "moves, or add runs where the term matters",
        value=float(len(names)),
        measure="parameters at a bound",
    )


def _starts(subject: Subject) -> Outcome:
    fitted = subject.fit
    code, starts = fitted.status.code, fitted.starts
    wrong = code in ("not_converged", "several_optima") or starts.agree < min(2, starts.n)
    reason = f"; {fitted.status.message}" if code in ("not_converged", "several_optima") else ""
    return judged(
        wrong,
        f"{starts.agree} of {starts.n} starts end in the optimum{reason}",
        "another optimum may fit as well: hold a parameter that is known, narrow bounds, or fit a law of "
        "fewer parameters; and report how many starts agree",
        value=starts.agree / max(starts.n, 1),
        measure="share of starts that agree",
    )


def _laws(subject: Subject) -> Outcome:
    rivals, found, lost = _rivals(subject.law), [], []
    for rival in rivals:
        try:
            found.append(_against(subject, rival))
        except AnalysisError as error:
            lost.append(f"{rival.name}: {error}")
    if not found:
        reason = "; ".join(lost) or f"no other law of {', '.join(subject.law.inputs)} is shipped"
        return unseen(reason, "compare it with a law of yours: scaling compare")
    better = [c for c, _ in found if subject.law.name not in c.as_good]
    worst, size = max(found, key=lambda pair: pair[1])
    names = ", ".join(rival.name for rival in rivals)
    ratios = [c.frame.set_index("law")["far" if c.ranked == "far" else "near"] for c in better]
    if better:
        ahead = "; ".join(
            f"{c.best} has {r[c.best] / r[subject.law.name]:.2f}x the rms error of {subject.law.name}"
            for c, r in zip(better, ratios, strict=True)
        )
        where = "the end held out" if better[0].ranked == "far" else "sizes left out"
        message, value = (
            f"on {where} {ahead}",
            float(min(r[c.best] / r[subject.law.name] for c, r in zip(better, ratios, strict=True))),
        )
        return judged(
            True,
            message,
            "prefer that law, or show both forecasts",
            value=value,
            measure="rms error over that of the law",
        )
    other = next(law for law in worst.fits if law != subject.law.name)
    loss = float(worst.fits[other].predict(subject.ahead).frame["loss"].iloc[0])
    return judged(
        size > 1,
        f"none of {names} is better on held-out runs; for {subject.forecast} {other} says {loss:.4g} against "
        f"{subject.claims[subject.forecast][0]:.4g}, {size:.2g} of its interval",
        "laws that the runs cannot tell apart forecast differently: quote the spread over laws as part of "
        "the error, or train the run that tells them apart (scaling compare)",
        value=size,
        measure="distance of another law's forecast over that to the end of the interval",
    )


def _against(subject: Subject, rival: Law) -> tuple[Comparison, float]:
    """The comparison with a rival, and how far its forecast lies from the law's, if it is as good."""
    options = {
        "bootstrap": 0,
        **{k: v for k, v in subject.options.items() if k not in ("bootstrap", "method")},
    }
    compared = compare([subject.law, rival], subject.table, **options)
    if rival.name not in compared.as_good:
        return compared, 0.0
    loss = float(compared.fits[rival.name].predict(subject.ahead).frame["loss"].iloc[0])
    return compared, subject.shift({subject.forecast: loss}).size


def _rivals(law: Law) -> list[Law]:
    """Laws of the same inputs that are fitted in no time; else sums of powers of some of them."""
    quick = [one for one in LAWS.values() if one.name != law.name and (one.terms or one.name in QUICK)]
    same = [one for one in quick if set(one.inputs) == set(law.inputs)]
    return same or [one for one in quick if len(one.inputs) > 1 and set(one.inputs) < set(law.inputs)]


def _approaches(subject: Subject) -> Outcome:
    if subject.fit.optimum is None:
        return unseen(f"law {subject.law.name!r} allots no compute", "fit one in N and D")
    if subject.asked.target != "loss":
        return unseen(f"isoFLOP curves are of the loss, not of {subject.asked.target!r}")
    options = {name: value for name, value in subject.options.items() if name in ALIKE}
    other = estimate("parabola", subject.table, bootstrap=REPLICATES, **options)
    if not other.usable or other.identified["a"].verdict != "yes":
        reason = other.identified["a"].reason if other.usable else other.status.message
        return unseen(
            f"no exponent from isoFLOP parabolas: {reason}",
            "train 5 sizes or more at each of several budgets",
        )
    mine, theirs = subject.fit.estimates()["a"], other.estimates()["a"]
    return judged(
        _apart(mine[1], theirs[1]),
        f"a = {_shown(*mine)} by the law, {_shown(*theirs)} by isoFLOP parabolas",
        "the approaches of Hoffmann et al. contradict each other, as theirs did: one of law, parabolas or "
        "optimum is wrong; look at isoFLOP curves with the law drawn in (scaling plot)",
        value=theirs[0] - mine[0],
        measure="a by isoFLOP parabolas minus a by the law",
    )


def _apart(one: Interval, two: Interval) -> bool:
    return bool(one.high < two.low or two.high < one.low)


def _shown(value: float, ends: Interval) -> str:
    return f"{number(value)} [{number(ends.low)}, {number(ends.high)}]"


def _backtest(subject: Subject) -> Outcome:
    if "C" not in subject.frame.columns:
        return unseen("the compute of the runs is not known, so there is no largest budget to predict")
    tested = backtest.run(subject.law, subject.table, **subject.options)
    if not tested.usable or tested.bias is None or tested.inside is None:
        return unseen(f"nothing to predict from smaller budgets: {tested.message}", "add budgets")
    held = np.array([run["inside"] for run in tested.runs])
    message = (
        f"fitted to {tested.n_train} runs below {tested.budget:.3g} FLOPs, the law is off by "
        f"{tested.bias:+.2%} there ({tested.extrapolation:.3g}x beyond), {int(held.sum())} of {len(held)} "
        "runs within their interval"
    )
    if len(held) < LEAST:
        return unseen(f"{message}: too few to judge by", "train several sizes at the largest budget")
    return judged(
        tested.inside < HALF,
        message,
        "forecasts will err by at least as much further out: widen their intervals by it (scaling report and "
        "frozen forecasts do), and find out which runs pull",
        value=tested.bias,
        measure="mean relative error at the largest budget",
    )


TESTS = {
    "parameters": Test("what the table determines", _parameters),
    "edges": Test("fits that hinge on a bound", _edges),
    "starts": Test("one optimum", _starts),
    "laws": Test("other laws", _laws),
    "approaches": Test("approaches against each other", _approaches),
    "backtest": Test("back-test", _backtest),
}
