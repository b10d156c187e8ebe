"""Runs -> jobs. Trunk sharing: what runs have in common is trained once, each branches off for the rest."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.plan.plan import Job, PlannedRun
from scaling.run import short_hash


def job_id(run_id: str, trunk_id: str, *, held_out: bool, share_trunk: bool) -> str:
    """The job that trains a run: its trunk if trunks are shared, else the run itself.

    Held-out runs are trained after a forecast is frozen, so they never share a job with others.
    """
    if not share_trunk:
        return run_id
    return short_hash({"kind": "job", "phase": "holdout", "trunk": trunk_id}) if held_out else trunk_id


def make_jobs(runs: Sequence[PlannedRun]) -> tuple[Job, ...]:
    """Jobs of ``runs`` (all of a plan, or those not done yet), most work first, held-out runs last.

    A run's ``flops_spent`` is its steps after branching plus the part of the trunk that is trained for it
    and for the runs after it: from the branch before to its own.
    """
    groups = dict[str, list[PlannedRun]]()
    for planned in runs:
        groups.setdefault(planned.job_id, []).append(planned)
    held_out = {name: group[0].role == "holdout" for name, group in groups.items()}
    jobs = [_job(name, group) for name, group in groups.items()]
    return tuple(sorted(jobs, key=lambda job: (held_out[job.job_id], -job.flops, job.job_id)))


def _job(name: str, group: list[PlannedRun]) -> Job:
    ordered = sorted(group, key=lambda p: (p.run.branch_step, p.run.steps, p.run_id))
    spent, trained = dict[str, int](), 0
    for planned in ordered:
        run = planned.run
        shared_until = run.branch_step
        steps = (run.steps - shared_until) + max(0, shared_until - trained)
        trained = max(trained, shared_until)
        spent[planned.run_id] = planned.flops // run.steps * steps
    return Job(job_id=name, run_ids=tuple(p.run_id for p in ordered), flops_spent=spent)
