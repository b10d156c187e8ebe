"""How many optimizer steps one call of a compiled program takes."""

from __future__ import annotations

import math

CHUNK_FLOPS = 2e10  # about a second of one CPU core: often enough to stop, checkpoint and report
CHUNK_SECONDS = 2.0  # on an accelerator, where each call of a program and each row has a price


def auto_chunk_steps(flops_per_step: int) -> int:
    """Return the steps of one compiled call: a power of two between 1 and 256, near :data:`CHUNK_FLOPS`."""
    steps = round(CHUNK_FLOPS / flops_per_step)
    return 1 << max(0, min(8, steps.bit_length() - 1))


def timed_chunk_steps(seconds_per_step: float) -> int:
    """Return the steps of one compiled call on an accelerator: a power of two between 1 and 1024, at most
    :data:`CHUNK_SECONDS` where that is more than one step."""
    return 1 << max(0, min(10, math.floor(math.log2(CHUNK_SECONDS / seconds_per_step))))
