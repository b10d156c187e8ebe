"""Jobs grouped by what an allocation for them is asked for: an array of pilots each."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scaling.plan.plan import Plan
from scaling.spec.execution import SlurmExecution
from scaling.store.failure import reached
from scaling.sweep.queue import Queue
from scaling.sweep.slurm.script import workers_of
from scaling.sweep.tasks import Task

LARGEST_ARRAY = 1000  # what Slurm allows where nobody has changed it


@dataclass(frozen=True)
class Group:
    """Jobs that are asked for alike."""

    execution: SlurmExecution
    tasks: tuple[Task, ...]

    @property
    def job_ids(self) -> tuple[str, ...]:
        return tuple(task.job.job_id for task in self.tasks)

    @property
    def size(self) -> int:
        """Pilots: as many as have something to do at the same time."""
        needed = math.ceil(len(self.tasks) / workers_of(self.execution))
        return min(needed, self.execution.concurrent or needed, LARGEST_ARRAY)


def groups(execution: SlurmExecution, tasks: Sequence[Task]) -> list[Group]:
    """Group jobs by size of model, where that matters; in the order of the jobs."""
    alike = list[tuple[SlurmExecution, list[Task]]]()
    for task in tasks:
        asked = execution.for_size(task.runs[0].params)
        for known, members in alike:
            if known == asked:
                members.append(task)
                break
        else:
            alike.append((asked, [task]))
    return [Group(asked, tuple(members)) for asked, members in alike]


def grace_seconds(plan: Plan) -> float:
    """Return how long jobs may take to save; 0: as long as is usual."""
    return plan.command.grace_seconds if plan.command else 0.0


def progress(queue: Queue, job_ids: Collection[str]) -> int:
    """Return the steps of these jobs that need not be done again: those of recorded runs and of
    checkpoints."""
    steps = 0
    for run in queue.phase.chosen:
        if run.job_id not in job_ids:
            continue
        if run.run_id in queue.recorded:
            steps += run.run.steps
        elif queue.phase.work == "train":
            steps += reached(queue.results.job_dir(run.job_id), run.run_id)
    return steps
