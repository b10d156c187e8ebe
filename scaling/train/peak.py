"""How fast and how full devices are: the FLOP/s that they could do, and the most memory that was in use."""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp

from scaling.counts.chips import chip_of
from scaling.recipe.precision import Precision
from scaling.store.machine import answer_file, keep_answer

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
SIZE, TRIES = 1024, 10  # of the product that is measured


def peak_flops(precision: Precision, threads: int) -> float | None:
    """Return the FLOP/s that one of this process's devices could do; None where its chip is not known.

    Of an accelerator it is what its maker states; of a CPU, what a large product of matrices gets from each
    of ``threads`` cores, measured once on a machine.
    """
    device = jax.local_devices()[0]
    if device.platform == "cpu":
        return threads * _product_flops()
    chip = chip_of(device.device_kind)
    return chip.peak_flops(precision) if chip else None


class PeakMemory:
    """The most bytes in use since a job began."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was in use before. Only Linux forgets, of the process: elsewhere what is not more than
        that is not known."""
        self._before = 0
        try:
            if jax.default_backend() != "cpu":
                raise OSError("a device does not forget")
            CLEAR.write_text("5")
        except OSError:
            self._before = peak_memory() or 0

    def most(self) -> int | None:
        most = peak_memory()
        return most if most and most > self._before else None


def peak_memory() -> int | None:
    """Return the bytes in use of this process's fullest device at the time when they were most; of a CPU,
    those of the process."""
    if jax.default_backend() == "cpu":
        with suppress(OSError):
            (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
            return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    stats = [device.memory_stats() for device in jax.local_devices()]
    return max((of["peak_bytes_in_use"] for of in stats if of), default=None)


@cache
def _product_flops() -> float:
    """Return float32 FLOPs of a CPU second: the most of some tries, which what else runs here disturbs
    least."""
    file = answer_file({"kind": "product"})
    with suppress(OSError, ValueError, KeyError, TypeError):  # absent or damaged: measure again
        return float(json.loads(file.read_bytes())["flops_per_cpu_second"])
    matrix, multiply = jnp.ones((SIZE, SIZE)), jax.jit(jnp.dot)
    multiply(matrix, matrix).block_until_ready()
    seconds = list[float]()
    for _ in range(TRIES):
        began = time.process_time()
        multiply(matrix, matrix).block_until_ready()
        seconds.append(time.process_time() - began)
    flops = 2 * SIZE**3 / min(seconds)
    keep_answer(file, {"flops_per_cpu_second": flops})
    return flops
