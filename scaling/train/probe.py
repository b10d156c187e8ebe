"""``python -m scaling.train.probe``: seconds per step and to compile, measured, for runs given as JSON.

Reads ``{"steps": [{"run": ..., "lowering": ...}, ...]}`` on standard input, prints one JSON object.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from pydantic import TypeAdapter

from scaling.counts.lowering import Lowering
from scaling.run import Run, auto_chunk_steps
from scaling.train.environment import describe, require_precision, use_compilation_cache
from scaling.train.kernels import attention_kernel
from scaling.train.loop import ChunkInput, advance
from scaling.train.program import Blueprint, make_program

MEASURED_SECONDS = 1.0


def measure(run: Run, lowering: Lowering) -> dict[str, Any]:
    """Measure the median seconds of a step over whole chunks, on random tokens."""
    require_precision(run.precision)
    lowering = replace(lowering, attention=attention_kernel(run.shape, run.precision), pack=1)
    program = make_program(Blueprint.of(run, auto_chunk_steps(run.flops_per_step), lowering=lowering))
    size = program.blueprint.chunk_steps
    dims = (size, run.batch_sequences, run.shape.context + 1)
    windows = np.random.default_rng(0).integers(0, min(256, run.shape.vocab_size), dims, np.int32)

    state, times = program.start(run.seed), list[float]()
    deadline = time.perf_counter() + MEASURED_SECONDS
    for first in range(0, 1000 * size, size):
        began = time.perf_counter()
        for _, latest, metrics in advance(program, state, run, [ChunkInput(first, size, windows)]):
            state = latest
            jax.block_until_ready(metrics)
        times.append((time.perf_counter() - began) / size)
        if time.perf_counter() > deadline and len(times) > 1:
            break
    return {
        "flops_per_step": run.flops_per_step,
        "seconds_per_step": float(np.median(times[1:])),
        "compile_seconds": program.compile_seconds,
    }


def main() -> None:
    use_compilation_cache()
    request = json.load(sys.stdin)
    lowerings = TypeAdapter(Lowering)
    points = [
        measure(Run.model_validate(step["run"]), lowerings.validate_python(step["lowering"]))
        for step in request["steps"]
    ]
    json.dump({"device": describe().device, "points": points}, sys.stdout)


if __name__ == "__main__":
    main()
