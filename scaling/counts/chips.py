"""What makers state of their accelerators: FLOP/s of dense matrix products, and memory."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Chip:
    """One device of jax.

    Attributes:
        bfloat16: FLOP/s of products of bfloat16 summed in float32, without sparsity.
        tf32: of TF32; None: it has none.
        float32: of float32.
        memory_gb: gigabytes (10^9) of its own memory, as stated.
    """

    bfloat16: float
    tf32: float | None
    float32: float
    memory_gb: int

    def peak_flops(self, precision: str) -> float | None:
        """Return FLOP/s of products in a precision of a recipe."""
        return {"bfloat16": self.bfloat16, "tf32": self.tf32, "float32": self.float32}[precision]


def _tpu(bfloat16: float, memory_gb: int) -> Chip:
    return Chip(bfloat16, None, bfloat16 / 6, memory_gb)  # a product of float32 is six of bfloat16


# By the first words of jax's `device_kind`, the longest that fit. NVIDIA: data sheets, SXM unless the name
# says otherwise, figures with sparsity halved. TPU: cloud.google.com/tpu/docs, by chip; of v2 and v3 a device
# is one of two cores.
CHIPS = {
    "NVIDIA B200": Chip(2.25e15, 1.125e15, 75e12, 180),
    "NVIDIA H200": Chip(989.4e12, 494.7e12, 66.9e12, 141),
    "NVIDIA H100": Chip(989.4e12, 494.7e12, 66.9e12, 80),
    "NVIDIA H100 NVL": Chip(835e12, 417.5e12, 60e12, 94),
    "NVIDIA H100 PCIe": Chip(756e12, 378e12, 51e12, 80),
    "NVIDIA A100": Chip(312e12, 156e12, 19.5e12, 40),
    "NVIDIA A100-SXM4-80GB": Chip(312e12, 156e12, 19.5e12, 80),
    "NVIDIA A100 80GB PCIe": Chip(312e12, 156e12, 19.5e12, 80),
    "NVIDIA A10": Chip(125e12, 62.5e12, 31.2e12, 24),
    "NVIDIA A10G": Chip(70e12, 35e12, 31.5e12, 24),
    "NVIDIA L4": Chip(121e12, 60e12, 30.3e12, 24),
    "NVIDIA L40S": Chip(362e12, 183e12, 91.6e12, 48),
    "NVIDIA GeForce RTX 3090": Chip(71e12, 35.6e12, 35.6e12, 24),
    "NVIDIA GeForce RTX 4090": Chip(165.2e12, 82.6e12, 82.6e12, 24),
    "TPU v2": _tpu(22.5e12, 8),
    "TPU v3": _tpu(61.5e12, 16),
    "TPU v4": _tpu(275e12, 32),
    "TPU v5": _tpu(459e12, 95),
    "TPU v5p": _tpu(459e12, 95),
    "TPU v5 lite": _tpu(197e12, 16),
    "TPU v5e": _tpu(197e12, 16),
    "TPU v6e": _tpu(918e12, 32),
    "TPU v6 lite": _tpu(918e12, 32),
}


def chip_of(device_kind: str) -> Chip | None:
    """Return the chip of a device; None where this table has none."""
    names = [name for name in CHIPS if re.match(rf"{re.escape(name)}\b", device_kind)]
    return CHIPS[max(names, key=len)] if names else None
