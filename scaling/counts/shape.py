"""The shape of a decoder-only Transformer and the one table of its parameters.

Everything that depends on what a parameter *is* (weight-decay masks, sharding, counts, initialisation)
derives from :func:`parameter_table`. Nothing looks at ``ndim``: layers are stacked for a scan, so a stacked
gain is 2-D and a stacked matrix 3-D.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["embedding", "head", "matrix", "router", "gain", "bias"]
ROLES: tuple[Role, ...] = ("embedding", "head", "matrix", "router", "gain", "bias")
STACKED = ("layer", "expert")  # leading axes along which there is one array each


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts in place of the MLP of every layer.

    Each token goes to ``active`` of ``count`` routed experts and to all ``shared`` ones. An expert is an MLP
    whose hidden width is that of the dense model over ``granularity`` (Krajewski et al., arXiv:2402.07871): a
    token uses as many parameters as in the dense model where ``active + shared`` = ``granularity``.
    """

    kind: Literal["experts"] = "experts"
    count: int
    active: int
    shared: int = 0
    granularity: int = 1

    def __post_init__(self) -> None:
        _whole(self, "count", "active", "granularity")
        _whole(self, "shared", least=0)
        if self.active > self.count:
            raise ValueError(f"active = {self.active}: must be at most count = {self.count}")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A decoder-only Transformer: pre-norm (RMSNorm), no biases.

    Attributes:
        width: of the residual stream.
        kv_heads: divides ``heads`` (grouped-query attention when smaller).
        mlp_width: hidden width of the MLP (of each of the two input projections for ``swiglu``).
        mlp: ``relu2`` is the squared ReLU of Primer (So et al., arXiv:2109.08668).
        tied: whether the embedding table is the head.
        qk_norm: whether queries and keys are normed over the channels of a head, with gains (Dehghani et al.,
            arXiv:2302.05442).
        attention_softcap: scores become cap tanh(score / cap) (Gemma 2, arXiv:2408.00118).
        logit_softcap: the same of the logits.
        positions: ``rotary``, ``learned`` (a table added to the embeddings) or ``none``.
        window: keys that a query sees, its own included (Beltagy et al., arXiv:2004.05150); None: all.
        full_every: every so-many-th layer sees all keys, whatever the window.
        separator: the token before every document; attention does not reach beyond the last one. None: it
            does.
        parallel: whether attention and MLP of a layer read the same normed input (GPT-J; PaLM,
            arXiv:2204.02311).
        scaled_embedding: whether embeddings are multiplied by sqrt(width) (Vaswani et al., arXiv:1706.03762,
            3.4), from a table drawn that much smaller.
        experts: a mixture of experts in place of the MLP.

    A field that came after ids were given out declares its neutral value; while it has that it is no part of
    them.

    Raises:
        ValueError: sizes are not positive integers or do not divide as they must.
    """

    kind: Literal["transformer"] = "transformer"
    depth: int
    width: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp_width: int
    mlp: Literal["swiglu", "gelu", "relu2"] = "swiglu"
    vocab_size: int
    context: int
    tied: bool = False
    qk_norm: bool = field(default=False, metadata={"neutral": False})
    attention_softcap: float | None = field(default=None, metadata={"neutral": None})
    logit_softcap: float | None = field(default=None, metadata={"neutral": None})
    positions: Literal["rotary", "learned", "none"] = field(default="rotary", metadata={"neutral": "rotary"})
    window: int | None = field(default=None, metadata={"neutral": None})
    full_every: int | None = field(default=None, metadata={"neutral": None})
    separator: int | None = field(default=None, metadata={"neutral": None})
    parallel: bool = field(default=False, metadata={"neutral": False})
    scaled_embedding: bool = field(default=False, metadata={"neutral": False})
    experts: Experts | None = field(default=None, metadata={"neutral": None})

    def __post_init__(self) -> None:
        _whole(self, "depth", "width", "heads", "kv_heads", "head_dim", "mlp_width", "vocab_size", "context")
        if self.head_dim % 2:
            raise ValueError(f"head_dim = {self.head_dim}: must be even, rotary positions pair its channels")
        if self.heads % self.kv_heads:
            raise ValueError(f"kv_heads = {self.kv_heads}: must divide heads = {self.heads}")
        if self.window is not None:
            _whole(self, "window")
            if self.window >= self.context:
                raise ValueError(f"window = {self.window}: must be below context = {self.context}, or None")
        if self.full_every is not None:
            _whole(self, "full_every", least=2)
            if self.window is None:
                raise ValueError(f"full_every = {self.full_every}: needs a window")
        if self.experts and self.mlp_width % self.experts.granularity:
            raise ValueError(
                f"granularity = {self.experts.granularity}: must divide mlp_width = {self.mlp_width}"
            )

    @property
    def sparsity(self) -> float:
        """Return the share of experts, shared ones included, that a token does not go to; 0 without any."""
        e = self.experts
        return (e.count - e.active) / (e.count + e.shared) if e else 0.0

    @property
    def mlp_matrices(self) -> int:
        """Matrices of one MLP: of an expert, or of the dense model."""
        return 3 if self.mlp == "swiglu" else 2

    @property
    def expert_width(self) -> int:
        """Hidden width of one expert; of the MLP where there are none."""
        return self.mlp_width // self.experts.granularity if self.experts else self.mlp_width

    @property
    def dense_width(self) -> int:
        """Hidden width of the MLP that all tokens go through, that of shared experts; 0: there is none."""
        return self.expert_width * self.experts.shared if self.experts else self.mlp_width

    @property
    def windows(self) -> tuple[int | None, ...]:
        """Return each layer's window, None where it sees all keys."""
        every = self.full_every
        return tuple(
            None if every and (layer + 1) % every == 0 else self.window for layer in range(self.depth)
        )


def _whole(sizes: Experts | Shape, *names: str, least: int = 1) -> None:
    for name in names:
        value = getattr(sizes, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} = {value!r}: must be a whole number >= {least}")


@dataclass(frozen=True)
class Parameter:
    """One array of the parameter pytree.

    ``axes`` are logical axis names, one per dimension of ``dims``. Leading ones of :data:`STACKED` count
    arrays of one kind; the ``inputs`` axes after them are summed over (none in gains and look-ups), the rest
    are outputs. ``residual`` marks matrices that write into the residual stream.
    """

    role: Role
    axes: tuple[str, ...]
    dims: tuple[int, ...]
    inputs: int = 0
    residual: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.dims)

    @property
    def stacked(self) -> int:
        """Leading axes that count arrays."""
        return next((i for i, axis in enumerate(self.axes) if axis not in STACKED), len(self.axes))

    @property
    def flat(self) -> tuple[int, ...]:
        """Dims with an axis each for the arrays stacked and, of one of them, for inputs and outputs; a
        look-up's inputs are its rows, a vector has one."""
        stack, single = self.dims[: self.stacked], self.dims[self.stacked :]
        split = self.inputs or 1
        parts = (single[:split], single[split:]) if len(single) > 1 else (single,)
        return (math.prod(stack), *(math.prod(part) for part in parts))

    @property
    def fan_in(self) -> int:
        """Inputs summed into one output; 1 for gains and look-ups."""
        return math.prod(self.dims[self.stacked : self.stacked + self.inputs])

    @property
    def fan_out(self) -> int:
        """Outputs of one array."""
        return math.prod(self.dims[self.stacked + self.inputs :])


def parameter_table(shape: Shape) -> dict[str, Parameter]:
    """Name -> :class:`Parameter` for every array of the model; names are paths joined by ``/``."""
    d, v = shape.width, shape.vocab_size
    table = {
        "embedding/table": Parameter("embedding", ("vocab", "embed"), (v, d)),
        **_attention(shape),
        **(_mlp(shape) if shape.dense_width else {}),
        **(_experts(shape, shape.experts) if shape.experts else {}),
        "final_norm/gain": Parameter("gain", ("embed",), (d,)),
    }
    if shape.positions == "learned":
        table["positions/table"] = Parameter("embedding", ("position", "embed"), (shape.context, d))
    if not shape.parallel:
        table["blocks/mlp_norm/gain"] = _gain(shape, "embed", d)
    if not shape.tied:
        table["head/kernel"] = Parameter("head", ("embed", "vocab"), (d, v), inputs=1)
    return table


def _gain(shape: Shape, axis: str, size: int) -> Parameter:
    return Parameter("gain", ("layer", axis), (shape.depth, size))


def _attention(shape: Shape) -> dict[str, Parameter]:
    layers, d, h, g, k = shape.depth, shape.width, shape.heads, shape.kv_heads, shape.head_dim
    keys = Parameter("matrix", ("layer", "embed", "kv_heads", "head_dim"), (layers, d, g, k), inputs=1)
    queries = Parameter("matrix", ("layer", "embed", "heads", "head_dim"), (layers, d, h, k), inputs=1)
    outputs = ("layer", "heads", "head_dim", "embed")
    table = {
        "blocks/attention_norm/gain": _gain(shape, "embed", d),
        "blocks/query/kernel": queries,
        "blocks/key/kernel": keys,
        "blocks/value/kernel": keys,
        "blocks/output/kernel": Parameter("matrix", outputs, (layers, h, k, d), inputs=2, residual=True),
    }
    if shape.qk_norm:
        table["blocks/query_norm/gain"] = table["blocks/key_norm/gain"] = _gain(shape, "head_dim", k)
    return table


def _mlp(shape: Shape) -> dict[str, Parameter]:
    """Return the MLP that all tokens go through."""
    layers, d, f = shape.depth, shape.width, shape.dense_width
    up = Parameter("matrix", ("layer", "embed", "mlp"), (layers, d, f), inputs=1)
    down = Parameter("matrix", ("layer", "mlp", "embed"), (layers, f, d), inputs=1, residual=True)
    gate = {"blocks/gate/kernel": up} if shape.mlp == "swiglu" else {}
    return {"blocks/up/kernel": up, "blocks/down/kernel": down, **gate}


def _experts(shape: Shape, experts: Experts) -> dict[str, Parameter]:
    layers, d, f, e = shape.depth, shape.width, shape.expert_width, experts.count
    up = Parameter("matrix", ("layer", "expert", "embed", "mlp"), (layers, e, d, f), inputs=1)
    down = Parameter(
        "matrix", ("layer", "expert", "mlp", "embed"), (layers, e, f, d), inputs=1, residual=True
    )
    gate = {"blocks/experts_gate/kernel": up} if shape.mlp == "swiglu" else {}
    return {
        "blocks/router/kernel": Parameter("router", ("layer", "embed", "expert"), (layers, d, e), inputs=1),
        "blocks/experts_up/kernel": up,
        "blocks/experts_down/kernel": down,
        **gate,
    }
