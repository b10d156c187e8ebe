"""The memory that jobs have on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from scaling.counts.chips import chip_of
from scaling.plan.asking import ProbeFailed
from scaling.plan.chosen import JobDevices
from scaling.plan.compiled import ask_compiler, cached_answers, questions, unanswered, with_answers
from scaling.plan.lowering import Lowered, lower
from scaling.plan.plan import Plan
from scaling.spec.execution import Execution
from scaling.store.folder import ResultsFolder
from scaling.store.machine import Gpu, gpus
from scaling.sweep.earlier import keep
from scaling.sweep.machine import Layout, allocated_cpus, environment_here, layout, visible_devices


def lowered_here(
    plan: Plan, execution: Execution, results: ResultsFolder, say: Callable[[str], None]
) -> Lowered | None:
    """Choose how the jobs of this machine are laid out that have runs without a record: as they were, where
    they can be. None: there are none, or a trainer of one's own lays them out.

    Args:
        plan: the plan.
        execution: of these jobs.
        results: of the runs.
        say: is told what takes time, and what went wrong.

    Raises:
        UserError: a job does not fit into memory.
    """
    recorded = results.recorded()
    jobs = [job for job in plan.jobs if not recorded >= {*job.run_ids}]
    if plan.command or not jobs:
        return None
    where = layout(execution)
    lowered = keep(as_compiled(lower(plan, job_devices(where), jobs), where, say), results)
    lowered.require_fit()
    return lowered


def as_compiled(lowered: Lowered, where: Layout, say: Callable[[str], None]) -> Lowered:
    """Lay jobs out by what their programs hold as compiled, where arithmetic says that they fill much of
    their devices. What is not known is compiled, in the environment of the jobs."""
    asked = questions(lowered)
    known = cached_answers(asked)
    if missing := unanswered(asked, known):
        programs = "a program" if len(missing) == 1 else f"{len(missing)} programs"
        say(f"compiling {programs} to see the memory that it takes, once ...")
        environment = environment_here(where, where.slots[0])
        environment.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # another job may be running
        try:
            known |= ask_compiler(missing, known, environment)
        except ProbeFailed as error:
            say(f"what jobs hold is by arithmetic alone: {error}")
    return with_answers(lowered, asked, known)


def job_devices(where: Layout) -> JobDevices:
    """Return what each job has: on a CPU the host's memory, which all at a time share; on a GPU its own part
    of what the maker states."""
    memory = host_memory() if where.device == "cpu" else _gpu_memory(where) if where.device == "gpu" else None
    count = where.devices * where.hosts if where.devices else 1
    shared = memory and memory * (where.hosts if where.device == "cpu" else 1)
    return JobDevices(where.device, count, shared, len(where.slots))


def _gpu_memory(where: Layout) -> int | None:
    """Return the bytes of a job on the smallest GPU that jobs may use; None where some chip is not known, or
    is cut into slices (MIG), whose memory its maker does not state."""
    named = {name for slot in where.slots for name in slot.devices} or visible_devices("gpu", os.environ)
    usable = [list(_named(name, gpus(), os.environ)) for name in named] or [gpus()]
    chips = [None if gpu.sliced else chip_of(gpu.model) for those in usable for gpu in those]
    known = [chip.memory_gb for chip in chips if chip]
    if not all(usable) or len(known) < len(chips):
        return None
    return int(min(known) * 1e9 * min(slot.memory or 1.0 for slot in where.slots))


def _named(name: str, there_are: Sequence[Gpu], environ: Mapping[str, str]) -> Iterator[Gpu]:
    """Yield the GPUs that a name of ``CUDA_VISIBLE_DEVICES`` may mean. Numbers go by speed, unless they are
    asked to go by bus: then any may be meant."""
    for number, gpu in enumerate(there_are):
        if name.isdecimal():
            if environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" or number == int(name):
                yield gpu
        elif gpu.uuid.startswith(name):
            yield gpu


def host_memory(root: Path = Path("/sys/fs/cgroup"), environ: Mapping[str, str] = os.environ) -> int:
    """Return the bytes that processes here may use: the machine's, or what a container or a job of Slurm was
    given of them."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_allocated_memory(environ)]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no cgroups, or "max": no limit
            limits.append(int((root / name).read_text()))
    return min(limits)


def _allocated_memory(environ: Mapping[str, str]) -> Iterator[int]:
    """Yield the bytes that Slurm allocated on this node, where it limits them."""
    megabytes = {name: environ.get(f"SLURM_MEM_PER_{name}", "") for name in ("NODE", "CPU")}
    if megabytes["NODE"].isdecimal() and int(megabytes["NODE"]):  # 0: all that there is
        yield int(megabytes["NODE"]) << 20
    if megabytes["CPU"].isdecimal() and (cpus := allocated_cpus(environ)):
        yield int(megabytes["CPU"]) * cpus << 20
