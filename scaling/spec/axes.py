"""What a study varies: axes, and variants. A field path (``recipe.batch_tokens``) names what is changed."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_serializer

from scaling.recipe.quantities import Described
from scaling.spec.base import Several
from scaling.spec.designs.cells import NAMING, Part, Point
from scaling.spec.families import key_values
from scaling.spec.source import Finding, Override, Path

Values = Annotated[dict[str, Annotated[tuple[Any, ...], Several]], Field(min_length=1)]


class Axis(Described):
    """Fields that take several values: every combination of them (cross), or side by side (zip)."""

    cross: Values | None = None
    """Field path -> values; every value of one with every value of the others."""
    zip: Values | None = None
    """Field path -> values; the first of each together, the second of each, and so on."""
    at: tuple[Part, ...] = ()
    """Cells of the design that it holds for: a size, a length, or both. Left out: all."""
    role: Literal["tuning"] | None = None
    """tuning: runs beside those of the design, which no fit sees. Left out: the runs of the design take these
    values."""

    @property
    def fields(self) -> Mapping[str, tuple[Any, ...]]:
        return self.cross or self.zip or {}

    @property
    def count(self) -> int:
        """Combinations of values."""
        lengths = [len(values) for values in self.fields.values()]
        return math.prod(lengths) if self.cross else min(lengths)

    def applies(self, point: Point, keys: Sequence[str]) -> bool:
        """Tell whether the axis holds for ``point``, of a family that names its sizes by ``keys``."""
        return not self.at or any(part.has(point, keys) for part in self.at)


class Variant(Described):
    """A named set of changes: field path -> value, which replaces all that stands there."""

    model_config = ConfigDict(extra="allow")

    axes: tuple[Axis, ...] = ()
    """Axes of this variant alone."""

    @property
    def changes(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """Keep values that are null, which set a field back to what it is when left out."""
        axes = [axis.model_dump(mode="json", exclude_none=True) for axis in self.axes]
        return self.changes | ({"axes": axes} if axes else {})


@dataclass(frozen=True)
class PlacedAxis:
    """An axis and where it is written."""

    axis: Axis
    place: Path

    @cached_property
    def columns(self) -> dict[str, list[Override]]:
        """Field path -> its values, in order."""
        kind = "cross" if self.axis.cross else "zip"
        return {
            name: [
                Override(field_of(name), value, (*self.place, kind, name, i), (*self.place, kind, name))
                for i, value in enumerate(values)
            ]
            for name, values in self.axis.fields.items()
        }

    @cached_property
    def choices(self) -> tuple[tuple[Override, ...], ...]:
        """Every combination of values."""
        columns = self.columns.values()
        return tuple(itertools.product(*columns) if self.axis.cross else zip(*columns, strict=True))

    @property
    def fields(self) -> list[Path]:
        return [field_of(name) for name in self.axis.fields]


def field_of(name: str) -> Path:
    return tuple(name.split("."))


def overlap(one: Path, other: Path) -> bool:
    """Tell whether one path is the other, or above it."""
    return all(a == b for a, b in zip(one, other, strict=False))


def axis_findings(placed: PlacedAxis, points: Sequence[Point], keys: Sequence[str]) -> Iterator[Finding]:
    """Find what is wrong with an axis, its fields and their values apart.

    Args:
        placed: the axis.
        points: of the design.
        keys: the fields of a cell that name a size; none where the family is not valid.
    """
    axis, place = placed.axis, placed.place
    if (axis.cross is None) == (axis.zip is None):
        yield Finding(place, "needs exactly one of cross and zip", "give the values once")
        return
    lengths = {name: len(values) for name, values in axis.fields.items()}
    if axis.zip and len(set(lengths.values())) > 1:
        numbers = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        yield Finding((*place, "zip"), f"lists of different lengths ({numbers})", "give as many of each")
        return
    yield from _repeated(placed)
    for i, part in enumerate(axis.at if keys else ()):
        yield from _unmatched(part, (*place, "at", i), points, keys)


def _repeated(placed: PlacedAxis) -> Iterator[Finding]:
    """Find a value, or a row of a zip, that is given twice."""
    if placed.axis.cross:
        groups = [[(value,) for value in column] for column in placed.columns.values()]
    else:
        groups = [list(placed.choices)]
    for group in groups:
        seen = set[str]()
        for row in group:
            text = canonical([override.value for override in row])
            if text in seen:
                yield Finding(row[0].place, "is given twice", "remove one of them")
            seen.add(text)


def _unmatched(part: Part, place: Path, points: Sequence[Point], keys: Sequence[str]) -> Iterator[Finding]:
    given, by = part.model_dump(exclude_none=True), " and ".join(f"'{key}'" for key in keys)
    written = f"'{', '.join(f'{key}: ...' for key in keys)}'"
    foreign = [name for name in NAMING if name not in keys and name in given]
    for name in foreign:
        yield Finding((*place, name), f"the family names its sizes by {by}", f"write {written}")
    if not given:
        yield Finding(place, "names neither a size nor a length", f"add {written}, or flops or tokens")
    elif not foreign and points and not any(part.has(point, keys) for point in points):
        sizes = ", ".join(dict.fromkeys(" x ".join(map(str, key_values(point.size))) for point in points))
        lengths = ", ".join(dict.fromkeys(f"{point.length} {point.amount:g}" for point in points))
        yield Finding(place, "is no cell of the design", f"sizes: {sizes}; lengths: {lengths}")


def overlapping(axes: Iterable[PlacedAxis]) -> Iterator[Finding]:
    """Find fields that two axes set together, or one axis twice. Axes of role tuning never meet."""
    seen = list[tuple[Path, PlacedAxis]]()
    for placed in axes:
        for name, field in zip(placed.axis.fields, placed.fields, strict=True):
            for other, owner in seen:
                both_tuning = owner is not placed and placed.axis.role == owner.axis.role == "tuning"
                if overlap(field, other) and not both_tuning:
                    message = f"changes the same as '{'.'.join(map(str, other))}'"
                    kind = "cross" if placed.axis.cross else "zip"
                    yield Finding((*placed.place, kind, name), message, "let one axis change it")
            seen.append((field, placed))


def canonical(value: Any) -> str:
    """Return text that is equal for equal plain values."""
    return json.dumps(value, sort_keys=True)
