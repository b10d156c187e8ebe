"""Cells: one size and how long to train it, as designs, held-out runs, noise and axes name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from scaling.recipe.quantities import Count, Described, Positive, Slug, Whole
from scaling.spec.base import Seed, Seeds, distinct_names
from scaling.spec.families import Family, Size, key_values
from scaling.spec.source import Finding, Override, Path

# What the length of a training is given in; the last two are tokens for each parameter.
Length = Literal["flops", "tokens", "steps", "per_total", "per_body"]
LENGTHS: tuple[Length, ...] = ("flops", "tokens", "steps")
NAMING = ("width", "depth", "name")  # fields that name a size


@dataclass(frozen=True)
class Point:
    """One size and how long to train it, asked for at ``path``; ``amount_path`` is where the length is
    written. ``changes`` are what the design itself changes of the study there. Its runs start from what
    ``trunk`` ends with, where there is one."""

    size: Size
    length: Length
    amount: float
    path: Path
    amount_path: Path
    changes: tuple[Override, ...] = ()
    trunk: Point | None = None


class Part(Described):
    """Some cells: those of one size, of one length, or of both."""

    width: Count | None = None
    """The size, for a width-dial, and with the depth for width-depth; any width, listed or not."""
    depth: Count | None = None
    """The size, for a depth-dial, and with the width for width-depth; any depth, listed or not."""
    name: str | None = None
    """The size, for explicit shapes."""
    flops: Positive | None = None
    """Compute budget: 3 x forward matmul FLOPs, causal attention, head included; nearest whole step."""
    tokens: Positive | None = None
    """Training tokens; nearest whole step."""
    steps: Count | None = None
    """Optimizer steps."""

    def has(self, point: Point, keys: Sequence[str]) -> bool:
        """Tell whether ``point``, of a family that names its sizes by ``keys``, is one of these cells."""
        for key, value in zip(keys, key_values(point.size), strict=True):
            if getattr(self, key) not in (None, value):
                return False
        asked = [(name, getattr(self, name)) for name in LENGTHS if getattr(self, name) is not None]
        return all((name, amount) == (point.length, point.amount) for name, amount in asked)


class Cell(Part):
    """One size and how long to train it: exactly one of flops, tokens and steps."""

    def point(self, family: Family, path: Path) -> Point:
        """Return the point of this cell, which :meth:`findings` has passed, in ``family``."""
        length: Length = next(name for name in LENGTHS if getattr(self, name) is not None)
        return Point(self._size(family), length, getattr(self, length), path, (*path, length))

    def findings(self, path: Path, family: Family | None) -> Iterator[Finding]:
        """Find what is wrong with the cell at ``path``; ``family`` is None where it is not valid itself."""
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            yield Finding(path, f"needs exactly one of flops, tokens and steps, has {got}", "keep one")
        if family is None:
            return
        given = [name for name in NAMING if getattr(self, name) is not None]
        others = [name for name in given if name not in family.keys]
        missing = [name for name in family.keys if name not in given]
        by = " and ".join(f"'{key}'" for key in family.keys)
        for other in others:
            article = "an" if family.kind == "external" else "a"
            message = f"{article} {family.kind} family names its sizes by {by}"
            instead = ", ".join(f"{key}: ..." for key in family.keys)
            yield Finding((*path, other), message, f"write '{instead}' instead", at_key=True)
        if not missing:
            place = (*path, family.keys[0]) if len(family.keys) == 1 else path
            yield from family.size_findings(self._size(family), place)
        elif not others:
            no_size = len(missing) == len(family.keys)
            message = "names no size" if no_size else f"names a size without its {missing[0]}"
            yield Finding(path, message, f"add '{', '.join(f'{key}: ...' for key in missing)}'")

    def _size(self, family: Family) -> Size:
        named = tuple(getattr(self, key) for key in family.keys)
        return named[0] if len(named) == 1 else named


class Chosen(Cell):
    """A cell of a study that may have axes and variants."""

    variant: Slug | None = None
    """The variant it is trained in. Left out: in each."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Field path -> value, as in an axis; of every field that an axis without a role varies here."""


class Holdout(Chosen):
    """A run that no fit sees: trained only after the forecast of it is frozen."""

    seed: Seed = 0


class Added(Chosen):
    """A run beside those of the design, fitted like them: what ``scaling next`` writes."""

    seeds: Seeds | None = None
    """Left out: each seed of the study."""


class Noise(Chosen):
    """Repetitions of one cell with seeds of their own, to measure the noise between seeds."""

    seeds: Seeds


Corner = Literal["smallest-shortest", "smallest-longest", "largest-shortest", "largest-longest"]


class Replicates(Described):
    """Runs at corners of the design again with other seeds: initial weights and order of data apart."""

    corners: Annotated[tuple[Corner, ...], Field(min_length=1), AfterValidator(distinct_names)]
    """Which: the smallest or largest size that the design trains, for the shortest or longest that it trains
    that size."""
    init: Annotated[Whole, Field(ge=0, le=1000)] = 2
    """So many other draws of the initial weights, the order of data as in the run that is repeated."""
    order: Annotated[Whole, Field(ge=0, le=1000)] = 2
    """So many other orders of data, the initial weights as in the run that is repeated."""

    @property
    def count(self) -> int:
        """Runs, at most: two corners may be the same cell."""
        return len(self.corners) * (self.init + self.order)

    def findings(self) -> Iterator[Finding]:
        if self.init + self.order == 0:
            yield Finding(
                ("noise",), "init and order are 0: nothing is repeated", "raise one, or leave it out"
            )


def _form(value: Any) -> str:
    corners = isinstance(value, Replicates) or (isinstance(value, dict) and "corners" in value)
    return "corners" if corners else "cell"


WrittenNoise = Annotated[
    Annotated[Noise, Tag("cell")] | Annotated[Replicates, Tag("corners")], Discriminator(_form)
]
