"""Bytes on one device while a program runs, by what they hold: arithmetic alone, for any lowering.

What the backward pass keeps is what jax keeps, array by array. How many copies of weights, layers and logits
are at work beside it is as in XLA's ``memory_analysis``, with which the sums agree within ``ERROR``
(``tests/train/test_memory.py``). bfloat16 halves the factors that are kept on an accelerator; a CPU keeps
them in float32.

Dimension key: D residual width, H heads, G key-value heads, K head dimension, F MLP width, E experts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from scaling.counts.lowering import RULES, Lowering, MeshSizes, is_unrolled
from scaling.counts.shape import Parameter, Shape, parameter_table

FLOAT = 4
ERROR = 0.15  # of the sums, as a share of them, either way
EVALUATED_TOKENS = 8192
"""Tokens that a device evaluates at a time: enough to be efficient, few enough to be small in memory."""

# Copies at work at the same time, as measured.
LOGITS = 2  # logits, and their gradients
WITH_LOGITS = 2.3  # beside them, of what is as large as the weights: gradients and their sums
UPDATE = 3  # gradients, clipped ones, and what an optimizer makes of them
LAYER_WEIGHTS = 4  # of the layer whose gradients are taken: slices, joined and turned ones, gradients
GATHERED_LAYER = 2  # of such a layer gathered over fsdp: weights and gradients
SCORES = 4  # of a block of queries
MOST_BLOCKS, SMALLEST_BLOCK = 8, 64  # of queries, in the blocked kernel of attention


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a program trains, as far as its memory depends on it.

    Attributes:
        shape: of the model.
        sequences: of a batch.
        moments: numbers that the optimizer keeps, by parameter.
        averages: copies of the weights that are kept beside them.
        chunk_steps: steps whose text is on the device at a time.
        factor_bytes: of a factor of a matrix product, where it is kept: 4, or 2 in bfloat16.
    """

    shape: Shape
    sequences: int
    moments: Mapping[str, int]
    averages: int = 0
    chunk_steps: int = 1
    factor_bytes: int = FLOAT


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one device, at the moment when it is fullest; ``activations`` are those kept for the backward
    pass and those at work, ``gradients`` all that is as large as the weights and no part of the state."""

    weights: int
    moments: int
    averages: int
    gradients: int
    activations: int
    logits: int
    text: int

    @property
    def total(self) -> int:
        return sum(vars(self).values())

    def parts(self) -> dict[str, int]:
        """Return what there is, largest first."""
        sizes = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: size for name, size in sorted(sizes.items(), key=lambda item: -item[1]) if size}


def memory(work: Workload, lowering: Lowering) -> Memory:
    """Return what a device holds when it is fullest, in training or in evaluation. A mesh of None is one
    device."""
    return max(step_memory(work, lowering), evaluation_memory(work, lowering), key=lambda held: held.total)


def step_memory(work: Workload, lowering: Lowering) -> Memory:
    """Return what a device holds when it is fullest in a step of training: when the gradients of logits are
    taken, in the backward pass, or in the update."""
    state = _state(work, lowering)
    moments = _moments(work, lowering, state["weights"])
    return _held(work, lowering, state | max(moments, key=lambda parts: sum(parts.values())))


def evaluation_memory(work: Workload, lowering: Lowering) -> Memory:
    """Return what a device holds in evaluation."""
    shape, mesh = work.shape, lowering.mesh or MeshSizes()
    tokens = max(1, EVALUATED_TOKENS // shape.context) * shape.context
    vocab = FLOAT * _vocab(shape, mesh)
    parts = {
        "gradients": _layer_weights(shape, mesh) + vocab * shape.width,
        "activations": tokens * _kept_by_layer(shape, mesh, work.factor_bytes) / 2,
        "logits": 2 * tokens * vocab / lowering.logit_chunks,
    }
    return _held(work, lowering, _state(work, lowering) | parts)


def _held(work: Workload, lowering: Lowering, parts: Mapping[str, float]) -> Memory:
    """Return what all members of a pack hold that share a device."""
    mesh = lowering.mesh or MeshSizes()
    members = -(-lowering.pack // mesh.run)
    sequences = -(-work.sequences // mesh.batch_parts)
    text = FLOAT * work.chunk_steps * sequences * (work.shape.context + 1)
    return Memory(text=members * text, **{name: members * round(size) for name, size in parts.items()})


def _state(work: Workload, lowering: Lowering) -> dict[str, float]:
    table = parameter_table(work.shape)
    own = _owned(work.shape, lowering.mesh or MeshSizes())
    weights = FLOAT * sum(own.values())
    moments = FLOAT * sum(work.moments[name] * own[name] / table[name].size for name in table)
    return {"weights": weights, "moments": moments, "averages": work.averages * weights}


def _moments(work: Workload, lowering: Lowering, weights: float) -> Iterator[dict[str, float]]:
    """Yield what there is beside state and text, at each moment of a step that may be the fullest.

    Args:
        work: the workload.
        lowering: of it.
        weights: bytes of a device's own weights.
    """
    shape, mesh, factor = work.shape, lowering.mesh or MeshSizes(), work.factor_bytes
    sequences = -(-work.sequences // (lowering.micro_batches * mesh.batch_parts))
    unrolled = is_unrolled(shape, lowering.remat)
    tokens, copies = sequences * shape.context, 0.0
    layer = tokens * _kept_by_layer(shape, mesh, factor)
    match lowering.remat:
        case "none":
            kept, copies = layer, 0 if unrolled else _kept_weights(shape, mesh, factor)
        case "block":
            kept = tokens * FLOAT * (shape.width + _heads(shape, mesh) * (shape.head_dim + 1))
        case "full":
            kept = tokens * FLOAT * shape.width
    kept *= shape.depth
    sums = weights if lowering.micro_batches > 1 else 0
    vocab = FLOAT * _vocab(shape, mesh)
    head = vocab * shape.width
    gathered = 2 * head if mesh.fsdp > 1 else 0
    logits = LOGITS * tokens * vocab / lowering.logit_chunks
    gradients = copies + gathered + WITH_LOGITS * weights
    yield {"gradients": gradients, "activations": kept, "logits": logits}
    at_work = (0 if unrolled else layer) + _scores(shape, lowering, sequences)
    layers = 1 if unrolled else GATHERED_LAYER if mesh.fsdp > 1 else LAYER_WEIGHTS
    gradients = sums + weights + layers * _layer_weights(shape, mesh)
    yield {"gradients": copies + gradients, "activations": kept + at_work, "logits": 0}
    yield {"gradients": copies + UPDATE * weights, "activations": 0, "logits": 0}


def _vocab(shape: Shape, mesh: MeshSizes) -> int:
    return shape.vocab_size // _parts(mesh, "vocab", shape.vocab_size)


def _parts(mesh: MeshSizes, axis: str, size: int) -> int:
    """Return the devices that share a logical axis of a weight, or an activation: 1 where they cannot."""
    parts = math.prod(getattr(mesh, name) for name in RULES["weight"].get(axis, ()))
    return parts if size % parts == 0 else 1


def _own(parameter: Parameter, mesh: MeshSizes) -> int:
    """Return the numbers of a parameter that one device has."""
    if parameter.role in ("gain", "bias"):
        return parameter.size
    return math.prod(
        size // _parts(mesh, axis, size) for axis, size in zip(parameter.axes, parameter.dims, strict=True)
    )


def _heads(shape: Shape, mesh: MeshSizes) -> int:
    return shape.heads // _parts(mesh, "heads", shape.heads)


def _kept_by_layer(shape: Shape, mesh: MeshSizes, factor: int) -> float:
    """Return the bytes per token that a layer keeps for its backward pass where nothing is computed again.

    Factors of products: what queries, keys and values, and the MLP are made of, what attention gave, queries,
    keys and values themselves, and the MLP's hidden channels. In float32 whatever the precision: of each norm
    the input, scaled and not; the output of attention with its normalisers; what the activation is made of.
    """
    heads, tensor = _heads(shape, mesh), _parts(mesh, "heads", shape.heads)
    keys = shape.kv_heads // tensor if shape.kv_heads % tensor == 0 else heads
    norms = 3 * (1 if shape.parallel else 2) * shape.width
    inputs = 2 * shape.width + heads * shape.head_dim
    attention = FLOAT * heads * (shape.head_dim + 1) + factor * (heads + 2 * keys) * shape.head_dim
    normed = 3 * (heads + keys) * shape.head_dim if shape.qk_norm else 0
    mlp = _kept_by_mlp(shape, factor, shape.dense_width / _parts(mesh, "mlp", shape.dense_width))
    if shape.experts:
        hidden = shape.expert_width / _parts(mesh, "mlp", shape.expert_width)
        rows = (factor + FLOAT) * shape.width + _kept_by_mlp(shape, factor, hidden)
        mlp += shape.experts.active * (rows + shape.experts.count) + 2 * FLOAT * shape.experts.count
    return FLOAT * (norms + normed) + factor * inputs + attention + mlp


def _kept_by_mlp(shape: Shape, factor: int, hidden: float) -> float:
    return hidden * (factor + (FLOAT + 1 if shape.mlp == "relu2" else 5 * FLOAT))


def _scores(shape: Shape, lowering: Lowering, sequences: int) -> float:
    """Return the bytes of the scores at work: of a block of queries and all keys; fused kernels hold none."""
    if lowering.attention != "blocked":
        return 0
    block = min(shape.context, query_block(shape.context))
    return SCORES * FLOAT * sequences * _heads(shape, lowering.mesh or MeshSizes()) * block * shape.context


def _layer_weights(shape: Shape, mesh: MeshSizes) -> float:
    """Return the bytes of the weights of one layer as they are used: whole but for what is cut by tensor."""
    gathered = MeshSizes(tensor=mesh.tensor)
    blocks = (own for name, own in _owned(shape, gathered).items() if name.startswith("blocks/"))
    return FLOAT * sum(blocks) / shape.depth


def _owned(shape: Shape, mesh: MeshSizes) -> dict[str, int]:
    return {name: _own(parameter, mesh) for name, parameter in parameter_table(shape).items()}


def _kept_weights(shape: Shape, mesh: MeshSizes, factor: int) -> float:
    """Return the bytes of copies of the weights of all layers that are kept where nothing is computed again:
    joined ones, or all where they are rounded or gathered."""
    if factor < FLOAT or mesh.fsdp > 1:
        return factor * _layer_weights(shape, mesh) / FLOAT * shape.depth
    joined = ("query", "key", "value", *(("gate", "up") if shape.mlp == "swiglu" else ()))
    names = {f"blocks/{name}/kernel" for name in (*joined, "output", "experts_gate", "experts_up")}
    return FLOAT * sum(own for name, own in _owned(shape, mesh).items() if name in names)


def query_block(length: int) -> int:
    """Return the queries per block of the blocked kernel: few blocks, as each is compiled, and none so small
    that its matmuls are slow."""
    return max(SMALLEST_BLOCK, -(-length // MOST_BLOCKS))


def size(value: float) -> str:
    """Bytes: ``3.2 MB``."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value:.0f} B"
