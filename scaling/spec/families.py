"""Which models: families of sizes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool

from scaling.recipe.quantities import Count, Frozen, Positive
from scaling.spec.base import Counts, Several, Slug


class Heads(Frozen):
    """What the sizes of one family have in common."""

    kv_heads: Count | None = None
    """Key and value heads (grouped-query attention); a divisor of heads. Left out: as many as heads."""
    mlp: Literal["swiglu", "gelu"] = "swiglu"
    """Kind of MLP."""
    mlp_ratio: Positive | None = None
    """Hidden width of the MLP over width, to the nearest multiple of 8. Left out: 8/3 (swiglu), 4 (gelu)."""
    tied: StrictBool = False
    """Use the embedding table as output head."""


class WidthDial(Heads):
    """One dial: width, at fixed depth. The number of heads is width / head_dim."""

    kind: Literal["width-dial"]
    depth: Count
    """Number of layers of every size."""
    widths: Counts
    """The sizes; each must be a multiple of head_dim."""
    head_dim: Count
    """Channels of an attention head; even."""


class DepthDial(Heads):
    """One dial: depth, at fixed width."""

    kind: Literal["depth-dial"]
    width: Count
    """Residual width of every size; must be a multiple of head_dim."""
    depths: Counts
    """The sizes, in layers."""
    head_dim: Count
    """Channels of an attention head; even."""


class NamedShape(Heads):
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


class Shapes(Frozen):
    """An explicit list of sizes."""

    kind: Literal["shapes"]
    shapes: tuple[NamedShape, ...] = Several


Family = Annotated[WidthDial | DepthDial | Shapes, Field(discriminator="kind")]
