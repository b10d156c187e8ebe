"""``python -m scaling.train.probe``: seconds per step and to compile, measured, for runs given as JSON; on an
accelerator, how many of each are best trained side by side.

Reads ``{"steps": [{"run": ..., "lowering": ..., "most": ...}, ...]}`` on standard input, where the latter are
the most that may be in a pack of such runs; prints one JSON object.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from pydantic import TypeAdapter

from scaling.chunks import auto_chunk_steps
from scaling.counts.lowering import Lowering
from scaling.run import Run
from scaling.store.failure import is_exhausted
from scaling.train.environment import describe, require_precision, use_compilation_cache
from scaling.train.kernels import attention_kernel
from scaling.train.lanes import Lanes
from scaling.train.loop import ChunkInput
from scaling.train.pack import Asked
from scaling.train.program import Blueprint, Program, WindowArray, make_program
from scaling.train.sharding import put, sharding

MEASURED_SECONDS = 1.0
LONG_SECONDS = 10.0  # of a call of one run: it is not made again
PACK_SECONDS = 4.0  # of a call of a pack on a CPU, by that of one run: wider ones are not measured
CHUNK_FLOPS, LONGEST_CHUNK = 1e13, 64  # of a call on an accelerator: long enough that starting it is little
GAIN = 1.05  # in tokens a second, for which twice as many runs are trained side by side


def measure(run: Run, lowering: Lowering, most: int = 1) -> dict[str, Any]:
    """Measure the median seconds of a step over whole chunks, on random tokens, and those of a pack: the one
    of ``lowering``, or where that has one run the best of at most ``most``."""
    require_precision(run.precision)
    on_cpu = jax.default_backend() == "cpu"
    if on_cpu:
        chunk, most = auto_chunk_steps(run.flops_per_step), 1
    else:
        chunk = max(1, min(LONGEST_CHUNK, int(CHUNK_FLOPS / run.flops_per_step)))
    alone = replace(lowering, attention=attention_kernel(run.shape, run.precision), pack=1)
    program = make_program(Blueprint.of(run, chunk, lowering=alone))
    size = program.blueprint.chunk_steps
    dims = (size, run.batch_sequences, run.shape.context + 1)
    windows: WindowArray = np.random.default_rng(0).integers(
        0, min(256, run.shape.vocab_size), dims, np.int32
    )

    if not on_cpu:
        windows = put(windows, sharding(program.mesh, None, "batch"))
    seconds = seconds_per_step(program, run, windows, 1)
    given = lowering.pack if program.mesh.size == 1 else 1
    widest = int(PACK_SECONDS / (seconds * size)) if on_cpu else None
    measured = partial(seconds_per_step, program, run, windows)
    pack, packed = best_pack(seconds, most, measured, given, widest)
    return {
        "flops_per_step": run.flops_per_step,
        "seconds_per_step": seconds,
        "compile_seconds": program.compile_seconds,
        "pack": pack,
        "pack_seconds_per_step": packed,
    }


def seconds_per_step(program: Program, run: Run, windows: WindowArray, width: int) -> float:
    """Measure the median seconds of a step of so many runs side by side.

    Args:
        program: of the run.
        run: whose recipe all have.
        windows: of a chunk.
        width: runs.
    """
    lanes, size = Lanes(program), program.blueprint.chunk_steps
    for _ in range(width):
        lanes.join().put(program.start(run.seed))
    times, deadline = list[float](), math.inf
    for first in range(0, 1000 * size, size):
        began = time.perf_counter()
        asked = Asked(run, ChunkInput(first, size, windows))
        for fetch in lanes.train(dict.fromkeys(lanes.lanes, asked)).values():
            fetch()
        times.append((time.perf_counter() - began) / size)
        if width == 1 and times[0] * size > LONG_SECONDS:  # such a call has not compiled: the program is
            return times[0]
        if first == 0:  # it may have compiled
            deadline = time.perf_counter() + MEASURED_SECONDS
        if time.perf_counter() > deadline and len(times) > 1:
            break
    return float(np.median(times[1:]))


def best_pack(
    alone: float, most: int, seconds: Callable[[int], float], given: int = 1, widest: int | None = None
) -> tuple[int, float]:
    """Return how many runs are best trained side by side, and the seconds of their steps: twice as many
    again, as long as that trains :data:`GAIN` times as much in the same time and there is memory.

    Args:
        alone: seconds of a step of one run.
        most: that there are.
        seconds: measures those of a step of so many.
        given: how many are trained side by side in any case, where that is more than one.
        widest: how many of these are measured at most, left out: all. More are on the line through one and
            so many; where even two are not measured, they gain nothing.
    """
    if given > 1:
        width = given if widest is None else min(given, widest)
        if width < 2:
            return given, given * alone
        now = _where_it_fits(seconds, width)
        return (1, alone) if now is None else (given, alone + (now - alone) * (given - 1) / (width - 1))
    best, before = 1, alone
    while 2 * best <= most and not _half_full():
        now = _where_it_fits(seconds, 2 * best)
        if now is None or now * GAIN > 2 * before:
            break
        best, before = 2 * best, now
    return best, before


def _where_it_fits(seconds: Callable[[int], float], width: int) -> float | None:
    """Measure the seconds of a step of so many runs; None where memory is exhausted."""
    try:
        return seconds(width)
    except jax.errors.JaxRuntimeError as error:
        if not is_exhausted(str(error)):
            raise
        return None


def _half_full() -> bool:
    """Tell whether a device has been half full: twice as many runs would fill it."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return "bytes_limit" in stats and stats["peak_bytes_in_use"] > stats["bytes_limit"] / 2


def main() -> None:
    use_compilation_cache()
    request = json.load(sys.stdin)
    lowerings = TypeAdapter(Lowering)
    points = [
        measure(Run.model_validate(step["run"]), lowerings.validate_python(step["lowering"]), step["most"])
        for step in request["steps"]
    ]
    json.dump({"device": describe().device, "points": points}, sys.stdout)


if __name__ == "__main__":
    main()
