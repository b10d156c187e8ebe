"""A results folder to work in: with a plan that is written there, or by the one that is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaling.errors import Complaint
from scaling.plan.plan import Plan, load_plan
from scaling.spec.execution import Execution
from scaling.store.folder import ResultsFolder
from scaling.sweep.changes import PlanChanged, PlanMark, require_compatible, write_plan
from scaling.sweep.driver import Sweep
from scaling.sweep.executors import trains
from scaling.sweep.guard import Presence, turn
from scaling.sweep.slurm.cancel import last_cancel
from scaling.sweep.trackers import Trackers


@contextmanager
def open_sweep(
    folder: Path,
    plan: Mapping[str, Any],
    spec: str | None,
    *,
    command: Sequence[str] | None = None,
    force: bool = False,
    reevaluate: bool = False,
    max_hours: float | None = None,
    profile: int | None = None,
    detach: bool = False,
    overtaken: Callable[[], bool] = lambda: False,
) -> Iterator[Sweep]:
    """Write study.yaml and plan.json into ``folder`` and work there.

    A plan that extends the one in the folder keeps what is done: records belong to runs, not to plans.

    Args:
        folder: the results folder.
        plan: ``Plan.to_json()``.
        spec: the text of the spec; None: the plan is that of the folder, and is not written.
        command: what trains a job folder, in place of what the plan has.
        force: let a changed recipe replace runs of the same names.
        reevaluate: accept a changed evaluation.
        max_hours: stop after so long.
        profile: steps to be traced of the first job.
        detach: return when a cluster has what is to be done.
        overtaken: tells whether another launch has meanwhile taken the study further than ``plan``.

    Raises:
        PlanChanged: it has; or ``plan`` is not that of the folder any more.
        UserError: the folder is another study's or cannot be written; the recipe, or the evaluation of
            finished runs, has changed.
    """
    results, checked = ResultsFolder(Path(folder).absolute()), Plan.from_json(dict(plan))
    mark = PlanMark(results, checked.identity)
    with turn(results):
        if overtaken() or (spec is None and mark.changed()):
            problem = f"another launch has just changed the plan of {str(results.path)!r}"
            raise PlanChanged(Complaint(problem, hint="run the same command again"))
        require_compatible(results, checked, spec or "", force=force, reevaluate=reevaluate)
        if spec is not None:
            write_plan(results, dict(plan), spec)
    presence = Presence(results)
    ends = None if max_hours is None else time.monotonic() + 3600 * max_hours
    try:
        steps = [] if profile is None else [profile]
        cancelled, trainer = last_cancel(results), command or trains(checked)
        with Trackers(results, checked.execution) as trackers:
            yield Sweep(results, checked, presence, trainer, mark, steps, trackers, ends, detach, cancelled)
    finally:
        presence.end()


@contextmanager
def join_sweep(
    folder: Path,
    *,
    jobs: Collection[str] | None = None,
    execution: Execution | None = None,
    command: Sequence[str] | None = None,
) -> Iterator[Sweep]:
    """Work in a folder by the plan that is there; nothing of it is written anew.

    Args:
        folder: the results folder.
        jobs: of the plan, to which the work is limited.
        execution: of these, in place of the plan's.
        command: what trains a job folder, in place of what the plan has.

    Raises:
        UserError: the folder holds no plan.
    """
    results = ResultsFolder(Path(folder).absolute())
    plan = load_plan(results)
    mark, presence = PlanMark(results, plan.identity), Presence(results)
    try:
        part = _part(plan, jobs, execution)
        with Trackers(results, plan.execution) as trackers:
            yield Sweep(results, part, presence, command or trains(plan), mark, [], trackers)
    finally:
        presence.end()


def _part(plan: Plan, jobs: Collection[str] | None, execution: Execution | None) -> Plan:
    """Return the plan of these of its jobs alone."""
    fields = {name: getattr(plan, name) for name in Plan.model_fields if name != "schema_version"}
    if execution is not None:
        fields["execution"] = execution
    if jobs is not None:
        fields["jobs"] = tuple(job for job in plan.jobs if job.job_id in jobs)
        fields["runs"] = tuple(run for run in plan.runs if run.job_id in jobs)
    return Plan(**fields)
