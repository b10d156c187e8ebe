"""Whole training steps of large models lower for accelerators on a host that has none, sharded over devices
that are not there."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import pytest
from jax import export
from jax.sharding import AbstractMesh, AxisType

from scaling.counts.lowering import Kernel, Lowering, MeshSizes
from scaling.counts.memory import Memory, Workload, memory
from scaling.counts.params import count_parameters
from scaling.counts.shape import Shape, parameter_table
from scaling.train.pack import pack_function
from scaling.train.program import Blueprint, chunk_function
from tests.train.runs import make_run

DEVICE_BYTES = 80e9  # of the smallest accelerators that such models are trained on


class Case(NamedTuple):
    """A model, the sequences of its batch, and those that a device takes at a time."""

    parameters: float
    shape: Shape
    batch: int
    at_a_time: int


def decoder(depth: int, width: int, heads: int, kv_heads: int, mlp: int, vocab: int, context: int) -> Shape:
    return Shape(
        depth=depth,
        width=width,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=width // heads,
        mlp_width=mlp,
        vocab_size=vocab,
        context=context,
        tied=True,
    )


CASES = {
    "125M": Case(125e6, decoder(12, 768, 12, 12, 2048, 50304, 1024), 512, 8),
    "1.3B": Case(1.3e9, decoder(24, 2048, 16, 16, 5632, 50304, 2048), 512, 4),
    "7B": Case(7e9, decoder(32, 4096, 32, 8, 14336, 32000, 2048), 512, 2),
}
MESHES = {8: MeshSizes(data=2, fsdp=2, tensor=2), 64: MeshSizes(data=2, fsdp=16, tensor=2)}
KERNELS: dict[str, Kernel] = {"cuda": "blocked", "tpu": "splash"}
"""cuDNN is asked for its version as a program is lowered: a host without it lowers blocked attention."""


def blueprint_of(case: Case, mesh: MeshSizes, kernel: Kernel) -> Blueprint:
    parts = case.batch // (mesh.batch_parts * case.at_a_time)
    lowering = Lowering(mesh=mesh, micro_batches=parts, remat="block", logit_chunks=8, attention=kernel)
    run = make_run(shape=case.shape, batch_sequences=case.batch).model_copy(update={"precision": "bfloat16"})
    return Blueprint.of(run, chunk_steps=2, lowering=lowering)


def predicted(blueprint: Blueprint) -> Memory:
    """Return the bytes on a device by our own arithmetic, with AdamW's two moments."""
    moments = {name: 2 * parameter.size for name, parameter in parameter_table(blueprint.shape).items()}
    work = Workload(
        shape=blueprint.shape,
        sequences=blueprint.batch_sequences,
        moments=moments,
        chunk_steps=blueprint.chunk_steps,
        factor_bytes=2,
    )
    return memory(work, blueprint.lowering)


def bytes_on_a_device(exported: export.Exported, mesh: AbstractMesh, leaves: int) -> int:
    """Return those of the first ``leaves`` arguments."""
    places = zip(exported.in_avals[:leaves], exported.in_shardings_jax(mesh), strict=False)
    return sum(
        math.prod(place.shard_shape(array.shape) if place else array.shape) * array.dtype.itemsize
        for array, place in places
    )


def devices_of(sizes: MeshSizes) -> AbstractMesh:
    names = tuple(vars(sizes))
    return AbstractMesh(tuple(vars(sizes).values()), names, axis_types=(AxisType.Auto,) * len(names))


FAST = {("125M", 8, "cuda"), ("7B", 64, "tpu")}
ALL = [(size, devices, platform) for size in CASES for devices in MESHES for platform in KERNELS]


@pytest.mark.parametrize(
    ("size", "devices", "platform"),
    [case if case in FAST else pytest.param(*case, marks=pytest.mark.slow) for case in ALL],
)
def test_a_training_step_lowers(size: str, devices: int, platform: str) -> None:
    case, sizes = CASES[size], MESHES[devices]
    assert count_parameters(case.shape).total == pytest.approx(case.parameters, rel=0.1)
    mesh = devices_of(sizes)
    blueprint = blueprint_of(case, sizes, KERNELS[platform])
    jitted, arguments = chunk_function(blueprint, mesh)
    exported = export.export(jitted, platforms=[platform])(*arguments)
    assert (exported.nr_devices, exported.platforms) == (devices, (platform,))
    module = exported.mlir_module()
    # forward, and for the gradients of queries and of keys: what attention gave is kept, not computed again
    assert module.count("@tpu_custom_call(") == (3 if platform == "tpu" else 0)

    state = jax.tree.leaves(arguments[0])
    own, held = bytes_on_a_device(exported, mesh, len(state)), predicted(blueprint)
    scalars = sum(array.size * array.dtype.itemsize for array in state if not array.shape)
    assert own - scalars == held.weights + held.moments
    print(f"{size} on {devices}, {platform}: {held.total / 1e9:.1f} GB a device: {held.parts()}")
    assert held.total < DEVICE_BYTES


def test_a_pack_over_devices_lowers_with_a_fused_kernel() -> None:
    """Sixteen runs on eight devices; a kernel that no compiler cuts is called by each device on its own."""
    sizes = MeshSizes(run=8)
    blueprint = blueprint_of(Case(1e5, decoder(2, 64, 1, 1, 128, 256, 128), 4, 4), sizes, "splash")
    jitted, arguments = pack_function(blueprint, devices_of(sizes), width=16)
    exported = export.export(jitted, platforms=["tpu"])(*arguments)
    assert exported.nr_devices == 8
    assert exported.mlir_module().count("@tpu_custom_call(") == 3
