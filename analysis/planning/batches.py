"""What runs at several batches are expected to say of the critical batch, before they are trained.

Of a group, runs of one size that reach one loss, :func:`analysis.hyperparameters.criticalbatch.find` fits
log S = log Smin + log(1 + Bcrit / B) by least squares (McCandlish et al. 2018, arXiv:1812.06162, eq. 2.11).
Its slopes are 1 and Bcrit / (B + Bcrit): batches all far below the critical one, or all far above, tell the
two apart by next to nothing. Where log losses have noise, the log of the step that reaches one has as much
over the slope of the learning curve there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from analysis.fits.identification import DECADE, NEAR, STEEPNESS
from analysis.fits.intervals import NORMAL
from analysis.hyperparameters.criticalbatch import side
from analysis.planning.batch_groups import BatchGroup, CriticalPrior
from analysis.planning.estimates import Estimates
from analysis.planning.expectation import LEVEL
from analysis.planning.prior import NoiseLevel, Prior
from analysis.results import Interval, Part, Verdict

FEWEST = 3  # batches that tell two parameters and an error, and groups that tell a power law
GRID = np.geomspace(1e-4, 1e4, 161)  # times the geometric mean of the batches: critical ones that are tried
STEP = 1e-3  # of the log of tokens, over which the slope of a learning curve is taken
SECOND = np.array([[0.0, 1.0]])  # of two coordinates


@dataclass(frozen=True)
class ExpectedBatch(Part):
    """Of one group: the ``loss`` that all its runs reach, ``noise`` of log steps, the critical batch assumed,
    the interval that a fit is expected to report (half of its log: ``half_width``; of estimates over repeated
    studies: ``spread``), the verdict it has, and for which critical batches, ``reach``, it would be
    identified; None: for none."""

    group: BatchGroup
    loss: float
    noise: float
    critical: float
    low: float
    high: float
    half_width: float
    spread: float
    verdict: Verdict
    reach: Interval | None

    def to_dict(self) -> dict[str, Any]:
        numbers = ("loss", "noise", "critical", "low", "high", "half_width", "spread")
        values = {name: getattr(self, name) for name in numbers}
        return {
            "group": self.group.name, "params": self.group.N, "tokens": self.group.horizon,
            "batches": sorted(set(self.group.batches.tolist())), "runs": len(self.group.batches),
            **{name: x if np.isfinite(x) else None for name, x in values.items()},
            "verdict": self.verdict.to_dict(), "reach": list(self.reach) if self.reach else None,
        }  # fmt: skip


@dataclass(frozen=True)
class ExpectedExponent(Part):
    """Of the loss reached, in a power law of the critical batch: its ``verdict``, the ``value`` that follows
    from what is assumed of the groups, and half of its interval; None where these are too few."""

    verdict: Verdict
    value: float | None = None
    half_width: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict.to_dict()}


@dataclass(frozen=True)
class ExpectedBatches:
    """Of all groups, by the ``prior`` of losses and that of the critical batch; ``exponent`` of the power law
    through groups that are identified."""

    prior: Prior
    critical: CriticalPrior
    found: tuple[ExpectedBatch, ...]
    exponent: ExpectedExponent
    level: float = LEVEL

    @property
    def identified(self) -> int:
        """How many groups are expected to be."""
        return sum(one.verdict.verdict == "yes" for one in self.found)

    @property
    def verdict(self) -> str:
        if self.identified == len(self.found):
            return "identifiable"
        return "partly" if self.identified else "not_identifiable"

    def to_dict(self) -> dict[str, Any]:
        return {
            "law": "critical-batch",
            "verdict": self.verdict,
            "level": self.level,
            "prior": asdict(self.critical),
            "losses": self.prior.to_dict(),
            "groups": [one.to_dict() for one in self.found],
            "exponent": self.exponent.to_dict(),
        }


def expect_batches(
    prior: Prior, critical: CriticalPrior, groups: Sequence[BatchGroup], level: float = LEVEL
) -> ExpectedBatches:
    """Say what the critical batch of each group is expected to be known by.

    Args:
        prior: of losses, a law of N and D, with the noise of log loss.
        critical: of the critical batch.
        groups: the runs.
        level: of the intervals, between 0 and 1.
    """
    found = tuple(_expect(prior, critical, group, level) for group in groups)
    return ExpectedBatches(prior, critical, found, _exponent(found, level), level)


def _expect(prior: Prior, critical: CriticalPrior, group: BatchGroup, level: float) -> ExpectedBatch:
    one = _at(prior, group, group.critical(critical), level)
    for end in critical.ends or ():
        other = _at(prior, group, end, level)
        if one.verdict.verdict == "yes" != other.verdict.verdict:
            why = f"identified at Bcrit = {one.critical:.4g}, not at {end:.4g}"
            one = replace(one, verdict=Verdict("no", why, code="prior"))
    return one


def _at(prior: Prior, group: BatchGroup, critical: float, level: float) -> ExpectedBatch:
    """What is expected at one value of the critical batch."""
    (loss,), (noise,) = _reached(prior, group, np.array([critical]))
    batches = tuple(map(float, group.batches))
    half, spread = (noise * one for one in _half_widths(batches, critical, level))
    low, high = _interval(group.batches, critical, half)
    verdict, reach = _judged(group.batches, critical, half), None
    if len({*batches}) < FEWEST:
        why = f"Smin, Bcrit and an error take {FEWEST} different batches"
        verdict = Verdict("no", why, code="shortage")
    else:
        reach = _reach(prior, group, level)
    return ExpectedBatch(group, float(loss), float(noise), critical, low, high, half, spread, verdict, reach)


def _reached(prior: Prior, group: BatchGroup, critical: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss that all runs reach for each ``critical`` batch (k,), and the noise of log steps to it."""
    before, after = group.needed(critical)
    steps = np.exp(STEP * np.array([[-1.0], [0.0], [1.0]]))
    tokens = before + after * steps
    losses = prior.losses({"N": np.full(tokens.size, group.N), "D": tokens.ravel()})
    logs = np.log(losses).reshape(tokens.shape)
    return np.exp(logs[1]), prior.noise.run * 2 * STEP / np.maximum(logs[0] - logs[2], 1e-300)


def _reach(prior: Prior, group: BatchGroup, level: float) -> Interval | None:
    """The least and the largest critical batch that would be identified, were it the true one."""
    tried, units = _tried(tuple(map(float, group.batches)), level)
    noise = _reached(prior, group, tried)[1]
    told = [
        x
        for x, half in zip(tried.tolist(), (noise * units).tolist(), strict=True)
        if _judged(group.batches, x, half).verdict == "yes"
    ]
    return Interval(min(told), max(told)) if told else None


@cache
def _tried(batches: tuple[float, ...], level: float) -> tuple[np.ndarray, np.ndarray]:
    """Critical batches about these, and half of the interval of their logs for noise of 1."""
    tried = np.exp(np.log(batches).mean()) * GRID
    return tried, np.array([_half_widths(batches, x, level)[0] for x in tried.tolist()])


def _half_widths(batches: tuple[float, ...], critical: float, level: float) -> tuple[float, float]:
    """Of log Bcrit, for noise of 1: half of the interval that a fit is expected to report, and of the 90 %
    that estimates lie in over repeated studies."""
    b = np.array(batches)
    slopes = np.stack([np.ones(len(b)), critical / (b + critical)], axis=1)
    seen = Estimates(slopes, np.arange(len(b)), NoiseLevel(1.0))
    if not seen.determined:
        return np.inf, np.inf
    return float(seen.half_width(SECOND, level)[0]), float(seen.spread(SECOND)[0]) * NORMAL


def _judged(batches: np.ndarray, critical: float, half: float) -> Verdict:
    return side(*_interval(batches, critical, half), batches)


def _interval(batches: np.ndarray, critical: float, half: float) -> tuple[float, float]:
    """The ends of an interval with a half-width ``half`` in logs. Where that is wide, by the coordinate that
    log steps are nearly linear in: 1 / Bcrit of batches below it, Bcrit of batches above."""
    if 2 * half <= np.log(DECADE):
        return float(critical * np.exp(-half)), float(critical * np.exp(half))
    if critical > float(np.exp(np.log(batches).mean())):
        return critical / (1 + half), critical / (1 - half) if half < 1 else np.inf
    return max(critical * (1 - half), 0.0), critical * (1 + half)


def _exponent(found: Sequence[ExpectedBatch], level: float) -> ExpectedExponent:
    known = [one for one in found if one.verdict.verdict == "yes"]
    losses = len({round(float(np.log(one.loss)), 4) for one in known})
    if losses < FEWEST:
        why = f"it takes {FEWEST} groups, of different losses, and {losses} would be identified"
        return ExpectedExponent(Verdict("no", why, code="shortage"))
    x, y = np.log([one.loss for one in known]), np.log([one.critical for one in known])
    error = np.array([one.spread for one in known]) / NORMAL
    slopes = np.stack([np.ones(len(known)), x], axis=1) / error[:, None]
    seen = Estimates(slopes, np.arange(len(known)), NoiseLevel(1.0))
    value = float(np.linalg.lstsq(slopes, y / error)[0][1])
    half = float(seen.half_width(SECOND, level)[0])
    said = f"+-{half:.2g} about {value:z.2f}, if the errors of groups are independent"
    if half <= max(NEAR * abs(value), STEEPNESS):
        return ExpectedExponent(Verdict("yes", said), value, half)
    said += (
        f"; within {NEAR:.0%} of it takes sizes and horizons whose losses lie further apart, or more of them"
    )
    return ExpectedExponent(Verdict("no", said, code="wide"), value, half)
