"""A family and a size -> the Shape of a model."""

from __future__ import annotations

from typing import assert_never

from scaling.counts.shape import Shape
from scaling.spec.families import DepthDial, Family, Heads, NamedShape, Shapes, WidthDial

Size = int | str  # a width, a depth or the name of a shape: what a spec calls a size by


def design_sizes(family: Family) -> tuple[Size, ...]:
    """The sizes that the design crosses with its horizons."""
    match family:
        case WidthDial():
            return family.widths
        case DepthDial():
            return family.depths
        case Shapes():
            return tuple(shape.name for shape in family.shapes if shape.in_design)
        case _:
            assert_never(family)


def size_label(family: Family, size: Size) -> str:
    """``w64``, ``d4`` or the name of the shape."""
    match family:
        case WidthDial():
            return f"w{size}"
        case DepthDial():
            return f"d{size}"
        case Shapes():
            return str(size)
        case _:
            assert_never(family)


def make_shape(family: Family, size: Size, vocab_size: int, context: int) -> Shape:
    """The shape of ``size`` in ``family``, whose sizes have been checked by :mod:`scaling.spec.check`."""
    match family:
        case WidthDial():
            shape = _uniform(family, family.depth, int(size), family.head_dim)
        case DepthDial():
            shape = _uniform(family, int(size), family.width, family.head_dim)
        case Shapes():
            shape = next(s for s in family.shapes if s.name == size)
        case _:
            assert_never(family)
    return Shape(
        depth=shape.depth,
        width=shape.width,
        heads=shape.heads,
        kv_heads=shape.kv_heads or shape.heads,
        head_dim=shape.head_dim or shape.width // shape.heads,
        mlp_width=shape.mlp_width or mlp_width(shape),
        mlp=shape.mlp,
        vocab_size=vocab_size,
        context=context,
        tied=shape.tied,
    )


def mlp_width(shape: NamedShape) -> int:
    """Nearest multiple of 8, at least 8, to ratio x width; ratio is 8/3 (swiglu) or 4 (gelu) if not given.

    8/3 gives the three matrices of a gated MLP the parameters of the two of a plain one (arXiv:2002.05202).
    """
    if shape.mlp_ratio is not None:
        exact = shape.mlp_ratio * shape.width
    else:
        exact = 8 * shape.width / 3 if shape.mlp == "swiglu" else 4 * shape.width
    return max(8, int(exact / 8 + 0.5) * 8)


def _uniform(family: Heads, depth: int, width: int, head_dim: int) -> NamedShape:
    common = {name: getattr(family, name) for name in Heads.model_fields}
    return NamedShape(
        name="size", depth=depth, width=width, heads=width // head_dim, head_dim=head_dim, **common
    )
