"""Doubts about the loss of a run, for the column ``flags``: from its recipe, its curve, and other runs.

A record is final, and some of this depends on runs that ended later; so flags are made whenever the table is.
What a fit does with flagged rows is for :mod:`analysis.tables.flags` to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression

from scaling.plan.plan import PlannedRun
from scaling.plan.warnings import warms_long
from scaling.run import ExternalRun
from scaling.store.metrics import Row
from scaling.store.records import Record
from scaling.sweep.neighbours import compared
from scaling.sweep.spikes import has_spike

END_RATE = 0.25  # of the peak, above which a run ends hot
DECAY = 0.05  # of its steps, below which a decay is too short (a fifth is usual: arXiv:2405.18392)
LAST = 0.1  # of the tokens, over which a curve is looked at
FALL = -1.0  # d log loss / d log tokens: no power law of an exponent below 1 falls as fast at its end
SURE = 3.0  # standard errors
ROWS = 5  # that the end of a curve must have


@dataclass(frozen=True)
class Recorded:
    """A run of the plan with its record and its curve, a row a step."""

    planned: PlannedRun
    record: Record
    curve: Sequence[Row]

    @property
    def loss(self) -> float | None:
        return self.record.result.loss if self.record.result.status == "ok" else None


def flags(recorded: Iterable[Recorded]) -> dict[str, tuple[str, ...]]:
    """Return the flags of every run by its id, none for most: those of its record, its own, and those by
    comparison."""
    recorded = list(recorded)
    beside = compared(
        {
            one.planned.run_id: (one.planned, one.loss, one.record.result.document_losses or {})
            for one in recorded
            if one.loss is not None
        }
    )
    return {one.planned.run_id: (*_own(one), *beside.get(one.planned.run_id, ())) for one in recorded}


def _own(one: Recorded) -> Iterable[str]:
    yield from one.record.result.flags
    if has_spike(one.curve):
        yield "loss_spike"
    if one.loss is None:
        return  # of a diverged run nothing else is asked
    run = one.planned.run
    if not isinstance(run, ExternalRun):
        if float(run.learning_rates(run.steps - 1, 1)[0]) > END_RATE * run.learning_rate or (
            run.schedule.shares_trunk and run.decay_steps < DECAY * run.steps
        ):
            yield "undercooled"
        if warms_long(run.schedule.warmup, run.steps):
            yield "long_warmup"
    if still_falling(one.curve):
        yield "still_falling"
    execution = one.record.execution
    if execution.earlier_devices:
        yield "other_device"


def still_falling(curve: Sequence[Row]) -> bool:
    """Tell whether the training loss falls faster than any law over the last tenth of the tokens, by more
    than its scatter explains. Of fewer than :data:`ROWS` rows there nothing is said."""
    points = [(row["tokens"], row["train/loss"]) for row in curve if _usable(row)]
    if not points:
        return False
    end = max(tokens for tokens, _ in points)
    last = [(math.log(x), math.log(y)) for x, y in points if x > (1 - LAST) * end]
    if len(last) < ROWS:
        return False
    x, y = zip(*last, strict=True)
    slope, intercept = linear_regression(x, y)
    squares = sum((b - slope * a - intercept) ** 2 for a, b in last)
    spread = sum((a - fmean(x)) ** 2 for a in x)
    error = math.sqrt(squares / (len(last) - 2) / spread)
    return slope + SURE * error < FALL


def _usable(row: Mapping[str, object]) -> bool:
    tokens, loss = row.get("tokens"), row.get("train/loss")
    return isinstance(tokens, int | float) and tokens > 0 and isinstance(loss, float) and 0 < loss < math.inf
