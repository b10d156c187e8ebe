"""Tests of whether the claims hold when rows, weights, objective or convention change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.errors import AnalysisError, Argument, plural
from analysis.fits.covariance import linear, usable
from analysis.fits.fitting import fit
from analysis.referee.outcome import Outcome, judged, unseen
from analysis.referee.subject import STILL, Shift, Subject, Test, influence
from analysis.tables.levels import levels
from analysis.tables.runs import CONVENTIONS

MOST = 100  # rows that are left out in turn; of more those of largest influence
LEAST_SIZES = 4  # that are left when the smallest are dropped
DROPPED = 1 / 3  # of the sizes, dropped at most
POWER = 0.5  # of compute, by which the largest runs are weighed up
OUTSIDE = "distance moved over that to the end of the interval"
FEW_STARTS = 2


def _worst(shifts: Sequence[Shift]) -> tuple[int, Shift]:
    worst = max(range(len(shifts)), key=lambda i: min(shifts[i].size, shifts[i].beyond))
    return worst, shifts[worst]


def _single_runs(subject: Subject) -> Outcome:
    problem = subject.fit.problem
    u = subject.fit.solved.u
    which = np.arange(len(problem.y))
    if len(which) > MOST:
        bread = linear(problem, u)[3]
        step = influence(problem, u, which)[:, usable(problem, u)]
        distance = np.einsum("np,pq,nq->n", step, np.linalg.pinv(bread, hermitian=True), step)  # Cook's
        which = np.argsort(-distance)[:MOST]
    rows = np.arange(len(problem.y))[None] == which[:, None]
    i, shift = _worst(subject.without(rows, FEW_STARTS))
    row = subject.fit.data["label"][int(which[i])]
    return judged(
        shift.size > 1,
        f"without run {row} alone: {shift.text}",
        f"one run of {len(problem.y)} decides: look at it (diverged, mislabelled, another recipe?), repeat "
        "it with another seed, or report the fit with and without it",
        value=shift.size,
        measure=OUTSIDE,
    )


def _levels(subject: Subject) -> tuple[str, np.ndarray]:
    """Which size each row has (n,), from the least on; of a law without N which value of its first input."""
    name = "N" if "N" in subject.frame.columns else subject.law.inputs[0]
    return name, levels(subject.frame[name].to_numpy(float))


def _sizes(subject: Subject) -> Outcome:
    name, level = _levels(subject)
    kinds = np.unique(level)
    if len(kinds) < LEAST_SIZES:
        return unseen(f"{len(kinds)} values of {name}: none can be left out", "train more sizes")
    chosen = kinds
    if len(kinds) > MOST:
        chosen = kinds[np.linspace(0, len(kinds) - 1, MOST).astype(int)]
    i, shift = _worst(subject.without(level[None] == chosen[:, None]))
    at = float(np.median(subject.frame[name].to_numpy(float)[level == chosen[i]]))
    return judged(
        shift.size > 1,
        f"without {name} = {at:.3g}, {plural(int((level == chosen[i]).sum()), 'run')}: {shift.text}",
        "the law hangs on one size: check how it was trained (learning rate, warm-up, batch), and report the "
        "fit without it",
        value=shift.size,
        measure=OUTSIDE,
    )


def _smallest(subject: Subject) -> Outcome:
    name, level = _levels(subject)
    kinds = np.unique(level)
    most = min(int(DROPPED * len(kinds)), len(kinds) - LEAST_SIZES)
    if most < 1:
        return unseen(f"{len(kinds)} values of {name}: too few to drop the smallest", "train more sizes")
    counts = np.unique(np.linspace(1, most, min(most, 10)).astype(int))
    enough = len(subject.fit.solution) + 2  # rows left to fit
    sets = np.array([level <= kinds[n - 1] for n in counts])
    sets = sets[(~sets).sum(1) >= enough]
    if not len(sets):
        return unseen("too few runs are left without the smallest sizes", "train more runs of larger sizes")
    problem = subject.fit.problem
    weights = np.where(sets, 0.0, problem.w)
    ends = subject.weighed(weights, len(sets))
    others = [(replace(problem, weights=w), u) for w, u in zip(weights, ends, strict=True)]
    i, shift = _worst([subject.against(*other, len(others)) for other in others])
    return judged(
        shift.matters,
        f"without the {counts[i]} smallest of {len(kinds)} values of {name}: {shift.text}",
        "small runs follow another law, or are trained worse: fit without them (a filter), and report both",
        value=shift.size,
        measure=OUTSIDE,
    )


def _weights(subject: Subject) -> Outcome:
    ratio = subject.flops / subject.largest
    problem = subject.fit.problem
    weights = problem.w * ratio**POWER
    weights = weights / weights.mean()
    shift = subject.against(replace(problem, weights=weights), subject.weighed(weights[None])[0])
    return judged(
        shift.matters,
        f"with weights C^{POWER:g}: {shift.text}",
        "the small runs outvote the large ones, so that the law does not hold over the whole range: forecast "
        "from the fit that weighs large runs up, and report both",
        value=shift.size,
        measure=OUTSIDE,
    )


def _objectives(subject: Subject) -> Outcome:
    fitted = subject.fit
    if not fitted.others:
        return judged(False, "no parameter leaves its interval under Huber, least squares of log L, or of L")
    problem = fitted.problem
    at = [problem.shift(problem.coordinates(other.params), 1.0) for other in fitted.others]
    i, shift = _worst([subject.shift(values) for values in subject.of(np.array(at))])
    return judged(
        shift.matters,
        f"under {fitted.others[i].kind}: {shift.text}",
        "the errors are not what one objective supposes: look for outliers, and report the spread over "
        "objectives with the interval",
        value=shift.size,
        measure=OUTSIDE,
    )


def _conventions(subject: Subject) -> Outcome:
    if not {"N", "C"} & set(subject.law.inputs):
        return unseen("the law has neither N nor C")
    used = subject.asked.convention
    shifts: list[tuple[Shift, str]] = []
    for name in _others(subject, used):
        try:
            other = fit(subject.law, subject.table, **_with(subject.options, name))
        except AnalysisError:  # its columns are empty
            continue
        values = {n: v for n, (v, _) in other.estimates().items() if n in ("a", "b", *_exponents(subject))}
        shifts += [(subject.shift(values), name)] if values else []
    if not shifts:
        return unseen(
            f"only convention {used!r} can be had: no other count of parameters or FLOPs",
            "add columns params_body (without embedding and head) and flops",
        )
    shift, name = max(shifts, key=lambda pair: pair[0].size)
    if shift is STILL:
        return unseen("no exponent is identified that a convention could move")
    return judged(
        shift.size > 1,
        f"under convention {name}: {shift.text}",
        ("say which N and C are meant, and quote both: ", Argument("convention", name)),
        value=shift.size,
        measure=OUTSIDE,
    )


def _others(subject: Subject, used: str) -> list[str]:
    """Conventions whose counts are in the table and differ from those used."""
    frame, mine = subject.frame, CONVENTIONS[used]
    out = []
    for name, (size, per_token, _) in CONVENTIONS.items():
        known = {size, mine[0], "flops" if per_token is None else "D"} <= set(frame.columns)
        if name == used or not known:
            continue
        sizes = frame[size].to_numpy(float) / frame[mine[0]].to_numpy(float)
        cost = frame["C"].to_numpy(float) if "C" in frame.columns else np.ones(len(frame))
        other = frame["flops"].to_numpy(float) if per_token is None else (
            per_token * frame[size].to_numpy(float) * frame["D"].to_numpy(float))  # fmt: skip
        if np.ptp(sizes) > 1e-6 or np.ptp(np.log(other / cost)) > 1e-6:
            out.append(name)
    return out


def _exponents(subject: Subject) -> tuple[str, ...]:
    return tuple(subject.law.exponents)


def _with(options: Any, convention: str) -> dict[str, Any]:
    """The options of a fit in another convention, without replicates; ``a`` needs the cost counted anew."""
    kept = {name: value for name, value in options.items() if name not in ("cost", "method", "bootstrap")}
    return {**kept, "convention": convention, "bootstrap": 0}


TESTS = {
    "runs": Test("leverage of single runs", _single_runs),
    "sizes": Test("leverage of single sizes", _sizes),
    "smallest": Test("smallest sizes dropped", _smallest),
    "weights": Test("large runs weighed up", _weights),
    "objectives": Test("other objectives", _objectives),
    "conventions": Test("other counts of N and C", _conventions),
}
