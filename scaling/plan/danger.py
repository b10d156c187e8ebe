"""A warning of what may spoil a study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from scaling.plan.plan import Plan, PlannedRun


@dataclass(frozen=True)
class PlanWarning:
    """A danger of some ``kind``, the runs that are in it, and what to do."""

    kind: str
    message: str
    hint: str
    runs: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return f"{self.message}; {self.hint}"


def ids_of(runs: Sequence[PlannedRun]) -> tuple[str, ...]:
    return tuple(run.run_id for run in runs)


def warmup_share(run: PlannedRun) -> float:
    """Of the steps of a run of the built-in trainer."""
    return run.built_in.schedule.warmup / run.run.steps


def of_least_batch(runs: Sequence[PlannedRun]) -> Sequence[PlannedRun]:
    """Without the runs that others of their size and horizon, to whole steps, have smaller batches than: a
    design varies these, and larger ones are meant to need more tokens."""
    if len({run.run.batch_tokens for run in runs}) == 1:
        return runs
    kept, smaller = list[PlannedRun](), dict[tuple[str | None, int], list[PlannedRun]]()
    for run in sorted(runs, key=lambda run: run.run.batch_tokens):
        alike = smaller.setdefault((run.variant, run.params), [])
        if not any(run.run.batch_tokens > one.run.batch_tokens and run.has_horizon_of(one) for one in alike):
            kept.append(run)
            alike.append(run)
    return kept


# From a plan to a few warnings at most.
Check = Callable[[Plan], Iterator[PlanWarning]]
