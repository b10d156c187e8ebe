"""Steps of a compiled call on an accelerator: by the time that they take, not by their work.

The size stays that of a job's first start, and a chunk also ends wherever a run of the job is evaluated or
averaged along the way. So what is evaluated does not depend on a clock, nor do the rows of a curve on where
it was resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scaling.chunks import timed_chunk_steps
from scaling.plan.asking import ProbeFailed
from scaling.plan.cadence import averages_of, evaluated_at
from scaling.plan.lowering import Lowered
from scaling.plan.plan import Plan, PlannedJob
from scaling.plan.probe import Probe, cached_probe, measure_probe
from scaling.run import Run
from scaling.spec.execution import Execution
from scaling.store.records import RunMerge
from scaling.sweep.earlier import execution_before
from scaling.sweep.machine import environment_here, layout

ASSUMED_FLOPS = 2e13  # a second, of an accelerator whose speed was not measured


@dataclass(frozen=True)
class Chunks:
    """Sizes the chunks of the jobs of a plan, by the ``speed`` of steps where that is known."""

    plan: Plan
    speed: Probe | None

    def of(self, job: PlannedJob, folder: Path) -> tuple[int, tuple[int, ...]]:
        """Return the steps of a chunk of the job in a folder, and the steps between where one ends too."""
        runs = [self.plan.by_id[run_id].built_in for run_id in job.run_ids]
        before = execution_before(folder)
        size = (before and before.chunk_steps) or self._timed(runs[0].flops_per_step)
        stops = {step for run in runs for step in _looked_at(self.plan, run) if step % size}
        return size, tuple(sorted(stops))

    def _timed(self, flops: int) -> int:
        return timed_chunk_steps(self.speed.packed_seconds(flops) if self.speed else flops / ASSUMED_FLOPS)


def measured_speed(lowered: Lowered | None, execution: Execution, say: Callable[[str], None]) -> Probe | None:
    """Return the speed of the steps of jobs on this machine's accelerator, measured where it is not known.

    None: jobs run on CPU, chunks and packs have a given size, or it cannot be measured.

    Args:
        lowered: the jobs, if any, and how they are laid out.
        execution: of these jobs.
        say: is told what takes time, and what went wrong.
    """
    given = execution.chunk_steps is not None and execution.pack != "auto"
    if lowered is None or given:
        return None
    where = layout(execution)
    if where.device == "cpu":
        return None
    known = cached_probe(lowered)
    if known is None:
        say("measuring the speed of a training step on this machine, once ...")
        try:
            known = measure_probe(lowered, environment_here(where, where.slots[0]))
        except ProbeFailed as error:
            say(f"the time of a step is a guess: {error}")
    return known


def _looked_at(plan: Plan, run: Run) -> set[int]:
    """Return the steps at which a run is evaluated or averaged along the way."""
    merges = [average for average in averages_of(plan, run) if isinstance(average, RunMerge)]
    return {*(evaluated_at(plan, run) or ()), *(step for merge in merges for step in merge.steps[:-1])}
