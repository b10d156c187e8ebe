"""What this machine offers to jobs, and the environment each is started in. Never imports jax."""

from __future__ import annotations

import importlib.util
import math
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scaling.errors import Complaint, UserError
from scaling.spec.execution import Execution

Device = Literal["cpu", "gpu", "tpu"]
_PLATFORMS: dict[str, Device] = {"cpu": "cpu", "cuda": "gpu", "gpu": "gpu", "rocm": "gpu", "tpu": "tpu"}
_PLUGINS: dict[Device, tuple[str, ...]] = {
    "gpu": ("jax_cuda12_plugin", "jax_cuda13_plugin", "jax_rocm60_plugin", "jax_rocm7_plugin"),
    "tpu": ("libtpu",),
}
_NODES: dict[Device, tuple[str, ...]] = {
    "gpu": ("nvidiactl", "nvidia0", "dxg", "kfd"),
    "tpu": ("accel0", "vfio"),
}


_VISIBLE: dict[Device, tuple[str, str]] = {  # environment variable, names of device files
    "gpu": ("CUDA_VISIBLE_DEVICES", r"nvidia(\d+)"),
    "tpu": ("TPU_VISIBLE_CHIPS", r"(?:accel|vfio/)(\d+)"),
}
# Of the memory of an accelerator: for one job, for all that share it; the rest is the system's.
WHOLE_MEMORY, SHARED_MEMORY = 0.95, 0.9
HOST_DEVICES = "--xla_force_host_platform_device_count"
# A process may own one, two or four chips of a TPU host: their arrangement is that of the host.
TPU_BOUNDS = {1: "1,1,1", 2: "1,2,1", 4: "2,2,1"}


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time: the cores it is pinned to and the devices it sees; none = all of them.

    ``memory`` is its fraction of the memory of each device, where jobs share them.
    """

    cores: tuple[int, ...] = ()
    devices: tuple[str, ...] = ()
    memory: float | None = None


@dataclass(frozen=True)
class Layout:
    """Where jobs run: one slot per concurrent job.

    Attributes:
        device: what jobs train on.
        slots: their places.
        threads: of each job on CPU, of each of its devices where there are several.
        devices: of each job on a host; on CPU forced host devices. None: not known before jax has looked.
        forced: whether the user named the device; jobs are started with it.
        hosts: that train each job together, alike.
    """

    device: Device
    slots: tuple[Slot, ...]
    threads: int = 1
    devices: int | None = 1
    forced: bool = False
    hosts: int = 1


def layout(execution: Execution) -> Layout:
    """Give each core one pinned single-thread job; on an accelerator, give one job all devices, or jobs equal
    shares of them, or as many as ``execution`` says.

    Raises:
        UserError: jax has no plugin here for the device asked for, there are not so many devices, or chips
            cannot be split so.
    """
    device = find_device(os.environ) if execution.device == "auto" else execution.device
    if device in _PLUGINS and not any(map(importlib.util.find_spec, _PLUGINS[device])):
        hint = "use device: auto, or install the extra for it (cuda12, cuda13, tpu)"
        problem = f"execution.device = {device}: jax is installed here without support for it"
        raise UserError(Complaint(problem, hint=hint))
    forced, threads = execution.device != "auto", execution.threads
    workers = execution.workers if execution.hosts == 1 else 1
    if device == "cpu":
        devices = execution.host_devices or 1
        limits = [cpus for cpus in (cpu_quota(), allocated_cpus(os.environ)) if cpus is not None]
        slots = cpu_slots(workers, threads * devices, usable_cores(), min(limits, default=None))
        if execution.hosts > 1:  # a launcher may start processes elsewhere
            slots = (Slot(),)
        return Layout(device, slots, threads, devices, forced, execution.hosts)
    visible = visible_devices(device, os.environ)
    slots = device_slots(workers, device, visible, execution.host_devices)
    each = len(slots[0].devices or visible) or None
    return Layout(device, slots, threads, each, forced, execution.hosts)


def cpu_slots(
    workers: int | Literal["auto"], threads: int, cores: tuple[int, ...], quota: float | None
) -> tuple[Slot, ...]:
    """Assign cores to workers, none when they are not pinned; workers beyond the cores share them in turn.

    Args:
        workers: how many, or one for each core.
        threads: of each worker.
        cores: those this process may use.
        quota: CPUs' worth of time that it may use; None: no limit.
    """
    # Under a quota smaller than what is usable other tenants use the same cores: let the kernel choose.
    shared = quota is not None and quota < len(cores)
    offered = math.floor(quota) if shared and quota else len(cores)
    count = max(1, offered // threads) if workers == "auto" else workers
    if shared or not hasattr(os, "sched_setaffinity"):
        return (Slot(),) * count
    ring = [cores[place % len(cores)] for place in range(count * threads)]
    return tuple(Slot(tuple(sorted(set(ring[i : i + threads])))) for i in range(0, len(ring), threads))


def device_slots(
    workers: int | Literal["auto"], device: Device, devices: tuple[str, ...], each: int | None = None
) -> tuple[Slot, ...]:
    """Give jobs sets of devices: one job all that jax sees, several equal shares, or ``each`` so many. Jobs
    beyond the sets share them in turn, each with a part of their memory.

    Args:
        workers: jobs at a time, or as many as there are sets.
        device: their kind.
        devices: their names; none where they are not known: then all jobs share them all.
        each: devices of a job.

    Raises:
        UserError: there are not so many devices, or chips of a TPU cannot be split so.
    """
    if each is not None and devices and each > len(devices):
        problem = f"jobs of {each} devices (execution.devices or mesh): this machine has {len(devices)}"
        hint = "use a smaller mesh, or leave both out: then jobs are laid out over what there is"
        raise UserError(Complaint(problem, hint=hint))
    if each is None and workers in ("auto", 1):
        return (Slot(),)
    size = each or max(1, len(devices) // (1 if workers == "auto" else workers))
    sets = [devices[i : i + size] for i in range(0, len(devices) - size + 1, size)] or [()]
    count = len(sets) if workers == "auto" else workers
    if device == "tpu" and devices and size != len(devices) and (size not in TPU_BOUNDS or count > len(sets)):
        problem = f"{count} jobs of {size} TPU chips: {len(devices)} chips cannot be split so"
        raise UserError(Complaint(problem, hint="each worker can have 1, 2 or 4 chips of its own"))
    sharing = [len(range(i % len(sets), count, len(sets))) for i in range(count)]
    return tuple(
        Slot(devices=sets[i % len(sets)], memory=round(SHARED_MEMORY / jobs, 3) if jobs > 1 else None)
        for i, jobs in enumerate(sharing)
    )


def visible_devices(
    device: Device, environ: Mapping[str, str], nodes: Path = Path("/dev")
) -> tuple[str, ...]:
    """Return the names of the devices that jobs may use: those the environment leaves, else one a device
    file."""
    variable, pattern = _VISIBLE[device]
    if variable in environ:
        return tuple(name.strip() for name in environ[variable].split(",") if name.strip())
    names = [path.relative_to(nodes).as_posix() for path in (*nodes.glob("*"), *nodes.glob("vfio/*"))]
    numbers = sorted(int(match[1]) for name in names if (match := re.fullmatch(pattern, name)))
    return tuple(map(str, numbers))


def usable_cores() -> tuple[int, ...]:
    """Return the cores this process may use: what taskset, a batch system or a container left of the
    machine."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the CPUs' worth of time that the container may use; None when there is no limit."""
    try:
        if (root / "cpu.max").exists():
            limit, period = (root / "cpu.max").read_text().split()
        else:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        return float(limit) / float(period) if float(limit) > 0 else None
    except (OSError, ValueError):  # no cgroups, or "max": no limit
        return None


def allocated_cpus(environ: Mapping[str, str]) -> int | None:
    """Return the CPUs that Slurm allocated on this node; None outside of its jobs. Not every cluster keeps
    processes to them."""
    if "SLURM_JOB_ID" not in environ:
        return None
    tasks = re.match(r"\d+", environ.get("SLURM_TASKS_PER_NODE", "1"))
    if tasks and (each := environ.get("SLURM_CPUS_PER_TASK", "")).isdecimal():
        return int(tasks[0]) * int(each)
    cpus = environ.get("SLURM_CPUS_ON_NODE", "")
    return int(cpus) if cpus.isdecimal() else None


def find_device(environ: Mapping[str, str], nodes: Path = Path("/dev")) -> Device:
    """Return the device jax will choose, from ``JAX_PLATFORMS``, device files and installed plugins."""
    wanted = environ.get("JAX_PLATFORMS", "").split(",")[0].strip()
    if wanted in _PLATFORMS:
        return _PLATFORMS[wanted]
    hidden = environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1", "NoDevFiles")
    for device in ("tpu",) if hidden else ("tpu", "gpu"):
        present = any((nodes / name).exists() for name in _NODES[device])
        if present and any(map(importlib.util.find_spec, _PLUGINS[device])):
            return device
    return "cpu"


def has_glibc() -> bool:
    return platform.libc_ver()[0] == "glibc"


def environment_here(layout: Layout, slot: Slot | None = None) -> dict[str, str]:
    """Return the environment in which a job, or what measures it, is started from this process."""
    return launch_environment(os.environ, layout, slot, glibc=has_glibc())


def launch_environment(
    base: Mapping[str, str], layout: Layout, slot: Slot | None = None, *, glibc: bool = False
) -> dict[str, str]:
    """Add to ``base`` what a job needs set before its process starts; XLA flags and tunables of the user
    stay.

    On CPU each job has as many threads as the layout says; with one, XLA's pool is switched off; several
    devices are forced host devices. ``glibc``
    asks malloc for huge pages, which removes most page faults of a training step. ``JAX_PLATFORMS`` is set
    only when the user named a device in the spec (``layout.forced``) and not in the environment.

    Args:
        base: the environment of the driver.
        layout: where jobs run.
        slot: the job's place; its devices are the only ones that the job sees.
        glibc: whether the C library takes glibc's tunables.
    """
    environment = dict(base, PYTHONUNBUFFERED="1")
    if layout.forced:
        environment.setdefault("JAX_PLATFORMS", {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}[layout.device])
    if glibc:
        _append(environment, "GLIBC_TUNABLES", "glibc.malloc.hugetlb", "1", ":")
    if layout.device == "cpu":
        if layout.threads == 1:
            _append(environment, "XLA_FLAGS", "--xla_cpu_multi_thread_eigen", "false", " ")
        if layout.devices not in (None, 1):
            _append(environment, "XLA_FLAGS", HOST_DEVICES, str(layout.devices), " ")
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(layout.threads)
    elif slot is not None:
        environment |= _device_environment(layout.device, slot, environment)
    return environment


def _device_environment(device: Device, slot: Slot, base: Mapping[str, str]) -> dict[str, str]:
    environment = dict[str, str]()
    if slot.devices:
        environment[_VISIBLE[device][0]] = ",".join(slot.devices)
        if device == "tpu":
            bounds = TPU_BOUNDS[len(slot.devices)]
            environment |= {"TPU_CHIPS_PER_PROCESS_BOUNDS": bounds, "TPU_PROCESS_BOUNDS": "1,1,1"}
    memory = "XLA_PYTHON_CLIENT_MEM_FRACTION"
    if device == "gpu" and memory not in base:  # else jax takes three quarters
        environment[memory] = str(slot.memory or WHOLE_MEMORY)
    return environment


def _append(environment: dict[str, str], variable: str, name: str, value: str, separator: str) -> None:
    old = environment.get(variable, "").strip()
    if name not in [item.split("=")[0] for item in old.split(separator)]:
        environment[variable] = f"{old}{separator}{name}={value}" if old else f"{name}={value}"
