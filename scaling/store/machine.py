"""What was found out about this machine, and what it depends on: answers are kept from one launch to the
next."""

from __future__ import annotations

import contextlib
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from scaling.canonical import short_hash
from scaling.files import cache_dir, write_json
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


def answer_file(question: Mapping[str, Any]) -> Path:
    """Return where the answer to a question about this machine is kept: by all that it depends on."""
    return cache_dir() / "probes" / f"{short_hash({**question, 'machine': machine()})}.json"


def keep_answer(file: Path, answer: Mapping[str, Any]) -> None:
    """Keep an answer in its :func:`answer_file`; where that cannot be written it is asked for again, which is
    only slow."""
    with contextlib.suppress(OSError):
        write_json(file, {"machine": machine(), **answer}, durable=False)


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA GPU, as its driver tells of it; ``sliced`` into instances (MIG), of which jax sees one."""

    model: str
    uuid: str
    sliced: bool = False


def gpus(driver: Path = Path("/proc/driver/nvidia")) -> list[Gpu]:
    """Return the NVIDIA GPUs of this machine, by their places on the bus."""
    texts = [path.read_text() for path in sorted(driver.glob("gpus/*/information"))]
    facts = [dict(re.findall(r"^(.+?):[ \t]*(.*?)[ \t]*$", text, re.MULTILINE)) for text in texts]
    return [
        Gpu(
            one["Model"],
            one.get("GPU UUID", ""),
            any(driver.glob(f"capabilities/gpu{one.get('Device Minor')}/mig/gi*")),
        )
        for one in facts
        if "Model" in one
    ]


def gpu_models() -> list[str]:
    return sorted(gpu.model for gpu in gpus())


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
