"""In what precision matrices are multiplied, and which devices can do it."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "tf32", "bfloat16"]
AMPERE = 8.0  # compute capability of the first NVIDIA GPUs with TF32 and bfloat16


def unmet(precision: Precision, device: str, capability: float | None = None) -> str | None:
    """Say what a precision takes that a device does not have; None where it has all.

    Args:
        precision: asked for.
        device: cpu, gpu or tpu.
        capability: compute capability of an NVIDIA GPU, where it is one and known.
    """
    if precision == "tf32" and device != "gpu":
        return "tf32 takes a GPU"
    if precision != "float32" and capability is not None and capability < AMPERE:
        return f"{precision} takes an NVIDIA GPU of compute capability {AMPERE} or more"
    return None
