"""How jobs are lowered where a spec leaves that open: in as few pieces as fit into memory. Arithmetic alone.

Beside each other stand what a program holds (:mod:`scaling.counts.memory`) and what its devices have. Of all
that fits, the lowering with the least extra work is chosen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from heapq import nlargest
from typing import Any, Literal

from scaling.corpora.evaluation import EMA
from scaling.counts.flops import forward_matmul_flops
from scaling.counts.lowering import LEAST_CHUNK, Lowering, MeshSizes, data_parallel, pack_width, uncut
from scaling.counts.memory import ERROR, FLOAT, Memory, Workload, memory, size
from scaling.counts.params import active_parameters
from scaling.counts.shape import parameter_table
from scaling.errors import Complaint, UserError
from scaling.plan.cadence import chunk_of, open_merges
from scaling.plan.plan import Plan, PlannedJob, PlannedRun
from scaling.run import Fixed
from scaling.spec.execution import Execution

FULL = 0.92  # of a device's memory: the rest is for what is not counted, and for gaps
PROCESS_BYTES = 500_000_000  # of a process on a host: Python, jax, compiled programs

# Extra work as a share of a step, to put lowerings in order.
SMALL_BATCH = 64  # tokens of a device: a micro-batch of so many takes twice its time
GATHERING = 0.05  # weights over fsdp, for each micro-batch


@dataclass(frozen=True)
class JobDevices:
    """The devices of one job.

    Attributes:
        kind: cpu, gpu or tpu.
        count: how many.
        memory_bytes: of each; on a CPU of the host, for all jobs together. None: not known.
        jobs: at a time; on a CPU they share the memory.
    """

    kind: str
    count: int = 1
    memory_bytes: int | None = None
    jobs: int = 1


@dataclass(frozen=True)
class Chosen:
    """How a job is lowered.

    Attributes:
        lowering: of its program.
        memory: what that holds on each device, by arithmetic.
        plain: what it would hold with nothing taken in pieces or computed again.
        limit: bytes that a device has for it; None: not known.
    """

    lowering: Lowering
    memory: Memory
    plain: Memory
    limit: int | None

    @property
    def fits(self) -> bool:
        return self.limit is None or self.memory.total <= self.limit

    @property
    def may_fit(self) -> bool:
        """Tell whether it fits if arithmetic says more than there is, by its error."""
        return self.limit is None or (1 - ERROR) * self.memory.total <= self.limit

    def reason(self, sequences: int) -> str | None:
        """Say why a batch of so many sequences is not taken in one piece; None where it is."""
        if self.memory == self.plain:
            return None
        pieces = pieces_text(self.lowering, sequences)
        had = f", and may hold {size(self.limit)}" if self.limit is not None else ""
        return f"{pieces}: in one piece it would hold {size(self.plain.total)}{had}"


@dataclass(frozen=True)
class Lowered:
    """How jobs of a plan are lowered on the devices that each has; ``chosen`` by job."""

    plan: Plan
    devices: JobDevices
    chosen: Mapping[str, Chosen]

    @property
    def largest(self) -> Chosen:
        return max(self.chosen.values(), key=lambda one: one.memory.total)

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
        name, one = max(too_large.items(), key=lambda item: item[1].memory.total)
        run = self._first_run(name)
        others = len(too_large) - 1
        others_text = "does 1 more job" if others == 1 else f"do {others} more jobs"
        more = f" (nor {others_text})" if others else ""
        of = "" if self.devices.kind == "cpu" else f" of each {self.devices.kind}"
        message = (
            f"{run.label} does not fit into memory{more}: it holds at least {size(one.memory.total)}{of} "
            f"({parts_text(one.memory)}; {pieces_text(one.lowering, run.run.batch_sequences)}), "
            f"and {self._what_there_is(one)}"
        )
        return Complaint(message, "execution", _next_step(self.plan, self._jobs[name], self.devices))

    def notes(self) -> Iterator[str]:
        """Say which jobs do not fit, and which are taken in pieces and why."""
        if complaint := self.misfit():
            yield f"DOES NOT FIT: {complaint.message}; {complaint.hint}"
        tight = {name: one for name, one in self.chosen.items() if one.may_fit and not one.fits}
        if tight:
            yield self._tightness(*max(tight.items(), key=lambda item: item[1].memory.total), len(tight) - 1)
        reasons = dict[str, list[str]]()
        for name, one in self.chosen.items():
            run = self._first_run(name)
            if one.fits and (reason := one.reason(run.run.batch_sequences)):
                reasons.setdefault(reason, []).append(run.label)
        for reason, labels in reasons.items():
            more = f" and {len(labels) - 1} more jobs" if len(labels) > 1 else ""
            yield f"{labels[0]}{more} by memory: {reason}"

    def _tightness(self, name: str, one: Chosen, others: int) -> str:
        more = f" (nor may {others} more jobs)" if others else ""
        return (
            f"MAY NOT FIT: {self._first_run(name).label} holds about {size(one.memory.total)}, give or take "
            f"{ERROR:.0%}, and {self._what_there_is(one)}{more}; "
            f"{_next_step(self.plan, self._jobs[name], self.devices)}"
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
    run = plan.by_id[job.run_ids[0]].run
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
        fixed = plan.by_id[job.run_ids[0]].run.fixed
        key = fixed, work.averages
        if key not in by_work:
            by_work[key] = choose(work, _packing(plan.execution, alike[fixed]), devices, limit)
        chosen[job.job_id] = by_work[key]
    return chosen


def _alike(plan: Plan) -> Counter[Fixed]:
    """Count the jobs that can be in one pack, by what is equal in all of them."""
    return Counter(plan.by_id[job.run_ids[0]].run.fixed for job in plan.jobs)


def _packing(asked: Execution, alike: int) -> Execution:
    """Return what is asked for with no more runs side by side than there are alike."""
    if asked.pack == "auto":
        return asked
    devices = asked.mesh.run if asked.mesh else 1
    return asked.model_copy(update={"pack": pack_width(min(asked.pack, alike), devices)})


def _limit(devices: JobDevices, sharing: int) -> int | None:
    """Return the bytes that a program may hold on each device, where so many jobs share a memory."""
    if devices.memory_bytes is None:
        return None
    if devices.kind != "cpu":
        return int(FULL * devices.memory_bytes)
    return max(0, int(FULL * devices.memory_bytes / sharing) - PROCESS_BYTES) // devices.count


def choose(work: Workload, asked: Execution, devices: JobDevices, limit: int | None) -> Chosen:
    """Choose the lowering with the least extra work that fits; where none does, the smallest.

    Args:
        work: what is trained.
        asked: what the spec asks for.
        devices: of the job.
        limit: bytes that a device has for it; None: not known, and the plain one is chosen.
    """
    ordered = candidates(work, asked, devices)
    plain = memory(work, ordered[0])
    smallest = ordered[0], plain
    for lowering in ordered:
        held = memory(work, lowering)
        if limit is None or held.total <= limit:
            return Chosen(lowering, held, plain, limit)
        smallest = min(smallest, (lowering, held), key=lambda one: one[1].total)
    return Chosen(*smallest, plain, limit)


def candidates(work: Workload, asked: Execution, devices: JobDevices) -> list[Lowering]:
    """Return the lowerings that can be chosen, the least extra work first."""
    pack = 1 if asked.pack == "auto" else asked.pack
    lowerings = [
        Lowering(mesh=mesh, micro_batches=pieces, remat=remat, logit_chunks=chunks, pack=pack)
        for mesh in _meshes(work, asked, devices)
        for pieces in _micro_batches(work, asked.micro_batch, mesh)
        for remat in ((asked.remat,) if asked.remat != "auto" else ("none", "block", "full"))
        for chunks in _logit_chunks(work.shape.context)
    ]
    return sorted(lowerings, key=partial(extra_work, work))


def _meshes(work: Workload, asked: Execution, devices: JobDevices) -> list[MeshSizes | None]:
    """Return the mesh that is asked for; else all devices along data, or along fsdp where weights divide."""
    if asked.mesh is not None:
        return [asked.mesh.sizes]
    if devices.count == 1:
        return [None]
    data = data_parallel(work.sequences, devices.count)
    sharded = (MeshSizes(fsdp=n) for n in range(data.data, 1, -1) if work.sequences % n == 0)
    return [data, *[mesh for mesh in sharded if not any(uncut(work.shape, mesh))][:1]]


def _micro_batches(work: Workload, asked: int | Literal["auto"], mesh: MeshSizes | None) -> list[int]:
    if asked != "auto":
        return [work.sequences // min(asked, work.sequences)]
    if work.shape.experts:
        return [1]  # their balance is that of a whole batch
    each = work.sequences // (mesh.batch_parts if mesh else 1)
    return [n for n in range(1, each + 1) if each % n == 0]


def _logit_chunks(context: int) -> list[int]:
    return [n for n in (1, 2, 4, 8, 16, 32) if context % n == 0 and (n == 1 or context // n >= LEAST_CHUNK)]


def extra_work(work: Workload, lowering: Lowering) -> float:
    """Return about how much longer a step takes than in one piece, as a share of it."""
    shape, mesh = work.shape, lowering.mesh or MeshSizes()
    forward = forward_matmul_flops(shape)
    layers = forward_matmul_flops(shape, head=False)
    match lowering.remat:
        case "none":
            again = 0
        case "block":
            again = min(layers, 2 * shape.context * active_parameters(shape).body)  # all but attention
        case "full":
            again = layers
    if lowering.logit_chunks > 1:
        again += forward - layers
    tokens = work.sequences * shape.context / (mesh.batch_parts * lowering.micro_batches)
    gathered = GATHERING * lowering.micro_batches if mesh.fsdp > 1 else 0
    # of equal ones, the fewest pieces of logits
    return again / (3 * forward) + SMALL_BATCH / tokens + gathered + 1e-4 * lowering.logit_chunks


def pieces_text(lowering: Lowering, sequences: int) -> str:
    """Say what a program takes in pieces or computes again, for a batch of so many sequences."""
    parts = list[str]()
    if lowering.mesh is not None:
        axes = [f"{name} {number}" for name, number in vars(lowering.mesh).items() if number > 1]
        parts += [f"mesh {' x '.join(axes)}"] if axes else []
    if lowering.micro_batches > 1:
        parts.append(f"{sequences // lowering.micro_batches} of {sequences} sequences at a time")
    if lowering.remat != "none":
        parts.append(f"remat {lowering.remat}")
    if lowering.logit_chunks > 1:
        parts.append(f"logits in {lowering.logit_chunks} pieces")
    return ", ".join(parts) or "in one piece"


def parts_text(held: Memory) -> str:
    return ", ".join(f"{name} {size(number)}" for name, number in held.parts().items())


def _next_step(plan: Plan, job: PlannedJob, devices: JobDevices) -> str:
    """Name the first thing that would help: fewer workers, what the spec fixes left out, more devices."""
    work, fixed_run = workload(plan, job, devices.kind), plan.by_id[job.run_ids[0]].run.fixed
    asked = _packing(plan.execution, _alike(plan)[fixed_run])
    for workers in range(devices.jobs - 1, 0, -1) if devices.kind == "cpu" else ():
        if choose(work, asked, devices, _limit(devices, workers)).fits:
            return f"use execution.workers: {workers}"
    fixed = {name: getattr(asked, name) for name in ("micro_batch", "remat", "mesh", "pack")}
    given = [name for name, value in fixed.items() if value not in ("auto", None)]
    free = asked.model_copy(update={name: Execution.model_fields[name].default for name in given})
    if given and choose(work, free, devices, _limit(devices, 1)).fits:
        return f"leave out execution.{' and '.join(given)}"
    if devices.kind == "cpu":  # whose forced devices share its memory
        return "use a smaller model, or a machine with more memory"
    return "use a smaller model, more devices for a job (execution.devices), or a machine with more memory"
