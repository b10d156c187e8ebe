"""What ``scaling doctor`` looks at."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scaling import __version__
from scaling.corpora.shipped import SHIPPED
from scaling.counts.chips import chip_of
from scaling.errors import UserError
from scaling.files import cache_dir
from scaling.own_analysis import require_own_analysis
from scaling.spec.execution import Execution
from scaling.store.machine import gpu_models
from scaling.sweep.machine import find_device, has_glibc, layout, usable_cores
from scaling.sweep.slurm.cluster import accounted_rows, call

LIBRARIES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "pandas", "pydantic"),
    *("ruamel.yaml", "seaborn", "pyarrow"),
)
LOW_DISK_BYTES = 1e9
SLURM_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "srun", "sinfo")


@dataclass(frozen=True)
class Check:
    """``problem`` is None when all is well, else what is wrong and what to do."""

    name: str
    found: str
    problem: str | None = None


@dataclass(frozen=True)
class Examination:
    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.problem)

    @property
    def text(self) -> str:
        lines = [
            f"{'PROBLEM' if c.problem else 'ok':8}{c.name}: {c.found}"
            + (f"; {c.problem}" if c.problem else "")
            for c in self.checks
        ]
        end = f"{len(self.problems)} problems" if self.problems else "no problems found"
        return "\n".join([*lines, end])

    def to_json(self) -> dict[str, Any]:
        return {"checks": [asdict(check) for check in self.checks], "problems": len(self.problems)}


def examine() -> Examination:
    """Every check, none of which imports jax."""
    checks = [_python(), *map(_library, LIBRARIES), _device(), _cache(), _analysis(), _slurm()]
    checks.append(Check("corpora", ", ".join(sorted(SHIPPED))))
    return Examination(tuple(checks))


def _python() -> Check:
    running = f"{sys.version.split()[0]} on {sys.platform}, scaling-laws {__version__}"
    old = sys.version_info < (3, 11)
    return Check("python", running, "needs Python >= 3.11" if old else None)


def _library(name: str) -> Check:
    try:
        return Check(name, version(name))
    except PackageNotFoundError:
        return Check(name, "missing", "install scaling-laws again")


def _device() -> Check:
    device = find_device(os.environ)
    slots = layout(Execution()).slots
    how = "pinned to a core each" if all(slot.cores for slot in slots) else "not pinned"
    malloc = ", huge pages for malloc" if has_glibc() else ""
    gpus = f" ({_gpus()})" if device == "gpu" else ""
    return Check(
        "device", f"{device}{gpus}, {len(usable_cores())} cores; {len(slots)} jobs at a time, {how}{malloc}"
    )


def _gpus() -> str:
    """Name the GPUs, with the memory that their maker states."""
    texts = list[str]()
    for model, number in Counter(gpu_models()).items():
        chip = chip_of(model)
        texts.append(f"{number} x {model}" + (f", {chip.memory_gb} GB each" if chip else ""))
    return "; ".join(texts) or "of which the driver says nothing"


def _cache() -> Check:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        hint = f"cannot be written ({error.strerror}): set SCALING_CACHE to a folder that can"
        return Check("cache", str(folder), hint)
    free, kept = shutil.disk_usage(folder).free, _bytes_in(folder)
    low = "little room: free some, or set SCALING_CACHE" if free < LOW_DISK_BYTES else None
    return Check("cache", f"{folder} ({kept / 1e6:.0f} MB kept, {free / 1e9:.0f} GB free)", low)


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _slurm() -> Check:
    """Say whether studies can be submitted to Slurm from here; no machine must."""
    missing = [name for name in SLURM_COMMANDS if shutil.which(name) is None]
    if len(missing) == len(SLURM_COMMANDS):
        return Check("slurm", "no commands here (execution.kind: slurm needs them)")
    try:
        found = call("sbatch", "--version").strip()
        call("sinfo", "--noheader")
    except UserError as error:
        return Check("slurm", "commands are here", str(error))
    accounting = "with sacct" if accounted_rows(["none"]) is not None else "without accounting"
    try:
        submitit = f"submitit {version('submitit')}"
    except PackageNotFoundError:
        submitit = "no submitit, so it cannot be submitted to (pip install 'scaling-laws[slurm]')"
    problem = f"there is no {', '.join(missing)}" if missing else None
    return Check("slurm", f"{found}, {accounting}, {submitit}", problem)


def _analysis() -> Check:
    require_own_analysis()
    return Check("analysis", "bundled package")
