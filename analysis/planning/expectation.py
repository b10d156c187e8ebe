"""What a design is expected to identify of a law, as plain results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from analysis.planning.ahead import Ahead, law_alone
from analysis.planning.estimates import CEILING
from analysis.planning.prior import Prior
from analysis.planning.repetition import Repetition
from analysis.planning.target import Target, size_name
from analysis.results import Interval, Part, Verdict

LEVEL = 0.9
SPANS = {"N": 10.0, "D": 10.0, "l": 1.1}  # full widths, as factors, of N*, D* and a loss that can be claimed
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
    repetition: Repetition | None = None

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

    @property
    def without_best_size(self) -> bool:
        """Whether the target lies too far beyond the runs for its N* to be known."""
        name = size_name(self.target.compute or 0.0) if self.target else ""
        return any(one.name == name and np.isnan(one.value) for one in self.quantities)

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
            "repetition": asdict(self.repetition) if self.repetition else None,
        }


def central(values: Sequence[float]) -> Interval:
    """The middle 90 % of values."""
    low, high = np.quantile(np.nan_to_num(values, posinf=CEILING), (0.05, 0.95), method="nearest")
    return Interval(float(low), float(high))
