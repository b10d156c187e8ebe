"""What a plan will ask Slurm for, and how its jobs are laid out there, before anything is submitted."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import UTC, datetime

from scaling.plan.chosen import JobDevices
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.spec.allocation import bytes_of
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.sweep.queue import Phase, Queue
from scaling.sweep.slurm.arrays import Group, grace_seconds, groups
from scaling.sweep.slurm.script import gpus_per_node, script_text, workers_of
from scaling.sweep.slurm.submit import new_submission
from scaling.sweep.tasks import make_tasks


def device_of(execution: SlurmExecution) -> str:
    """Return what jobs will train on, as far as that is asked for."""
    if execution.device != "auto":
        return execution.device
    return "cpu" if gpus_per_node(execution) is None else "gpu"


def lowered_there(plan: Plan, execution: SlurmExecution) -> Lowered:
    """Lay out the jobs of a plan by what allocations are asked for. What devices have is known of the memory
    of CPUs alone, where that is asked for."""
    of_groups = [_lowered(plan, group) for group in groups(execution, make_tasks(plan, plan.runs, ()))]
    largest = max(of_groups, key=lambda lowered: lowered.largest.held)
    chosen = {job_id: one for lowered in of_groups for job_id, one in lowered.chosen.items()}
    return Lowered(plan, largest.devices, chosen)


def _lowered(plan: Plan, group: Group) -> Lowered:
    asked, device = group.execution, device_of(group.execution)
    memory = bytes_of(asked.memory) * asked.nodes if device == "cpu" and asked.memory else None
    devices = JobDevices(device, asked.job_devices or asked.nodes, memory, workers_of(asked))
    part = plan.model_copy(update={"execution": asked})
    return lower(part, devices, [task.job for task in group.tasks])


def workers_there(plan: Plan, execution: SlurmExecution) -> int:
    """Return how many jobs will be trained at the same time, if the cluster has room for all."""
    arrays = groups(execution, make_tasks(plan, plan.runs, ()))
    return sum(group.size * workers_of(group.execution) for group in arrays)


def scripts(
    plan: Plan, execution: SlurmExecution, results: ResultsFolder, phases: Collection[tuple[str, ...]]
) -> Iterator[str]:
    """Yield the scripts that would be submitted for what is left to do; nothing is written.

    Args:
        plan: the plan.
        execution: what allocations are asked for.
        results: the folder, which need not be there.
        phases: the roles of the runs that are worked on one after the other.
    """
    for roles in phases:
        queue = Queue(results, plan, Phase(roles, plan.with_roles(roles)), lambda event: None)
        queue.open()
        for group in groups(execution, queue.waiting):
            intended = new_submission(
                plan.study,
                group.execution,
                since=datetime.now(UTC),
                kind="pilots",
                tasks=group.size,
                roles=roles,
                jobs=group.job_ids,
                grace_seconds=grace_seconds(plan),
            )
            yield script_text(intended, results)
