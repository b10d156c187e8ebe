"""The memory that jobs have on this machine."""

from __future__ import annotations

import os
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path

from scaling.counts.chips import chip_of
from scaling.plan.lowering import JobDevices, Lowered, lower
from scaling.plan.plan import Plan
from scaling.spec.execution import Execution
from scaling.store.machine import gpu_models
from scaling.sweep.machine import Layout, layout


def lowered_here(plan: Plan, execution: Execution, recorded: AbstractSet[str]) -> Lowered | None:
    """Choose how the jobs of this machine are laid out that have runs without a record. None: there are none,
    or jobs run elsewhere.

    Raises:
        UserError: a job does not fit into memory.
    """
    jobs = [job for job in plan.jobs if not recorded >= {*job.run_ids}]
    if execution.kind != "local" or not jobs:
        return None
    lowered = lower(plan, job_devices(layout(execution)), jobs)
    lowered.require_fit()
    return lowered


def job_devices(where: Layout) -> JobDevices:
    """Return what each job has: on a CPU the host's memory, which all at a time share; on a GPU its own part
    of what the maker states."""
    memory = host_memory() if where.device == "cpu" else _gpu_memory(where) if where.device == "gpu" else None
    count = where.devices * where.hosts if where.devices else 1
    shared = memory and memory * (where.hosts if where.device == "cpu" else 1)
    return JobDevices(where.device, count, shared, len(where.slots))


def _gpu_memory(where: Layout) -> int | None:
    """Return the bytes of a job on the smallest GPU here; None where some chip is not known."""
    chips = [chip_of(model) for model in gpu_models()]
    known = [chip.memory_gb for chip in chips if chip]
    if not known or len(known) < len(chips):
        return None
    return int(min(known) * 1e9 * min(slot.memory or 1.0 for slot in where.slots))


def host_memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that processes here may use: the machine's, or what a container was given of them."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no cgroups, or "max": no limit
            limits.append(int((root / name).read_text()))
    return min(limits)
