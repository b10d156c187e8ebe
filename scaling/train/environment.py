"""What a job was trained with: provenance, and programs kept across processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jax

from scaling.errors import Complaint, UserError
from scaling.files import cache_dir
from scaling.recipe.precision import Precision, unmet
from scaling.store.records import Environment

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def use_compilation_cache() -> None:
    """Keep compiled programs across processes: a relaunch or a probe has already paid for them."""
    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def describe() -> Environment:
    """Return the provenance: device, library versions, commit of this code (None outside a git checkout)."""
    devices = jax.local_devices()
    return Environment(
        device=devices[0].device_kind,
        platform=devices[0].platform,
        devices=jax.device_count(),  # of all hosts
        python=sys.version.split()[0],
        versions={name: version(name) for name in LIBRARIES},
        git_commit=_git_commit(),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        cpu_affinity=tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None,
    )


def require_precision(precision: Precision) -> None:
    """Raises UserError: the device cannot multiply matrices so."""
    device = jax.local_devices()[0]
    nvidia = device.platform == "gpu" and re.fullmatch(r"\d+\.\d+", device.compute_capability)
    needed = unmet(precision, device.platform, float(nvidia[0]) if nvidia else None)
    if needed:
        message = f"recipe.precision: {needed}, and this is a {device.device_kind}"
        raise UserError(Complaint(message, hint="train on another device, or use another precision"))


def _git_commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
