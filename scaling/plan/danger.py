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


# From a plan to a few warnings at most.
Check = Callable[[Plan], Iterator[PlanWarning]]
