"""What a design is expected to identify: intervals and verdicts of a law, before a run is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.fits import allocation
from analysis.fits.allocation import best_exponents, cost_of
from analysis.fits.identification import bounded, coefficient, least, proportional
from analysis.fits.intervals import NORMAL
from analysis.fits.prediction import INSIDE
from analysis.planning.ahead import outlook_of_loss
from analysis.planning.estimates import CEILING
from analysis.planning.expectation import LEVEL, SPANS, Expectation, Expected
from analysis.planning.information import Information, Quantity
from analysis.planning.prior import Prior
from analysis.planning.repetition import repetition_of
from analysis.planning.target import Target, optimum_of
from analysis.results import Verdict

HOPELESS = "no"


def expect(
    prior: Prior,
    runs: pd.DataFrame,
    targets: Sequence[Target] = (),
    *,
    convention: str = "total",
    level: float = LEVEL,
) -> Expected:
    """Say what a fit to ``runs`` is expected to identify.

    Args:
        prior: the law with its values and noise.
        runs: the runs, as :meth:`Information.of` takes them.
        targets: where the law will be asked; the first counts as the target.
        convention: which N and C.
        level: of the intervals, between 0 and 1.

    Raises:
        AnalysisError: the runs or the targets lack a column, or the prior says nothing there.
    """
    found = _expect(prior, runs, targets, convention, level)
    others = [_expect(other, runs, targets, convention, level) for other in prior.others()]
    return found.across(others) if others else found


def _expect(
    prior: Prior, runs: pd.DataFrame, targets: Sequence[Target], convention: str, level: float
) -> Expected:
    """What is expected at the values of a prior."""
    seen = Information.of(prior, runs, convention=convention)
    found = [*_parameters(seen, level)]
    price = _cost(seen, convention)
    if price is not None:
        found += _exponents(seen, price, level)
    for target in targets:
        found += _at(seen, price, target, level)
    first = targets[0] if targets else None
    ahead = None
    if first is not None and not seen.shortage:
        at = _place(first, {one.name: one.value for one in found}, price)
        known = {"C", *prior.law.inputs} <= set(at) and bool(np.isfinite(list(at.values())).all())
        if known and "C" in seen.frame.columns:
            ahead = outlook_of_loss(seen, first.label, at, level=level).now
    return Expected(
        prior, len(seen.frame), seen.clusters, seen.by, tuple(found), _hopeless(seen, found),
        seen.condition, seen.confounded, first, _extrapolation(seen, first, price), level, ahead,
        repetition=repetition_of(seen),
    )  # fmt: skip


def _place(target: Target, values: dict[str, float], price: Any) -> dict[str, float]:
    """N, D, C and other inputs at a target, as far as they are known."""
    best = {x: values[name] for x in "ND" if (name := f"{x}*({target.label})") in values and target.alone}
    at = {**target.inputs, **best}
    if "C" not in at and price is not None and {"N", "D"} <= set(at):
        at["C"] = float(price.flops(at["N"], at["D"]))
    return at


def _cost(seen: Information, convention: str) -> Any:
    if not allocation.allocation(seen.problem, seen.frame):
        return None
    return cost_of(seen.frame, convention)[0]


def _made(
    seen: Information, names: Sequence[str], quantity: Quantity, *,
    log: Sequence[bool], judge: Callable[[int, float, float, float], Verdict], level: float,
) -> list[Expectation]:  # fmt: skip
    """Expectations of a function of plain coordinates (R, P) -> (R, Q), in logs where ``log`` says so."""
    values = seen.value(quantity)
    half = spread = np.full(len(values), np.inf)
    if not seen.shortage:
        slopes = seen.slopes(quantity)
        half, spread = seen.estimates.half_width(slopes, level), seen.estimates.spread(slopes) * NORMAL
    out = []
    for i, name in enumerate(names):
        reach = min(float(half[i]), CEILING) if np.isfinite(half[i]) else CEILING
        low, high = float(values[i]) - reach, float(values[i]) + reach
        value = float(values[i])
        if log[i]:
            value, low, high = (float(np.exp(np.clip(x, -700.0, 700.0))) for x in (value, low, high))
        known = seen.shortage == "" and bool(np.isfinite(half[i]))
        verdict = judge(i, value, low, high) if known else Verdict("no", seen.shortage, code="shortage")
        out.append(Expectation(name, value, low, high, reach, float(spread[i]), bool(log[i]), verdict))
    return out


def _parameters(seen: Information, level: float) -> list[Expectation]:
    problem, law = seen.problem, seen.prior.law
    smallest = 0.95 * float(problem.target.min())

    def judge(i: int, value: float, low: float, high: float) -> Verdict:
        name = problem.names[i]
        if law.in_log(name) and name != law.offset:
            return coefficient(low, high)
        most = law.domain(name)[1] if not law.terms else 1.5
        ceiling = smallest if name == law.offset else 0.95 * most
        return bounded(value, low, high, ceiling, least(law, name))

    log = [bool(flag) for flag in problem.in_log]
    return _made(seen, problem.names, lambda u: u, log=log, judge=judge, level=level)


def _exponents(seen: Information, price: Any, level: float) -> list[Expectation]:
    most = float(seen.frame["C"].to_numpy(float).max())

    def quantity(u: np.ndarray) -> np.ndarray:
        return np.stack(best_exponents(seen.problem, u, price, most)[:2], axis=1)

    def judge(i: int, value: float, low: float, high: float) -> Verdict:
        return bounded(value, low, high, 1.0)

    return _made(seen, ("a", "b"), quantity, log=(False, False), judge=judge, level=level)


def _at(seen: Information, price: Any, target: Target, level: float) -> list[Expectation]:
    """N*, D* and the loss at a target."""
    law, where = seen.prior.law, target.inputs

    def judge(i: int, value: float, low: float, high: float) -> Verdict:
        wide, most = float(np.log(high) - np.log(max(low, 1e-300))), SPANS[names[i][0]]
        spans = f"interval spans a factor {np.exp(wide):.3g}" if wide < 30 else "interval spans all values"
        found = wide <= np.log(most)
        return Verdict("yes", spans) if found else Verdict("no", f"{spans}, more than {most:g}", code="wide")

    if target.alone and price is not None and set(law.inputs) == {"N", "D"}:
        optimum = optimum_of(seen.problem, price, where["C"])
        names = [f"{x}({target.label})" for x in ("N*", "D*", "loss")]
        return _made(seen, names, optimum, log=(True,) * 3, judge=judge, level=level)
    at = {x: np.array([target.input(law, x)]) for x in law.inputs}

    def loss(u: np.ndarray) -> np.ndarray:
        return np.log(allocation.values(seen.problem, u, at))

    names = [f"loss({target.label})"]
    return _made(seen, names, loss, log=(True,), judge=judge, level=level)


def _extrapolation(seen: Information, target: Target | None, price: Any) -> float:
    """Of compute, as a factor; 1 within, nan where it is not known."""
    if target is None or "C" not in seen.frame.columns:
        return float("nan")
    c = target.inputs.get("C")
    if c is None and price is not None and {"N", "D"} <= set(target.inputs):
        c = float(price.flops(target.inputs["N"], target.inputs["D"]))
    if c is None:
        return float("nan")
    far = c / float(seen.frame["C"].to_numpy(float).max())
    return far if far > INSIDE else 1.0


def _hopeless(seen: Information, found: Sequence[Expectation]) -> str:
    """Why the law cannot be told from this design; empty where it may."""
    if seen.shortage:
        return seen.shortage
    lost = [one.name for one in found if one.verdict.verdict == HOPELESS and one.name in seen.problem.names]
    ray = proportional(seen.problem.inputs)
    if not lost or not (ray or len(lost) > len(seen.problem.names) // 2):
        return ""
    parts = [ray] if ray else []
    pair = allocation.split_terms(seen.prior.law)
    if ray and pair:
        alpha, beta = (seen.prior.params[pair[i]] for i in (1, 3))
        parts.append(
            f"terms in N and in D then differ by {pair[1]} - {pair[3]} = {alpha - beta:.2g} alone, and "
            "errors grow as its inverse (arXiv:2605.08541)"
        )
    parts.append(f"{', '.join(lost)} would not be identified")
    return "; ".join(parts)
