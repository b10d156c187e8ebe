"""Lowerings that a spec leaves open, in the order of the work that they add. Arithmetic alone."""

from __future__ import annotations

from functools import partial
from typing import Literal

from scaling.counts.flops import forward_matmul_flops
from scaling.counts.lowering import LEAST_CHUNK, Lowering, MeshSizes, data_parallel, uncut
from scaling.counts.memory import Workload
from scaling.counts.params import active_parameters
from scaling.spec.execution import Execution

# Extra work as a share of a step, to put lowerings in order.
SMALL_BATCH = 64  # tokens of a device: a micro-batch of so many takes twice its time
GATHERING = 0.05  # weights over fsdp, for each micro-batch


def candidates(work: Workload, asked: Execution, devices: int) -> list[Lowering]:
    """Return the lowerings that can be chosen on so many devices, the least extra work first."""
    pack = 1 if asked.pack == "auto" else asked.pack
    lowerings = [
        Lowering(mesh=mesh, micro_batches=pieces, remat=remat, logit_chunks=chunks, pack=pack)
        for mesh in _meshes(work, asked, devices)
        for pieces in _micro_batches(work, asked.micro_batch, mesh)
        for remat in ((asked.remat,) if asked.remat != "auto" else ("none", "block", "full"))
        for chunks in _logit_chunks(work.shape.context)
    ]
    return sorted(lowerings, key=partial(extra_work, work))


def _meshes(work: Workload, asked: Execution, devices: int) -> list[MeshSizes | None]:
    """Return the mesh that is asked for; else all devices along data, or along fsdp where weights divide."""
    if asked.mesh is not None:
        return [asked.mesh.sizes]
    if devices == 1:
        return [None]
    data = data_parallel(work.sequences, devices)
    sharded = (MeshSizes(fsdp=n) for n in range(data.data, 1, -1) if work.sequences % n == 0)
    return [data, *[mesh for mesh in sharded if not any(uncut(work.shape, mesh))][:1]]


def _micro_batches(work: Workload, asked: int | Literal["auto"], mesh: MeshSizes | None) -> list[int]:
    if asked != "auto":
        return [work.sequences // min(asked, work.sequences)]
    if work.shape.experts:
        return [1]  # their balance is that of a whole batch
    each = work.sequences // (mesh.batch_parts if mesh else 1)
    return [n for n in range(1, each + 1) if each % n == 0]


def _logit_chunks(context: int) -> list[int]:
    return [n for n in (1, 2, 4, 8, 16, 32) if context % n == 0 and (n == 1 or context // n >= LEAST_CHUNK)]


def extra_work(work: Workload, lowering: Lowering) -> float:
    """Return about how much longer a step takes than in one piece, as a share of it."""
    shape, mesh = work.shape, lowering.mesh or MeshSizes()
    forward = forward_matmul_flops(shape)
    layers = forward_matmul_flops(shape, head=False)
    match lowering.remat:
        case "none":
            again = 0
        case "block":
            again = min(layers, 2 * shape.context * active_parameters(shape).body)  # all but attention
        case "full":
            again = layers
    if lowering.logit_chunks > 1:
        again += forward - layers
    tokens = work.sequences * shape.context / (mesh.batch_parts * lowering.micro_batches)
    gathered = GATHERING * lowering.micro_batches if mesh.fsdp > 1 else 0
    # of equal ones, the fewest pieces of logits
    return again / (3 * forward) + SMALL_BATCH / tokens + gathered + 1e-4 * lowering.logit_chunks
