"""The memory that jobs have on this machine."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from scaling.plan.lowering import JobDevices
from scaling.sweep.machine import Layout


def job_devices(where: Layout) -> JobDevices:
    """Return what each job has: on a CPU the host's memory, which all at a time share."""
    if where.device == "cpu":
        return JobDevices("cpu", where.devices or 1, host_memory(), len(where.slots))
    return JobDevices(where.device, where.devices or 1, None, len(where.slots))


def host_memory(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the bytes that processes here may use: the machine's, or what a container was given of them."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no cgroups, or "max": no limit
            limits.append(int((root / name).read_text()))
    return min(limits)
