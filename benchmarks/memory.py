"""Memory of a compiled training step per device, and what goes between devices, by how it is laid out.

    python benchmarks/memory.py

A model of 110M parameters (12 layers, width 768, 12 heads, GELU MLP of 4 x width, vocabulary 32,768) at batch
16 x 1,024 in float32, compiled for CPU with eight forced host devices and not run: the figures are those of
XLA's ``memory_analysis``. *State* is what is kept from step to step: parameters and two moments. *Step* is
all else at its fullest: gradients, activations, logits. Prints a table for benchmarks/README.md.
"""

from __future__ import annotations

import collections
import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"

from scaling.counts.lowering import Lowering, MeshSizes
from scaling.counts.shape import Shape
from scaling.recipe.optimizers import AdamW
from scaling.train.program import Blueprint, compiled, lower_program
from scaling.train.sharding import make_mesh

SHAPE = Shape(
    depth=12,
    width=768,
    heads=12,
    kv_heads=12,
    head_dim=64,
    mlp_width=3072,
    mlp="gelu",
    vocab_size=32_768,
    context=1024,
    tied=True,
)
BATCH = 16
LEAST = {"remat": "full", "logit_chunks": 8}
CASES = [
    Lowering(),
    Lowering(logit_chunks=8),
    Lowering(remat="block"),
    Lowering(remat="full"),
    Lowering(**LEAST),
    Lowering(micro_batches=4),
    Lowering(micro_batches=4, **LEAST),
    Lowering(micro_batches=16, **LEAST),
    *(
        Lowering(mesh=mesh, **LEAST)
        for mesh in (
            MeshSizes(data=8),
            MeshSizes(fsdp=8),
            MeshSizes(data=2, fsdp=2, tensor=2),
            MeshSizes(fsdp=4, tensor=2),
            MeshSizes(tensor=4),
        )
    ),
]
COLLECTIVE = re.compile(r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")


def row(lowering: Lowering) -> str:
    mesh = lowering.mesh or MeshSizes()
    blueprint = Blueprint(
        shape=SHAPE,
        optimizer=AdamW(kind="adamw", learning_rate=1e-3).structure,
        precision="float32",
        batch_sequences=BATCH,
        chunk_steps=1,
        lowering=lowering,
    )
    program = compiled(lower_program(blueprint, make_mesh(mesh, BATCH)))
    memory, between = program.memory_analysis(), collections.Counter(COLLECTIVE.findall(program.as_text()))
    state, step = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    cells = [
        " x ".join(f"{axis} {size}" for axis, size in vars(mesh).items() if size > 1) or "1 device",
        f"{lowering.micro_batches}",
        lowering.remat,
        f"{lowering.logit_chunks}",
        f"{state / 2**30:.2f}",
        f"{step / 2**30:.2f}",
        ", ".join(f"{count} {kind}" for kind, count in sorted(between.items())) or "nothing",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    print("| mesh | micro-batches | remat | logit chunks | state, GiB | step, GiB | between devices |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for lowering in CASES:
        print(row(lowering), flush=True)


if __name__ == "__main__":
    main()
