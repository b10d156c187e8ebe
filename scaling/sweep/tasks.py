"""Jobs with something left to do, here or elsewhere, and what their process is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from scaling.plan.plan import Plan, PlannedJob, PlannedRun
from scaling.store.records import JobExecution, JobRun, JobSpec, Work
from scaling.sweep.executor import LocalJob
from scaling.sweep.failure import Before
from scaling.sweep.progress import Pace, RunningRow


@dataclass(frozen=True)
class Task:
    """A job's runs in this phase. ``flops`` are those of its runs that are not done."""

    job: PlannedJob
    runs: tuple[PlannedRun, ...]
    flops: int
    tries: int = 0


@dataclass(frozen=True)
class Running:
    task: Task
    process: LocalJob
    pace: Pace
    before: dict[str, Before]


@dataclass(frozen=True)
class Elsewhere:
    """A job that another driver works on, and how far that is."""

    task: Task
    pace: Pace


def make_tasks(plan: Plan, chosen: Sequence[PlannedRun], settled: Collection[str]) -> list[Task]:
    """Jobs with a run that is not ``settled``, longest remaining work first: that ends soonest (LPT, Graham
    1969)."""
    ids, tasks = {run.run_id for run in chosen}, []
    for job in plan.jobs:
        runs = tuple(plan.by_id[run_id] for run_id in job.run_ids if run_id in ids)
        if any(run.run_id not in settled for run in runs):
            tasks.append(Task(job, runs, flops_left(job, runs, settled)))
    return sorted(tasks, key=lambda task: (-task.flops, task.job.job_id))


def flops_left(job: PlannedJob, runs: Sequence[PlannedRun], settled: Collection[str]) -> int:
    return sum(job.flops_spent[run.run_id] for run in runs if run.run_id not in settled)


def job_spec(plan: Plan, task: Task, runs: Sequence[PlannedRun], work: Work) -> JobSpec:
    """What the process of a job is asked for: to ``work`` on ``runs``."""
    given, spent = plan.execution, task.job.flops_spent
    execution = {name: getattr(given, name) for name in JobExecution.model_fields}
    if given.chunk_steps is None:
        del execution["chunk_steps"]
    return JobSpec(
        study=plan.study,
        job_id=task.job.job_id,
        task=work,
        data=plan.data,
        branch_steps=tuple(sorted({plan.by_id[run_id].run.branch_step for run_id in task.job.run_ids})),
        runs=tuple(
            JobRun(run_id=r.run_id, label=r.label, run=r.run, flops_spent=spent[r.run_id]) for r in runs
        ),
        execution=JobExecution(**execution),
    )


def running_row(
    runs: Sequence[PlannedRun], job_id: str, process: LocalJob, pace: Pace, now: float
) -> RunningRow:
    """A running job for a live table; before its first report it goes by its first run."""
    last, labels = pace.last, {run.run_id: run.label for run in runs}
    total = last.job_flops_total if last else 0.0
    return RunningRow(
        job_id=job_id,
        run_id=last.run_id if last else None,
        label=labels.get(last.run_id, runs[0].label) if last else runs[0].label,
        slot=process.slot,
        attempt=process.attempt,
        seconds=now - process.started,
        step=last.step if last else None,
        steps=last.steps if last else None,
        loss=last.loss if last else None,
        fraction=last.job_flops_done / total if last and total else 0.0,
    )
