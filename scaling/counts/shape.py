"""The shape of a decoder-only Transformer and the one table of its parameters.

Everything that depends on what a parameter *is* (weight-decay masks, sharding, counts, initialisation)
derives from :func:`parameter_table`. Nothing looks at ``ndim``: layers are stacked for a scan, so a stacked
gain is 2-D and a stacked matrix 3-D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Role = Literal["embedding", "head", "matrix", "gain", "bias"]
ROLES: tuple[Role, ...] = ("embedding", "head", "matrix", "gain", "bias")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder-only Transformer: pre-norm (RMSNorm), rotary positions, no biases.

    ``width`` is the residual width, ``mlp_width`` the hidden width of the MLP (of each of the two input
    projections for ``swiglu``), ``kv_heads`` divides ``heads`` (grouped-query attention when smaller).

    Raises:
        ValueError: a size is not a positive integer, ``head_dim`` is odd (rotary positions pair its
            channels), or ``kv_heads`` does not divide ``heads``.
    """

    kind: Literal["transformer"] = "transformer"
    depth: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    mlp: Literal["swiglu", "gelu"] = "swiglu"
    vocab_size: int
    context: int
    tied: bool = False

    def __post_init__(self) -> None:
        for name in ("depth", "width", "heads", "kv_heads", "head_dim", "mlp_width", "vocab_size", "context"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} = {value!r}: must be a whole number >= 1")
        if self.head_dim % 2:
            raise ValueError(f"head_dim = {self.head_dim}: must be even, rotary positions pair its channels")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads = {self.kv_heads}: must divide heads = {self.heads}")


@dataclass(frozen=True)
class Parameter:
    """One array of the parameter pytree.

    ``axes`` are logical axis names, one per dimension of ``dims``; ``fan_in`` is the number of inputs
    summed into one output (1 for gains and look-ups); ``residual`` marks matrices that write into the
    residual stream.
    """

    role: Role
    axes: tuple[str, ...]
    dims: tuple[int, ...]
    fan_in: int = 1
    residual: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.dims)


def parameter_table(shape: Shape) -> dict[str, Parameter]:
    """Name -> :class:`Parameter` for every array of the model; names are paths joined by ``/``."""
    layers, d, v = shape.depth, shape.width, shape.vocab_size
    h, g, k, f = shape.heads, shape.kv_heads, shape.head_dim, shape.mlp_width

    def block(axes: tuple[str, ...], dims: tuple[int, ...], fan_in: int, residual: bool = False) -> Parameter:
        return Parameter("matrix", ("layer", *axes), (layers, *dims), fan_in, residual)

    def gain() -> Parameter:
        return Parameter("gain", ("layer", "embed"), (layers, d))

    table = {
        "embedding/table": Parameter("embedding", ("vocab", "embed"), (v, d)),
        "blocks/attention_norm/gain": gain(),
        "blocks/query/kernel": block(("embed", "heads", "head_dim"), (d, h, k), d),
        "blocks/key/kernel": block(("embed", "kv_heads", "head_dim"), (d, g, k), d),
        "blocks/value/kernel": block(("embed", "kv_heads", "head_dim"), (d, g, k), d),
        "blocks/output/kernel": block(("heads", "head_dim", "embed"), (h, k, d), h * k, residual=True),
        "blocks/mlp_norm/gain": gain(),
        "blocks/up/kernel": block(("embed", "mlp"), (d, f), d),
        "blocks/down/kernel": block(("mlp", "embed"), (f, d), f, residual=True),
        "final_norm/gain": Parameter("gain", ("embed",), (d,)),
    }
    if shape.mlp == "swiglu":
        table["blocks/gate/kernel"] = block(("embed", "mlp"), (d, f), d)
    if not shape.tied:
        table["head/kernel"] = Parameter("head", ("embed", "vocab"), (d, v), d)
    return table
