"""What a design is expected to identify: intervals and verdicts of a law, before a run is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.fits import allocation
from analysis.fits.allocation import best_exponents, cost_of
from analysis.fits.identification import bounded, coefficient, least, proportional
from analysis.fits.intervals import NORMAL
from analysis.fits.prediction import INSIDE
from analysis.planning.ahead import Ahead, law_alone, outlook_of_loss
from analysis.planning.estimates import CEILING
from analysis.planning.information import Information, Quantity
from analysis.planning.prior import Prior
from analysis.planning.target import Target, optimum_of, size_name
from analysis.results import Interval, Part, Verdict

LEVEL = 0.9
SPANS = {"N": 10.0, "D": 10.0, "l": 1.1}  # full widths, as factors, of N*, D* and a loss that can be claimed
HOPELESS = "no"
NEARLY = 0.95  # of values within a prior


@dataclass(frozen=True)
class Expectation(Part):
    """Of one quantity: its ``value`` at the prior, the interval ``low, high`` that a fit is expected to
    report, the ``spread`` of estimates over repeated studies (half of 90 %; ``log``: of the logarithm), and
    the verdict that such an interval has. ``widths``: of the half-width over the ranges of the prior; None
    where it has none."""

    name: str
    value: float
    low: float
    high: float
    half_width: float
    spread: float
    log: bool
    verdict: Verdict
    widths: Interval | None = None

    def across(self, others: Sequence[Expectation]) -> Expectation:
        """This one with what is expected at ``others`` of a prior's values: identified where it is at nearly
        all."""
        if not others:
            return self
        share = sum(one.verdict.verdict == "yes" for one in others) / len(others)
        verdict = self.verdict
        if verdict.verdict == "yes" and share < NEARLY:
            verdict = Verdict("no", f"identified at {share:.0%} of values within the prior", code="prior")
        return replace(self, verdict=verdict, widths=central([one.half_width for one in others]))

    def to_dict(self) -> dict[str, Any]:
        numbers = {k: getattr(self, k) for k in ("value", "low", "high", "half_width", "spread")}
        shown = {k: v if np.isfinite(v) else None for k, v in numbers.items()}
        over = {"half_widths": list(self.widths)} if self.widths else {}
        return {"name": self.name, **shown, **over, "log": self.log, "verdict": self.verdict.to_dict()}


@dataclass(frozen=True)
class Expected:
    """What a design is expected to say of one law: ``quantities``, the ``condition`` behind them, and in
    ``reason`` why it is hopeless, where it is. ``extrapolation``: by how much the target's compute lies
    beyond the design's. ``ahead``: the forecast of the target, and ``aheads`` half of its interval over the
    ranges of the prior."""

    prior: Prior
    runs: int
    clusters: int
    by: str
    quantities: tuple[Expectation, ...]
    reason: str
    condition: float
    confounded: tuple[str, ...]
    target: Target | None
    extrapolation: float
    level: float = LEVEL
    ahead: Ahead | None = None
    aheads: Interval | None = None

    def across(self, others: Sequence[Expected]) -> Expected:
        """This one with what is expected at other values of the prior."""
        found = tuple(
            one.across([other[one.name] for other in others if one.name in other.names])
            for one in self.quantities
        )
        halves = [other.ahead.half_width for other in others if other.ahead]
        return replace(self, quantities=found, aheads=central(halves) if self.ahead and halves else None)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.quantities)

    @property
    def weak(self) -> tuple[str, ...]:
        """Names of the quantities that are not expected to be identified."""
        return tuple(one.name for one in self.quantities if one.verdict.verdict != "yes")

    @property
    def verdict(self) -> str:
        """``identifiable``, ``partly`` or ``not_identifiable``: the law by its exponents and offset."""
        if self.reason:
            return "not_identifiable"
        return "partly" if self.weak else "identifiable"

    @property
    def size(self) -> Ahead | None:
        """N* at the target's compute; None where nothing is expected of it."""
        name = size_name(self.target.compute or 0.0) if self.target else ""
        found = next((one for one in self.quantities if one.name == name), None)
        known = found is not None and np.isfinite(found.spread)
        return law_alone(name, found.half_width, self.level) if found and known else None

    def __getitem__(self, name: str) -> Expectation:
        return next(one for one in self.quantities if one.name == name)

    def to_dict(self) -> dict[str, Any]:
        return {
            "law": self.prior.law.name,
            "verdict": self.verdict,
            "reason": self.reason or None,
            "level": self.level,
            "runs": self.runs,
            "clusters": self.clusters,
            "clusters_by": self.by,
            "condition": self.condition if np.isfinite(self.condition) else None,
            "confounded": list(self.confounded),
            "prior": self.prior.to_dict(),
            "target": self.target.inputs if self.target else None,
            "extrapolation": self.extrapolation if np.isfinite(self.extrapolation) else None,
            "quantities": [one.to_dict() for one in self.quantities],
            "forecast": asdict(self.ahead) if self.ahead else None,
            "forecast_half_widths": list(self.aheads) if self.aheads else None,
        }


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
        if {"C", *prior.law.inputs} <= set(at) and "C" in seen.frame.columns:
            ahead = outlook_of_loss(seen, first.label, at, level=level).now
    return Expected(
        prior, len(seen.frame), seen.clusters, seen.by, tuple(found), _hopeless(seen, found),
        seen.condition, seen.confounded, first, _extrapolation(seen, first, price), level, ahead,
    )  # fmt: skip


def central(values: Sequence[float]) -> Interval:
    """The middle 90 % of values."""
    low, high = np.quantile(np.nan_to_num(values, posinf=CEILING), (0.05, 0.95), method="nearest")
    return Interval(float(low), float(high))


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
