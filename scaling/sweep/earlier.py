"""What jobs were asked for when they were last started, where that is to stay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scaling.counts.memory import memory
from scaling.errors import UserError
from scaling.plan.candidates import candidates
from scaling.plan.chosen import Chosen
from scaling.plan.lowering import Lowered, workload
from scaling.plan.plan import PlannedJob
from scaling.run import AnyRun
from scaling.store.documents import read
from scaling.store.folder import ResultsFolder
from scaling.store.records import JobExecution, JobSpec


def execution_before(folder: Path) -> JobExecution | None:
    """Return what the job in a folder was asked for; None: nothing, or it cannot be read and is written
    anew."""
    try:
        before = read(JobSpec[AnyRun], folder / "job.json")
    except UserError:
        return None
    return before.execution if before else None


def keep(lowered: Lowered, results: ResultsFolder) -> Lowered:
    """Leave started jobs laid out as they were, so that their numbers stay the same to the last bit: where
    the spec would still allow it on as many devices, and it fits."""
    jobs = [job for job in lowered.plan.jobs if job.job_id in lowered.chosen]
    kept = {job.job_id: _kept(lowered, job, results.job_dir(job.job_id)) for job in jobs}
    return replace(lowered, chosen=kept)


def _kept(lowered: Lowered, job: PlannedJob, folder: Path) -> Chosen:
    chosen, before = lowered.chosen[job.job_id], execution_before(folder)
    if before is None:
        return chosen
    lowering = replace(before.lowering, pack=chosen.lowering.pack)
    if lowering == chosen.lowering:
        return chosen
    work = workload(lowered.plan, job, lowered.devices.kind)
    asked = lowered.plan.execution.model_copy(update={"pack": lowering.pack})
    if lowering not in candidates(work, asked, lowered.devices.count):
        return chosen
    held = memory(work, lowering)
    compiled = chosen.plain_compiled if held == chosen.plain else None
    kept = replace(chosen, lowering=lowering, memory=held, compiled=compiled)
    return kept if kept.fits else chosen
