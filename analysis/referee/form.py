"""Tests of the law and its optimum: what is determined, edges, other laws and approaches, a back-test."""

from __future__ import annotations

import numpy as np

from analysis.comparison import Comparison
from analysis.errors import plural
from analysis.fits.summary import number
from analysis.forecasting import backtest
from analysis.optimal_size.estimators import estimate
from analysis.referee.outcome import Outcome, judged, unseen
from analysis.referee.subject import Subject, Test
from analysis.results import Interval

EDGES = ("at_edge", "exponent_at_edge", "vanished")  # codes of verdicts
RATIO = "rms error of the better law over that of this one"
REPLICATES = 200
LEAST = 3  # runs at the largest budget, from which a back-test is judged
OFF = 2.0  # residual scales that its error may be
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
    better = []
    for compared in subject.compared:
        if subject.law.name not in compared.as_good:
            rms = dict(zip(compared.frame["law"], compared.frame[compared.ranked].astype(float), strict=True))
            better.append((rms[compared.best] / rms[subject.law.name], compared))
    names = ", ".join(_other(subject, compared) for compared in subject.compared)
    if not better:
        return judged(False, f"none of {names} is better on runs held out, beyond chance", measure=RATIO)
    ratio, best = min(better, key=lambda pair: pair[0])
    where = "the runs of largest compute, held out," if best.ranked == "far" else "sizes left out in turn"
    return judged(
        True,
        f"{best.best} errs {ratio:.2f}x as much on {where} and that is no chance (of {names})",
        "take the law that predicts better, or show the forecasts of both (scaling compare)",
        value=ratio,
        measure=RATIO,
    )


def _forecasts(subject: Subject) -> Outcome:
    said = {}
    for compared in subject.compared:
        other = _other(subject, compared)
        if other in compared.as_good:
            loss = float(compared.fits[other].predict(subject.ahead).frame["loss"].iloc[0])
            said[other] = subject.shift({subject.forecast: loss}, subject.forecast)
    if not said:
        return judged(False, "no other law is as good on held-out runs: none has a say")
    name = max(said, key=lambda other: said[other].size)
    return judged(
        said[name].size > 1,
        f"by {name}, as good on held-out runs: {said[name].text}",
        "these runs cannot tell the laws apart, and their forecasts differ: quote the spread over laws as "
        "part of the error, or train the run that tells them apart",
        value=said[name].size,
        measure="distance of the forecast over that to the end of the interval",
    )


def _other(subject: Subject, compared: Comparison) -> str:
    return next(name for name in compared.fits if name != subject.law.name)


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
    tested = backtest.of(subject.fitted, subject.table)
    if not tested.usable or tested.bias is None or tested.inside is None:
        return unseen(f"nothing to predict from smaller budgets: {tested.message}", "add budgets")
    held = np.array([run["inside"] for run in tested.runs])
    message = (
        f"fitted to {plural(tested.n_train, 'run')} below {tested.budget:.3g} FLOPs, the law is off by "
        f"{tested.bias:+.2%} there ({tested.extrapolation:.3g}x beyond), {int(held.sum())} of {len(held)} "
        "runs within their interval"
    )
    if len(held) < LEAST:
        return unseen(f"{message}: too few to judge by", "train several sizes at the largest budget")
    return judged(
        tested.inside < HALF or abs(tested.bias) > OFF * _relative(subject),
        message,
        "forecasts will err by at least as much further out: widen their intervals by it (scaling report and "
        "frozen forecasts do), and find out which runs pull",
        value=tested.bias,
        measure="mean relative error at the largest budget",
    )


def _relative(subject: Subject) -> float:
    """The residual scale, as a share of the loss."""
    fitted = subject.fit
    raw = fitted.setup.space == "raw"
    return fitted.noise.sd / float(np.median(np.abs(fitted.data["L"]))) if raw else fitted.noise.sd


TESTS = {
    "parameters": Test("what the table determines", _parameters),
    "edges": Test("fits that hinge on a bound", _edges),
    "starts": Test("one optimum", _starts),
    "laws": Test("other laws on held-out runs", _laws),
    "forecasts": Test("forecasts of other laws", _forecasts),
    "approaches": Test("approaches against each other", _approaches),
    "backtest": Test("back-test", _backtest),
}
