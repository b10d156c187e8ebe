"""Cells: one size and how long to train it, as designs, held-out runs, noise and axes name them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from scaling.recipe.quantities import Count, Described, Positive, Slug
from scaling.spec.base import Seed, Seeds
from scaling.spec.families import Family, Size
from scaling.spec.source import Finding, Override, Path

# What the length of a training is given in; the last two are tokens for each parameter.
Length = Literal["flops", "tokens", "steps", "per_total", "per_body"]
LENGTHS: tuple[Length, ...] = ("flops", "tokens", "steps")


@dataclass(frozen=True)
class Point:
    """One size and how long to train it, asked for at ``path``; ``amount_path`` is where the length is
    written. ``changes`` are what the design itself changes of the study there."""

    size: Size
    length: Length
    amount: float
    path: Path
    amount_path: Path
    changes: tuple[Override, ...] = ()


class Part(Described):
    """Some cells: those of one size, of one length, or of both."""

    width: Count | None = None
    """The size, for a width-dial; any width, listed in the family or not."""
    depth: Count | None = None
    """The size, for a depth-dial; any depth, listed in the family or not."""
    name: str | None = None
    """The size, for explicit shapes."""
    flops: Positive | None = None
    """Compute budget: 3 x forward matmul FLOPs, causal attention, head included; nearest whole step."""
    tokens: Positive | None = None
    """Training tokens; nearest whole step."""
    steps: Count | None = None
    """Optimizer steps."""

    def has(self, point: Point, key: str) -> bool:
        """Tell whether ``point``, of a family that names its sizes by ``key``, is one of these cells."""
        size = getattr(self, key)
        if size is not None and size != point.size:
            return False
        asked = [(name, getattr(self, name)) for name in LENGTHS if getattr(self, name) is not None]
        return all((name, amount) == (point.length, point.amount) for name, amount in asked)


class Cell(Part):
    """One size and how long to train it: exactly one of flops, tokens and steps."""

    def point(self, family: Family, path: Path) -> Point:
        """Return the point of this cell, which :meth:`findings` has passed, in ``family``."""
        length: Length = next(name for name in LENGTHS if getattr(self, name) is not None)
        size, amount = getattr(self, family.key), getattr(self, length)
        return Point(size, length, amount, path, (*path, length))

    def findings(self, path: Path, family: Family | None) -> Iterator[Finding]:
        """Find what is wrong with the cell at ``path``; ``family`` is None where it is not valid itself."""
        given = [name for name in LENGTHS if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            yield Finding(path, f"needs exactly one of flops, tokens and steps, has {got}", "keep one")
        if family is None:
            return
        key, size = family.key, getattr(self, family.key)
        others = [
            name for name in ("width", "depth", "name") if name != key and getattr(self, name) is not None
        ]
        for other in others:
            article = "an" if family.kind == "external" else "a"
            message = f"{article} {family.kind} family names its sizes by '{key}'"
            yield Finding((*path, other), message, f"write '{key}: ...' instead", at_key=True)
        if size is not None:
            yield from family.size_findings(size, (*path, key))
        elif not others:
            yield Finding(path, "names no size", f"add '{key}: ...'")


class Chosen(Cell):
    """A cell of a study that may have axes and variants."""

    variant: Slug | None = None
    """The variant it is trained in. Left out: in each."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Field path -> value, as in an axis; of every field that an axis without a role varies here."""


class Holdout(Chosen):
    """A run that no fit sees: trained only after the forecast of it is frozen."""

    seed: Seed = 0


class Noise(Chosen):
    """Repetitions of one cell with seeds of their own, to measure the noise between seeds."""

    seeds: Seeds
