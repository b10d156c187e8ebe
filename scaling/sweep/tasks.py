"""The jobs that have runs left to do, and what the process of each is asked for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from scaling.counts.lowering import pack_width
from scaling.plan.cadence import averages_of, evaluated_at
from scaling.plan.plan import Plan, PlannedJob, PlannedRun
from scaling.plan.probe import Probe
from scaling.run import AnyRun, Run
from scaling.store.folder import ResultsFolder
from scaling.store.records import JobExecution, JobRun, JobSpec, Work


@dataclass(frozen=True)
class Task:
    """A job's runs in this phase. ``flops`` are those of its runs that are not done; ``pack`` is how many
    jobs may be trained side by side, this one included."""

    job: PlannedJob
    runs: tuple[PlannedRun, ...]
    flops: int
    tries: int = 0
    pack: int = 1


def make_tasks(
    plan: Plan, chosen: Sequence[PlannedRun], settled: Collection[str], speed: Probe | None = None
) -> list[Task]:
    """List jobs with a run that is not ``settled``, longest remaining work first: that ends soonest (LPT,
    Graham 1969).

    Args:
        plan: the plan.
        chosen: the runs that are to be worked on.
        settled: those that need no more work.
        speed: of steps, measured on an accelerator.
    """
    ids, tasks = {run.run_id for run in chosen}, []
    for job in plan.jobs:
        runs = tuple(plan.by_id[run_id] for run_id in job.run_ids if run_id in ids)
        if any(run.run_id not in settled for run in runs):
            pack = 1 if plan.command else packed(plan, runs[0].built_in, speed)
            tasks.append(Task(job, runs, flops_left(job, runs, settled), pack=pack))
    return sorted(tasks, key=lambda task: (-task.flops, task.job.job_id))


def packed(plan: Plan, run: Run, speed: Probe | None) -> int:
    """Return how many jobs of a run's shape are trained side by side: as the plan says, else as was found to
    be best, where that was measured, and one for each device along ``run``."""
    if plan.execution.pack != "auto":
        return plan.execution.pack
    if plan.execution.hosts > 1:
        return 1
    devices = plan.execution.mesh.run if plan.execution.mesh else 1
    best = max(devices, speed.pack(run.flops_per_step) if speed else 1)
    width = pack_width(best, devices)
    return width if width == best else width // 2


def flops_left(job: PlannedJob, runs: Sequence[PlannedRun], settled: Collection[str]) -> int:
    return sum(job.flops_spent[run.run_id] for run in runs if run.run_id not in settled)


def job_spec(
    plan: Plan,
    task: Task,
    runs: Sequence[PlannedRun],
    work: Work,
    results: ResultsFolder,
    more: dict[str, Any] | None = None,
) -> JobSpec[AnyRun]:
    """Say what the process of a job is asked to do.

    Args:
        plan: gives data and execution.
        task: the job.
        runs: those to be worked on.
        work: to train them or to evaluate them again.
        results: the folder, which has the checkpoints that runs branch from.
        more: fields of the execution that the plan does not give.
    """
    given, spent = plan.execution, task.job.flops_spent
    names = JobExecution.model_fields.keys() & type(given).model_fields.keys()
    execution = {name: getattr(given, name) for name in names}
    if any(run.role == "trunk" for run in runs):  # others branch from its last checkpoint
        execution["keep_final"] = True
    if given.chunk_steps is None:
        del execution["chunk_steps"]
    if plan.command is not None:
        execution["command"] = plan.command
    return JobSpec[AnyRun](
        study=plan.study,
        job_id=task.job.job_id,
        task=work,
        data=plan.data_of(task.runs[0]),
        branch_steps=tuple(sorted({plan.by_id[run_id].run.branch_step for run_id in task.job.run_ids})),
        runs=tuple(_job_run(plan, run, spent[run.run_id], results) for run in runs),
        execution=JobExecution(**execution | (more or {})),
    )


def _job_run(plan: Plan, planned: PlannedRun, flops_spent: int, results: ResultsFolder) -> JobRun[AnyRun]:
    """Say what is asked of one run; what is not asked for is not written."""
    asked: dict[str, Any] = {
        "evaluate_at": evaluated_at(plan, planned.run),
        "start": planned.start or _trunk_end(planned, results),
        "rules": planned.rules,
        "averages": averages_of(plan, planned.run) or None,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    return JobRun[AnyRun](
        run_id=planned.run_id, label=planned.label, run=planned.run, flops_spent=flops_spent, **asked
    )


def _trunk_end(planned: PlannedRun, results: ResultsFolder) -> str | None:
    """Return the last checkpoint of the run that a run branches from, which the jobs of a pilot may not have;
    None: it branches from none, or that is not there."""
    trunk_id = None if planned.is_external else planned.built_in.init_from
    trunk = None if trunk_id is None else results.run(trunk_id)
    if trunk_id is None or trunk is None:
        return None
    place = results.final_checkpoint(trunk_id, trunk.steps)
    return None if place is None else str(place)
