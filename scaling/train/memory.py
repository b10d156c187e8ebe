"""``python -m scaling.train.memory``: the devices of this process, and which of some lowerings of a program
fits into them, found by compiling alone.

Reads ``{"programs": [{"run": ..., "chunk_steps": ..., "averages": ..., "limit": ..., "lowerings": [...]},
...]}`` on standard input; prints one JSON object, in which each program has the bytes of the lowerings that
were compiled: up to the first within its limit.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import jax
from pydantic import TypeAdapter

from scaling.counts.lowering import Lowering
from scaling.run import Run
from scaling.store.failure import is_exhausted
from scaling.train.environment import use_compilation_cache
from scaling.train.kernels import attention_kernel
from scaling.train.program import Blueprint, compiled, lower_program
from scaling.train.sharding import make_mesh

QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0
}  # memory is laid out before instructions are improved
LOWERING = TypeAdapter(Lowering)


def held_bytes(blueprint: Blueprint) -> int:
    """Return what each device holds while the program of a blueprint runs, as its compiler lays it out."""
    lowered = lower_program(blueprint, make_mesh(blueprint.lowering.mesh, blueprint.batch_sequences))
    on_cpu = jax.default_backend() == "cpu"
    program: Any = lowered.compile(compiler_options=QUICK) if on_cpu else compiled(lowered)
    held = program.memory_analysis()
    own = held.output_size_in_bytes - held.alias_size_in_bytes
    return held.argument_size_in_bytes + own + held.temp_size_in_bytes


def tried(program: dict[str, Any], device_bytes: int | None) -> list[int]:
    """Return the bytes of the lowerings of a program, up to the first that fits. Where the compiler finds no
    room for one, it holds all that a device has, or more."""
    run, held = Run.model_validate(program["run"]), list[int]()
    kernel = attention_kernel(run.shape, run.precision)
    for given in program["lowerings"]:
        lowering = LOWERING.validate_python({**given, "attention": kernel, "pack": 1})
        decays = (0.5,) * program["averages"]  # of whatever size
        try:
            held.append(held_bytes(Blueprint.of(run, program["chunk_steps"], decays, lowering)))
        except jax.errors.JaxRuntimeError as error:
            if device_bytes is None or not is_exhausted(str(error)):
                raise
            held.append(max(device_bytes, program["limit"] + 1))
        if held[-1] <= program["limit"]:
            break
    return held


def main() -> None:
    use_compilation_cache()
    request = json.load(sys.stdin)
    devices = jax.local_devices()
    stats = devices[0].memory_stats() or {}  # a CPU does not tell
    memory_bytes = stats.get("bytes_limit")
    answer = {
        "devices": len(devices),
        "memory_bytes": memory_bytes,
        "held": [tried(program, memory_bytes) for program in request["programs"]],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
