"""What a model is made of beside its size: options of the architecture, and one size spelled out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from scaling.counts import shape as shapes
from scaling.counts.shape import Shape
from scaling.recipe.quantities import Count, Described, Positive, Slug, Whole
from scaling.spec.source import Finding, Path

NEAR = 1000  # numbers around a granularity that are tried in its place


class Experts(Described):
    """A mixture of experts in place of the MLP of every layer."""

    count: Count
    """Experts that a router chooses among, in each layer."""
    active: Count
    """Experts that each token goes to."""
    shared: Annotated[Whole, Field(ge=0)] = 0
    """Experts that every token goes to, besides."""
    granularity: Count = 1
    """The hidden width of the MLP over that of an expert; a token uses as much as in the dense model where
    active + shared is as large."""

    def findings(self, width: int, mlp_width: int, path: Path) -> Iterator[Finding]:
        if self.active > self.count:
            message = f"must be at most count = {self.count}, is {self.active}"
            yield Finding((*path, "active"), message, "a token goes to each expert once")
        if mlp_width % self.granularity:
            start = min(self.granularity, mlp_width)
            near = range(max(1, start - NEAR), start + NEAR)
            divisors = [n for n in near if mlp_width % n == 0]
            close = [*[n for n in divisors if n <= start][-1:], *[n for n in divisors if n > start][:1]]
            message = (
                f"{self.granularity} does not divide {mlp_width}, the hidden width of the MLP at width "
                f"{width}"
            )
            hint = f"use {' or '.join(map(str, close or [1]))}, or another mlp_ratio or mlp_width"
            yield Finding((*path, "granularity"), message, hint)


class Architecture(Described):
    """Fields shared by all sizes of a family."""

    kv_heads: Count | None = None
    """Key and value heads (grouped-query attention); a divisor of heads. Left out: as many as heads."""
    mlp: Literal["swiglu", "gelu", "relu2"] = "swiglu"
    """Kind of MLP; relu2 is the squared ReLU."""
    mlp_ratio: Positive | None = None
    """Hidden width of the MLP over width, to the nearest multiple of 8. Left out: 8/3 (swiglu), else 4."""
    tied: StrictBool = False
    """Use the embedding table as output head."""
    qk_norm: StrictBool = False
    """Norm queries and keys over the channels of each head."""
    attention_softcap: Positive | None = None
    """Keep attention scores within this, by cap x tanh(score / cap)."""
    logit_softcap: Positive | None = None
    """Keep logits within this, by cap x tanh(logit / cap)."""
    positions: Literal["rotary", "learned", "none"] = "rotary"
    """How attention knows positions: rotary, a learned table added to the embeddings, or not at all."""
    window: Count | None = None
    """Keys that each query sees, its own included. Left out: all before it."""
    full_every: Annotated[Count, Field(ge=2)] | None = None
    """Every so-many-th layer sees all keys in spite of the window."""
    document_mask: StrictBool = False
    """Keep attention within a document."""
    parallel: StrictBool = False
    """Attention and MLP of a layer read the same normed input, side by side."""
    scaled_embedding: StrictBool = False
    """Multiply embeddings by sqrt(width), from a table drawn that much smaller."""
    experts: Experts | None = None
    """A mixture of experts in place of the MLP. Left out: none."""


class NamedShape(Architecture):
    """One explicit size."""

    name: Slug
    """How holdout, noise and listed runs refer to this size."""
    depth: Count
    width: Count
    heads: Count
    head_dim: Count | None = None
    """Channels of an attention head; even. Left out: width / heads, which must be whole."""
    mlp_width: Count | None = None
    """Hidden width of the MLP. Left out: by mlp_ratio."""
    in_design: StrictBool = True
    """false: trained only where holdout, noise or a listed run names it."""

    def shape(self, vocab_size: int, context: int, separator: int | None = None) -> Shape:
        """Spell out this size, which :meth:`findings` has passed.

        Args:
            vocab_size: entries of the vocabulary.
            context: tokens of a sequence; a window that is not smaller is none.
            separator: token before every document.
        """
        window = self.window if self.window is not None and self.window < context else None
        same = {name: getattr(self, name) for name in _SAME}
        return Shape(
            kv_heads=self.kv_heads or self.heads,
            head_dim=self.head_channels,
            mlp_width=self.hidden_width,
            vocab_size=vocab_size,
            context=context,
            window=window,
            full_every=self.full_every if window else None,
            separator=separator if self.document_mask else None,
            experts=shapes.Experts(**self.experts.model_dump()) if self.experts else None,
            **same,
        )

    @property
    def head_channels(self) -> int:
        return self.head_dim or self.width // self.heads

    @property
    def hidden_width(self) -> int:
        """Hidden width of the MLP: the one given, or the nearest multiple of 8, at least 8, to ratio x width;
        by default 8/3 (swiglu) or 4 (others) x width.

        8/3 gives the three matrices of a gated MLP the parameters of the two of a plain one
        (arXiv:2002.05202).
        """
        if self.mlp_width is not None:
            return self.mlp_width
        if self.mlp_ratio is not None:
            exact = self.mlp_ratio * self.width
        else:
            exact = 8 * self.width / 3 if self.mlp == "swiglu" else 4 * self.width
        return max(8, int(exact / 8 + 0.5) * 8)

    def notes(self, context: int) -> Iterator[str]:
        """Say where a window takes nothing away, or no layer is free of it although some were to be."""
        if self.window is not None and self.window >= context:
            yield f"a window of {self.window} keys in a context of {context} is none: every layer sees all"
        elif self.full_every is not None and self.full_every > self.depth:
            yield f"full_every: {self.full_every} frees no layer of a model of {self.depth} from the window"

    def findings(self, path: Path) -> Iterator[Finding]:
        if self.head_dim is not None:
            yield from head_dim_findings(self.head_dim, (*path, "head_dim"))
        elif self.width % self.heads:
            message = f"{self.width} is not divisible by heads = {self.heads}"
            yield Finding((*path, "width"), message, "change one of them, or give head_dim")
        elif self.width // self.heads % 2:
            message = f"{self.width} / heads = {self.heads} makes an odd head_dim"
            yield Finding((*path, "width"), message, "rotary positions pair its channels: make it even")
        if self.kv_heads is not None and self.heads % self.kv_heads:
            yield Finding((*path, "kv_heads"), f"{self.kv_heads} does not divide heads = {self.heads}")
        yield from self.option_findings(path)

    def option_findings(self, path: Path) -> Iterator[Finding]:
        """Find options that do not go together, or not with this size."""
        if self.full_every is not None and self.window is None:
            yield Finding(
                (*path, "full_every"), "says which layers have no window, and there is none", "give window"
            )
        if self.experts is not None:
            yield from self.experts.findings(self.width, self.hidden_width, (*path, "experts"))


# fields of a size that are fields of its shape
_SAME = tuple(
    name
    for name in Shape.__dataclass_fields__
    if name in NamedShape.model_fields
    and name not in ("kv_heads", "head_dim", "mlp_width", "window", "full_every", "experts")
)


def head_dim_findings(head_dim: int, path: Path) -> Iterator[Finding]:
    """Find a number of channels that cannot be paired."""
    if head_dim % 2:
        yield Finding(path, f"must be even, is {head_dim}", "rotary positions pair its channels")
