"""Layers scanned or unrolled, by depth and width: CPU seconds to compile, and of a step's loss and gradients.

    taskset -c 0 python benchmarks/layers.py [--rounds 7]

A scan is compiled once for all layers; unrolled, each layer's arrays stay where they are made and no slice
of the stacked weights is copied. Both take turns; of a step the median of its rounds is shown, the first
dropped. Unrolling pays after the steps in the last column.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scaling.counts.shape import Shape
from scaling.model.roles import abstract_params, init_params
from scaling.model.transformer import make_model
from scaling.train.program import compiled

CASES = [(48, depth) for depth in (2, 4, 8, 16, 32)] + [(256, depth) for depth in (2, 4, 8, 16)]
CONTEXT, SEQUENCES = 128, 8
WAYS = {"scanned": 1, "unrolled": True}


def compile_step(shape: Shape, unroll: int | bool) -> tuple[Any, float]:
    """Return the program of loss and gradients, and the CPU seconds that compiling it took."""
    began = time.process_time()
    gradients = jax.jit(jax.value_and_grad(make_model(shape, unroll=unroll).objective, has_aux=True))
    windows = jax.ShapeDtypeStruct((SEQUENCES, CONTEXT + 1), np.int32)
    program = compiled(gradients.lower(abstract_params(shape), windows))
    return program, time.process_time() - began


def step_seconds(programs: dict[str, Any], shape: Shape, rounds: int) -> dict[str, float]:
    """Return the median CPU seconds of each program's step; they take turns."""
    params, times = jax.device_put(init_params(shape, 0)), {name: list[float]() for name in programs}
    windows = np.random.default_rng(0).integers(0, 256, (SEQUENCES, CONTEXT + 1), np.int32)
    for _ in range(rounds + 1):
        for name, program in programs.items():
            began = time.process_time()
            jax.block_until_ready(program(params, windows))
            times[name].append(time.process_time() - began)
    return {name: statistics.median(seconds[1:]) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    print(f"jax {jax.__version__}, {jax.devices()[0]}, {SEQUENCES} sequences of {CONTEXT}; CPU seconds")
    print("| width | layers | compiled scanned | unrolled | step scanned | unrolled | steps until it pays |")
    print("| --- " * 7 + "|")
    for width, depth in CASES:
        shape = Shape(
            depth=depth,
            width=width,
            heads=width // 16,
            kv_heads=width // 16,
            head_dim=16,
            mlp_width=width * 8 // 3,
            vocab_size=256,
            context=CONTEXT,
        )
        programs, compiling = {}, {}
        for name, unroll in WAYS.items():
            programs[name], compiling[name] = compile_step(shape, unroll)
        step = step_seconds(programs, shape, rounds)
        saved = step["scanned"] - step["unrolled"]
        steps = (compiling["unrolled"] - compiling["scanned"]) / saved if saved > 0 else math.inf
        cells = *(f"{compiling[name]:.2f}" for name in WAYS), *(f"{step[name]:.4f}" for name in WAYS)
        print(f"| {width} | {depth} | {' | '.join(cells)} | {max(steps, 0):.0f} |", flush=True)


if __name__ == "__main__":
    main()
