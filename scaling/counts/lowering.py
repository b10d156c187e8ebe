"""How a program is lowered: over which mesh, in what pieces, by which kernels. Nothing here changes a number
beyond rounding, and nothing here is part of a run's identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

from scaling.counts.shape import Shape, parameter_table

Remat = Literal["none", "block", "full"]
Kernel = Literal["blocked", "cudnn", "splash"]

RULES: dict[Literal["weight", "activation"], dict[str, tuple[str, ...]]] = {
    "weight": {
        "embed": ("fsdp",),
        "heads": ("tensor",),
        "kv_heads": ("tensor",),
        "mlp": ("tensor",),
        "vocab": ("tensor",),
    },
    "activation": {
        "batch": ("data", "fsdp"),
        "heads": ("tensor",),
        "kv_heads": ("tensor",),
        "mlp": ("tensor",),
        "vocab": ("tensor",),
    },
}
"""The axes of the mesh over which the logical axes of arrays are cut; all others are whole on every device.
Weights are parameters but for gains and biases, which are small. Heads of keys and values that cannot be cut
are whole."""
LEAST_CHUNK = 64  # tokens of a sequence whose logits are held at a time
UNROLLED = 8  # layers: deeper models are scanned, which compiles once and runs a little slower
NAMES = {
    "embed": "channels of the residual stream",
    "heads": "heads",
    "mlp": "channels of the MLP",
    "vocab": "entries of the vocabulary",
}


@dataclass(frozen=True, kw_only=True)
class MeshSizes:
    """Devices along each axis of the mesh.

    Attributes:
        run: devices that train different runs of a pack; nothing goes between them.
        data: devices that share the sequences of a batch, each with all parameters.
        fsdp: devices that share the sequences of a batch, each with its part of every parameter, gathered
            where it is used (ZeRO-3, Rajbhandari et al., arXiv:1910.02054).
        tensor: devices that share each matrix (Megatron, Shoeybi et al., arXiv:1909.08053).
    """

    run: int = 1
    data: int = 1
    fsdp: int = 1
    tensor: int = 1

    def __post_init__(self) -> None:
        _positive(self)

    @property
    def devices(self) -> int:
        return self.run * self.data * self.fsdp * self.tensor

    @property
    def batch_parts(self) -> int:
        """Parts that the sequences of a batch are cut into."""
        return self.data * self.fsdp

    def __str__(self) -> str:
        return " x ".join(f"{axis.name} {getattr(self, axis.name)}" for axis in fields(self))


def data_parallel(batch_sequences: int, devices: int) -> MeshSizes:
    """Return the mesh of as many devices as can have equal parts of a batch, each with all parameters."""
    return MeshSizes(data=max(n for n in range(1, devices + 1) if batch_sequences % n == 0))


def pack_width(runs: int, devices: int) -> int:
    """Return for how many runs the program is compiled that trains so many side by side: a power of two on
    each of the devices along ``run``, so that few widths are compiled."""
    return devices << (-(-runs // devices) - 1).bit_length()


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """How the program of a job is lowered.

    Attributes:
        mesh: None: as many devices as the batch can be shared among, all along ``data``.
        micro_batches: equal parts of a batch that a step goes through one after the other, summing gradients;
            between devices along ``data`` they are summed once a step.
        remat: what the backward pass computes, or gathers, again. ``none``: nothing, so that weights gathered
            over ``fsdp`` are held until then; ``block``: of each layer all but its input and what its
            attention gave; ``full``: all but its input.
        logit_chunks: equal parts of each sequence whose logits are held at a time.
        attention: the kernel; ``blocked`` runs everywhere.
        pack: runs that train side by side in the program.
    """

    mesh: MeshSizes | None = None
    micro_batches: int = 1
    remat: Remat = "none"
    logit_chunks: int = 1
    attention: Kernel = "blocked"
    pack: int = 1

    def __post_init__(self) -> None:
        _positive(self)


def smaller(lowering: Lowering, shape: Shape, sequences: int, batch_parts: int) -> Lowering | None:
    """Return the next lowering that holds less: more micro-batches, then more computed again, then logits in
    pieces. None: there is none.

    Args:
        lowering: that held too much.
        shape: of the model.
        sequences: of a batch.
        batch_parts: of a batch, over devices.
    """
    each = sequences // batch_parts
    pieces = range(2 * lowering.micro_batches, each + 1)
    if not shape.experts and (more := next((n for n in pieces if each % n == 0), None)):
        return replace(lowering, micro_batches=more)
    if lowering.remat != "full":
        return replace(lowering, remat="block" if lowering.remat == "none" else "full")
    chunks = 4 * lowering.logit_chunks
    if shape.context % chunks == 0 and shape.context // chunks >= LEAST_CHUNK:
        return replace(lowering, logit_chunks=chunks)
    return None


def uncut(shape: Shape, mesh: MeshSizes) -> Iterator[tuple[str, str, int]]:
    """Yield what of a model ``mesh`` does not cut into equal parts: the axis of the mesh, what it is, and how
    many of it there are."""
    for parameter in parameter_table(shape).values():
        for axis, size in zip(parameter.axes, parameter.dims, strict=True):
            for cut in RULES["weight"].get(axis, ()):
                if axis in NAMES and size % getattr(mesh, cut):
                    yield cut, NAMES[axis], size


def is_unrolled(shape: Shape, remat: Remat) -> bool:
    """Tell whether layers are compiled one by one. Not where they are computed again: XLA would take what a
    layer computes twice for one."""
    return shape.depth <= UNROLLED and remat == "none"


def _positive(sizes: MeshSizes | Lowering) -> None:
    for name, value in vars(sizes).items():
        if isinstance(value, bool) or (isinstance(value, int) and value < 1):
            raise ValueError(f"{name} = {value}: must be at least 1")
