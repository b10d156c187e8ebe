"""What this machine offers to jobs, and the environment each is started in. Never imports jax."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scaling.errors import Complaint, UserError

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


@dataclass(frozen=True)
class Layout:
    """Where jobs run: one slot per concurrent job; its value are the cores it is pinned to, none = unpinned.

    ``threads`` are those of each job on CPU; ``forced`` says that the user named the device: jobs are told.
    """

    device: Device
    slots: tuple[tuple[int, ...], ...]
    threads: int = 1
    forced: bool = False


def layout(workers: int | Literal["auto"], device: Device | Literal["auto"], threads: int = 1) -> Layout:
    """On CPU one pinned single-thread job per core; on an accelerator one job that owns all its devices.

    Raises:
        UserError: the device was asked for and jax has no plugin for it here.
    """
    found = find_device(os.environ) if device == "auto" else device
    if found in _PLUGINS and not any(map(importlib.util.find_spec, _PLUGINS[found])):
        hint = "use device: auto, or install the extra for it (cuda12, cuda13, tpu)"
        problem = f"execution.device = {found}: jax is installed here without support for it"
        raise UserError(Complaint(problem, hint=hint))
    slots = make_slots(workers, found, threads, usable_cores(), cpu_quota())
    return Layout(found, slots, threads, forced=device != "auto")


def make_slots(
    workers: int | Literal["auto"], device: Device, threads: int, cores: tuple[int, ...], quota: float | None
) -> tuple[tuple[int, ...], ...]:
    """The cores of each worker, () when it is not pinned; workers beyond the machine share cores in turn."""
    if device != "cpu":
        return ((),) * (1 if workers == "auto" else workers)
    # Under a quota smaller than the machine other tenants use the same cores: let the kernel choose.
    shared = quota is not None and quota < len(cores)
    offered = math.floor(quota) if shared and quota else len(cores)
    count = max(1, offered // threads) if workers == "auto" else workers
    if shared or not hasattr(os, "sched_setaffinity"):
        return ((),) * count
    ring = [cores[place % len(cores)] for place in range(count * threads)]
    return tuple(tuple(sorted(set(ring[i : i + threads]))) for i in range(0, len(ring), threads))


def usable_cores() -> tuple[int, ...]:
    """Cores this process may use: what taskset, a batch system or a container left of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs' worth of time that the container may use; None when there is no limit."""
    try:
        if (root / "cpu.max").exists():
            limit, period = (root / "cpu.max").read_text().split()
        else:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text()
            period = (root / "cpu/cpu.cfs_period_us").read_text()
        return float(limit) / float(period) if float(limit) > 0 else None
    except (OSError, ValueError):  # no cgroups, or "max": no limit
        return None


def find_device(environ: Mapping[str, str], nodes: Path = Path("/dev")) -> Device:
    """The device jax will choose, from ``JAX_PLATFORMS``, device files and installed plugins."""
    wanted = environ.get("JAX_PLATFORMS", "").split(",")[0].strip()
    if wanted in _PLATFORMS:
        return _PLATFORMS[wanted]
    hidden = environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    for device in ("tpu",) if hidden else ("tpu", "gpu"):
        present = any((nodes / name).exists() for name in _NODES[device])
        if present and any(map(importlib.util.find_spec, _PLUGINS[device])):
            return device
    return "cpu"


def has_glibc() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):
        return False


def launch_environment(base: Mapping[str, str], layout: Layout, *, glibc: bool = False) -> dict[str, str]:
    """``base`` with what a job needs set before its process starts; XLA flags and tunables of the user stay.

    On CPU each job has as many threads as the layout says; with one, XLA's pool is switched off. ``glibc``
    asks malloc for huge pages, which removes most page faults of a training step. ``JAX_PLATFORMS`` is set
    only when the user named a device in the spec (``layout.forced``) and not in the environment.
    """
    environment = dict(base, PYTHONUNBUFFERED="1")
    if layout.forced:
        environment.setdefault("JAX_PLATFORMS", {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}[layout.device])
    if glibc:
        _append(environment, "GLIBC_TUNABLES", "glibc.malloc.hugetlb", "1", ":")
    if layout.device == "cpu":
        if layout.threads == 1:
            _append(environment, "XLA_FLAGS", "--xla_cpu_multi_thread_eigen", "false", " ")
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(layout.threads)
    return environment


def _append(environment: dict[str, str], variable: str, name: str, value: str, separator: str) -> None:
    old = environment.get(variable, "").strip()
    if name not in [item.split("=")[0] for item in old.split(separator)]:
        environment[variable] = f"{old}{separator}{name}={value}" if old else f"{name}={value}"
