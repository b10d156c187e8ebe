"""What a measurement of speed depends on: the key of what is kept of it."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from scaling.run import SEMANTICS

LIBRARIES = ("jax", "jaxlib", "flax", "optax")


def machine() -> dict[str, Any]:
    """Return what a measurement depends on, found without importing jax."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "accelerators": gpu_models(),
        "platforms": os.environ.get("JAX_PLATFORMS", "default"),
        "versions": {name: _version(name) for name in LIBRARIES},
        "semantics": SEMANTICS,
    }


def gpu_models() -> list[str]:
    """Return the names of NVIDIA GPUs, as their driver gives them."""
    gpus = sorted(p.read_text() for p in Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return [model.strip() for text in gpus for model in re.findall(r"Model.*?:(.*)", text)]


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        if model := re.search(r"model name.*?:(.*)", Path("/proc/cpuinfo").read_text()):
            return model[1].strip()
    return f"{platform.machine()} {platform.processor()}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"
