"""Which models: families of sizes.

Every family has the same six names: ``keys`` (the fields of a cell that name a size), ``members`` (the sizes
that a design crosses with its horizons), ``label`` (a size in the name of a run), ``member`` (a size spelled
out), ``findings`` (what is wrong with the family) and ``size_findings`` (with one size that a cell names).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from scaling.recipe.quantities import Count, Described, Positive
from scaling.recipe.rules import by_kind
from scaling.spec.architecture import Architecture, NamedShape, head_dim_findings
from scaling.spec.base import Amounts, Counts, Several
from scaling.spec.external import ExternalFamily
from scaling.spec.source import Finding, Path

# a width, a depth, both, or the name of a shape: what a spec calls a size by
Size = int | str | tuple[int, int]


class _Dialled(Architecture):
    """Sizes of equal heads, by depth and width: the number of heads is width / head_dim."""

    head_dim: Count
    """Channels of an attention head; even."""

    def depth_and_width(self, size: Size) -> tuple[int, int]:
        raise NotImplementedError

    def member(self, size: Size) -> NamedShape:
        depth, width = self.depth_and_width(size)
        common = {name: getattr(self, name) for name in Architecture.model_fields}
        heads = width // self.head_dim
        return NamedShape(
            name="size", depth=depth, width=width, heads=heads, head_dim=self.head_dim, **common
        )

    def architectures(self) -> Iterator[tuple[Path, Architecture]]:
        """Yield what sizes have in common, with its place in the spec."""
        yield ("family",), self

    def at_width(self, size: Size, place: Path) -> Iterator[Finding]:
        """Find what is wrong with a size whose width is written at ``place``."""
        width = self.depth_and_width(size)[1]
        wrong = [*_heads(width, self.head_dim, self.kv_heads, place)]
        yield from wrong or self.member(size).option_findings(("family",))


class Dial(_Dialled):
    """Sizes along one dial, at fixed ``head_dim``: the number of heads is width / head_dim."""

    key: ClassVar[str]

    @property
    def keys(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def members(self) -> tuple[Size, ...]:
        return getattr(self, f"{self.key}s")

    def label(self, size: Size) -> str:
        return f"{self.key[0]}{size}"

    def findings(self) -> Iterator[Finding]:
        yield from head_dim_findings(self.head_dim, ("family", "head_dim"))
        for i, size in enumerate(self.members):
            yield from self.size_findings(size, ("family", f"{self.key}s", i))

    def size_findings(self, size: Size, path: Path) -> Iterator[Finding]:
        yield from self.at_width(size, path if self.key == "width" else ("family", "width"))


class WidthDial(Dial):
    """One dial: width, at fixed depth. The number of heads is width / head_dim."""

    key = "width"
    kind: Literal["width-dial"]
    depth: Count
    """Number of layers of every size."""
    widths: Counts
    """The sizes; each must be a multiple of head_dim."""

    def depth_and_width(self, size: Size) -> tuple[int, int]:
        return self.depth, one_number(size)


class DepthDial(Dial):
    """One dial: depth, at fixed width."""

    key = "depth"
    kind: Literal["depth-dial"]
    width: Count
    """Residual width of every size; must be a multiple of head_dim."""
    depths: Counts
    """The sizes, in layers."""

    def depth_and_width(self, size: Size) -> tuple[int, int]:
        return one_number(size), self.width


class WidthDepth(_Dialled):
    """Width and depth apart: exactly two of widths, depths and aspects, crossed."""

    keys: ClassVar[tuple[str, ...]] = ("width", "depth")
    kind: Literal["width-depth"]
    widths: Counts | None = None
    """Residual widths; each must be a multiple of head_dim."""
    depths: Counts | None = None
    """Numbers of layers."""
    aspects: Amounts | None = None
    """Width over depth: the third number follows, the depth to the nearest layer, the width to the nearest
    multiple of head_dim."""
    min_aspect: Positive | None = None
    """Leave out sizes with width / depth below this."""
    max_aspect: Positive | None = None
    """Leave out sizes with width / depth above this."""

    @cached_property
    def members(self) -> tuple[Size, ...]:
        """Width and depth of each size, in the order they are written; a size that two aspects give, once."""
        return tuple(dict.fromkeys(size for size in self._crossed() if self._within(*size)))

    def _crossed(self) -> Iterator[tuple[int, int]]:
        widths, depths, aspects = self.widths or (), self.depths or (), self.aspects or ()
        yield from ((width, depth) for width in widths for depth in depths)
        yield from ((width, max(1, int(width / aspect + 0.5))) for width in widths for aspect in aspects)
        unit = self.head_dim
        yield from (
            (unit * max(1, int(aspect * depth / unit + 0.5)), depth) for aspect in aspects for depth in depths
        )

    def _within(self, width: int, depth: int) -> bool:
        low, high = self.min_aspect, self.max_aspect
        return (low is None or width / depth >= low) and (high is None or width / depth <= high)

    def label(self, size: Size) -> str:
        width, depth = both_numbers(size)
        return f"w{width}d{depth}"

    def depth_and_width(self, size: Size) -> tuple[int, int]:
        width, depth = both_numbers(size)
        return depth, width

    def findings(self) -> Iterator[Finding]:
        yield from head_dim_findings(self.head_dim, ("family", "head_dim"))
        given = [name for name in ("widths", "depths", "aspects") if getattr(self, name) is not None]
        if len(given) != 2:
            message = f"needs exactly two of widths, depths and aspects, has {', '.join(given) or 'none'}"
            yield Finding(("family",), message, "the third follows from two")
            return
        for i, width in enumerate(self.widths or ()):
            yield from _heads(width, self.head_dim, self.kv_heads, ("family", "widths", i))
        if self.min_aspect is not None and self.max_aspect is not None and self.min_aspect > self.max_aspect:
            message = f"is {self.min_aspect:g}, more than max_aspect = {self.max_aspect:g}"
            yield Finding(("family", "min_aspect"), message, "swap them, or leave one out")
        elif not self.members:
            message = "no size has a width / depth between min_aspect and max_aspect"
            yield Finding(("family",), message, "widen them, or list other sizes", by_lack=True)
        if self.widths is None:
            for size in self.members:
                yield from self.at_width(size, ("family", "aspects"))
        elif self.members:
            yield from self.member(self.members[0]).option_findings(("family",))

    def size_findings(self, size: Size, path: Path) -> Iterator[Finding]:
        yield from self.at_width(size, (*path, "width"))


class Shapes(Described):
    """An explicit list of sizes."""

    keys: ClassVar[tuple[str, ...]] = ("name",)
    kind: Literal["shapes"]
    shapes: tuple[NamedShape, ...] = Several

    @property
    def members(self) -> tuple[Size, ...]:
        return tuple(shape.name for shape in self.shapes if shape.in_design)

    def label(self, size: Size) -> str:
        return str(size)

    def member(self, size: Size) -> NamedShape:
        return next(shape for shape in self.shapes if shape.name == size)

    def architectures(self) -> Iterator[tuple[Path, Architecture]]:
        for i, shape in enumerate(self.shapes):
            yield ("family", "shapes", i), shape

    def findings(self) -> Iterator[Finding]:
        names = set[str]()
        for i, shape in enumerate(self.shapes):
            path: Path = ("family", "shapes", i)
            if shape.name in names:
                yield Finding((*path, "name"), f"'{shape.name}' names two shapes", "names must differ")
            names.add(shape.name)
            yield from shape.findings(path)

    def size_findings(self, size: Size, path: Path) -> Iterator[Finding]:
        names = [shape.name for shape in self.shapes]
        if size not in names:
            yield Finding(path, f"no shape is named '{size}'", f"known: {', '.join(names)}")


def one_number(size: Size) -> int:
    """Return the width or depth that a size of one dial is."""
    assert isinstance(size, int), f"{size} is not of a family with one dial"
    return size


def both_numbers(size: Size) -> tuple[int, int]:
    """Return the width and depth that a size of two dials is."""
    assert isinstance(size, tuple), f"{size} is not of a family of widths and depths"
    return size


def key_values(size: Size) -> tuple[int | str, ...]:
    """Return what a cell has in the fields that name a size."""
    return size if isinstance(size, tuple) else (size,)


def _heads(width: int, head_dim: int, kv_heads: int | None, path: Path) -> Iterator[Finding]:
    if width % head_dim:
        below = width // head_dim * head_dim
        near = f"{below} or {below + head_dim}" if below else f"{head_dim}"
        message = f"width {width} is not divisible by head_dim = {head_dim}, so its heads are not whole"
        yield Finding(path, message, f"use {near}")
    elif kv_heads is not None and width // head_dim % kv_heads:
        message = f"width {width} has {width // head_dim} heads, not divisible by kv_heads = {kv_heads}"
        yield Finding(path, message, "change family.kv_heads or the width")


_Families = WidthDial | DepthDial | WidthDepth | Shapes | ExternalFamily
Family = Annotated[_Families, Field(discriminator="kind")]
FAMILIES = by_kind(_Families)


def naming_fields(family: Family, size: Size) -> dict[str, int | str]:
    """Return the fields of a cell that name a size of a family."""
    return dict(zip(family.keys, key_values(size), strict=True))
