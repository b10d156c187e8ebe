"""How jobs are lowered where a spec leaves that open: in as few pieces as fit into memory.

Beside each other stand what a program holds, by arithmetic (:mod:`scaling.counts.memory`) or as compiled
(:mod:`scaling.plan.compiled`), and what its devices have. Of all that fits, the lowering with the least extra
work is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nlargest
from typing import Any

from scaling.corpora.evaluation import EMA
from scaling.counts.lowering import Lowering, pack_width
from scaling.counts.memory import ERROR, FLOAT, Workload, memory, size
from scaling.counts.shape import parameter_table
from scaling.errors import Complaint, UserError
from scaling.plan.cadence import chunk_of, open_merges
from scaling.plan.candidates import candidates
from scaling.plan.chosen import Chosen, JobDevices, held_text, parts_text, pieces_text
from scaling.plan.plan import Plan, PlannedJob, PlannedRun
from scaling.run import Fixed
from scaling.spec.execution import Execution

FULL = 0.92  # of a device's memory: the rest is for what is not counted, and for gaps
PROCESS_BYTES = 500_000_000  # of a process on a host: Python, jax, compiled programs


@dataclass(frozen=True)
class Lowered:
    """How jobs of a plan are lowered on the devices that each has; ``chosen`` by job."""

    plan: Plan
    devices: JobDevices
    chosen: Mapping[str, Chosen]

    @property
    def largest(self) -> Chosen:
        return max(self.chosen.values(), key=lambda one: one.held)

    def of(self, job: PlannedJob) -> Lowering:
        """Return how a job is laid out: one that was taken for done and is not, by arithmetic."""
        chosen = self.chosen.get(job.job_id) or lower(self.plan, self.devices).chosen[job.job_id]
        return chosen.lowering

    def fits(self, run: PlannedRun) -> bool:
        """Tell whether a run is to be trained, and its job fits into memory."""
        return run.job_id in self.chosen and self.chosen[run.job_id].fits

    def require_fit(self) -> None:
        """Raises UserError: a job fits into memory in no way that the spec leaves open, whatever the error of
        the arithmetic."""
        if complaint := self.misfit():
            raise UserError(complaint)

    def misfit(self) -> Complaint | None:
        """Say of the largest job that does not fit what it holds, and what there is."""
        too_large = {name: one for name, one in self.chosen.items() if not one.may_fit}
        if not too_large:
            return None
        name, one = max(too_large.items(), key=lambda item: item[1].held)
        run = self._first_run(name)
        others = len(too_large) - 1
        others_text = "does 1 more job" if others == 1 else f"do {others} more jobs"
        more = f" (nor {others_text})" if others else ""
        of = "" if self.devices.kind == "cpu" else f" of each {self.devices.kind}"
        message = (
            f"{run.label} does not fit into memory{more}: it holds at least "
            f"{held_text(one.memory, one.compiled)}{of} "
            f"({parts_text(one.memory)}; {pieces_text(one.lowering, run.run.batch_sequences)}), "
            f"and {self._what_there_is(one)}"
        )
        return Complaint(message, "execution", _next_step(self.plan, self._jobs[name], self.devices, one))

    def notes(self) -> Iterator[str]:
        """Say which jobs do not fit, which leave devices idle, and which are taken in pieces and why."""
        if complaint := self.misfit():
            yield f"DOES NOT FIT: {complaint.message}; {complaint.hint}"
        tight = {name: one for name, one in self.chosen.items() if one.may_fit and not one.fits}
        if tight:
            yield self._tightness(*max(tight.items(), key=lambda item: item[1].held), len(tight) - 1)
        reasons = dict[str, list[str]]()
        for name, one in self.chosen.items():
            run = self._first_run(name)
            sequences = run.run.batch_sequences
            if idle := one.idle(sequences, self.devices.count):
                reasons.setdefault(f": {idle}", []).append(run.label)
            if one.fits and (reason := one.reason(sequences)):
                reasons.setdefault(f" by memory: {reason}", []).append(run.label)
        for reason, labels in reasons.items():
            more = f" and {len(labels) - 1} more jobs" if len(labels) > 1 else ""
            yield f"{labels[0]}{more}{reason}"

    def _tightness(self, name: str, one: Chosen, others: int) -> str:
        more = f" (nor may {others} more jobs)" if others else ""
        return (
            f"MAY NOT FIT: {self._first_run(name).label} holds about {size(one.memory.total)}, give or take "
            f"{ERROR:.0%}, and {self._what_there_is(one)}{more}; "
            f"{_next_step(self.plan, self._jobs[name], self.devices, one)}"
        )

    @cached_property
    def _jobs(self) -> dict[str, PlannedJob]:
        return {job.job_id: job for job in self.plan.jobs}

    def _first_run(self, job_id: str) -> PlannedRun:
        return self.plan.by_id[self._jobs[job_id].run_ids[0]]

    def _what_there_is(self, one: Chosen) -> str:
        devices = self.devices
        assert one.limit is not None and devices.memory_bytes is not None, "unknown is not too little"
        if devices.kind != "cpu":
            return f"{size(one.limit)} of {size(devices.memory_bytes)} can be used"
        shared = f", shared by {devices.jobs} workers" if devices.jobs > 1 else ""
        forced = f" on each of {devices.count} forced devices" if devices.count > 1 else ""
        return f"{size(one.limit)}{forced} can be used of the {size(devices.memory_bytes)} here{shared}"


def workload(plan: Plan, job: PlannedJob, device: str) -> Workload:
    """Return what the program of a job holds memory for."""
    run = plan.by_id[job.run_ids[0]].built_in
    emas = sum(isinstance(average, EMA) for average in plan.averages)
    table = parameter_table(run.shape)
    return Workload(
        shape=run.shape,
        sequences=run.batch_sequences,
        moments={name: run.optimizer.kept(parameter) for name, parameter in table.items()},
        averages=emas + open_merges(plan, job),
        chunk_steps=chunk_of(run.flops_per_step, plan.execution),
        factor_bytes=2 if run.precision == "bfloat16" and device != "cpu" else FLOAT,
    )


def lower(plan: Plan, devices: JobDevices, jobs: Sequence[PlannedJob] | None = None) -> Lowered:
    """Choose how jobs of a plan are lowered, all of them unless they are given. Of a host's memory each has
    an equal part only where those that run at a time do not fit otherwise."""
    jobs = plan.jobs if jobs is None else jobs
    sharing = max(1, min(devices.jobs, len(jobs)))
    chosen, whole = _choose_each(plan, jobs, devices, 1), _limit(devices, 1)
    if sharing > 1 and whole is not None and devices.kind == "cpu":
        largest = nlargest(sharing, (one.memory.total * devices.count for one in chosen.values()))
        if sum(largest) + (sharing - 1) * PROCESS_BYTES > whole * devices.count:
            chosen = _choose_each(plan, jobs, devices, sharing)
    return Lowered(plan, devices, chosen)


def _choose_each(
    plan: Plan, jobs: Sequence[PlannedJob], devices: JobDevices, sharing: int
) -> dict[str, Chosen]:
    limit, by_work, chosen = _limit(devices, sharing), dict[Any, Chosen](), dict[str, Chosen]()
    alike = _alike(plan)
    for job in jobs:
        work = workload(plan, job, devices.kind)
        fixed = plan.by_id[job.run_ids[0]].built_in.fixed
        key = fixed, work.averages
        if key not in by_work:
            by_work[key] = choose(work, _packing(plan.execution, alike[fixed]), devices, limit)
        chosen[job.job_id] = by_work[key]
    return chosen


def _alike(plan: Plan) -> Counter[Fixed]:
    """Count the jobs that can be in one pack, by what is equal in all of them."""
    return Counter(plan.by_id[job.run_ids[0]].built_in.fixed for job in plan.jobs)


def _packing(asked: Execution, alike: int) -> Execution:
    """Return what is asked for with no more runs side by side than there are alike."""
    if asked.pack == "auto":
        return asked
    devices = asked.mesh.run if asked.mesh else 1
    return asked.model_copy(update={"pack": pack_width(min(asked.pack, alike), devices)})


def _limit(devices: JobDevices, sharing: int, share: float = 1.0) -> int | None:
    """Return the bytes that a program may hold on each device, where so many jobs share a memory; or a share
    of them."""
    if devices.memory_bytes is None:
        return None
    if devices.kind != "cpu":
        return int(share * FULL * devices.memory_bytes)
    whole = max(0, int(FULL * devices.memory_bytes / sharing) - PROCESS_BYTES)
    return int(share * whole) // devices.count


def choose(work: Workload, asked: Execution, devices: JobDevices, limit: int | None) -> Chosen:
    """Choose the lowering with the least extra work that fits; where none does, the smallest.

    Args:
        work: what is trained.
        asked: what the spec asks for.
        devices: of the job.
        limit: bytes that a device has for it; None: not known, and the plain one is chosen.
    """
    ordered = candidates(work, asked, devices.count)
    plain = memory(work, ordered[0])
    smallest = ordered[0], plain
    for lowering in ordered:
        held = memory(work, lowering)
        if limit is None or held.total <= limit:
            return Chosen(lowering, held, plain, limit)
        smallest = min(smallest, (lowering, held), key=lambda one: one[1].total)
    return Chosen(*smallest, plain, limit)


def _next_step(plan: Plan, job: PlannedJob, devices: JobDevices, one: Chosen) -> str:
    """Name the first thing that would help: fewer workers, what the spec fixes left out, more devices.

    Args:
        plan: the plan.
        job: that does not fit.
        devices: of the job.
        one: what was chosen, by which arithmetic is corrected.
    """
    work, fixed_run = workload(plan, job, devices.kind), plan.by_id[job.run_ids[0]].built_in.fixed
    asked = _packing(plan.execution, _alike(plan)[fixed_run])
    share = min(1.0, one.memory.total / one.held)
    for workers in range(devices.jobs - 1, 0, -1) if devices.kind == "cpu" else ():
        if choose(work, asked, devices, _limit(devices, workers, share)).fits:
            return f"use execution.workers: {workers}"
    fixed = {name: getattr(asked, name) for name in ("micro_batch", "remat", "mesh", "pack")}
    given = [name for name, value in fixed.items() if value not in ("auto", None)]
    free = asked.model_copy(update={name: Execution.model_fields[name].default for name in given})
    if given and choose(work, free, devices, _limit(devices, 1, share)).fits:
        return f"leave out execution.{' and '.join(given)}"
    if devices.kind == "cpu":  # whose forced devices share its memory
        return "use a smaller model, or a machine with more memory"
    return "use a smaller model, more devices for a job (execution.devices), or a machine with more memory"
