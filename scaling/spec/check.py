"""Checks that need more than one field, but neither FLOPs nor data.

Each takes whatever sections are valid by themselves, so that they are reported together with the errors of
the other sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, assert_never

from scaling.spec.designs import Cell, Grid, RunList
from scaling.spec.families import DepthDial, Family, Shapes, WidthDial
from scaling.spec.models import Data, Recipe, Study
from scaling.spec.source import Finding, Path

LENGTHS = ("flops", "tokens", "steps")


def check_study(study: Study) -> list[Finding]:
    return check_sections({name: getattr(study, name) for name in type(study).model_fields})


def check_sections(sections: Mapping[str, Any]) -> list[Finding]:
    """Findings on the sections given, by name of the field of :class:`~scaling.spec.models.Study`."""
    found = list[Finding]()
    data, family, recipe = sections.get("data"), sections.get("family"), sections.get("recipe")
    design = sections.get("design")
    if family is not None:
        found += _family(family)
    if isinstance(data, Data) and isinstance(recipe, Recipe):
        found += _batch(data, recipe)
    if isinstance(design, Grid) and (design.tokens is None) == (design.steps is None):
        found.append(Finding(("design",), "needs exactly one of tokens and steps", "give the horizons once"))
    cells: list[tuple[Path, Cell]] = [
        (("holdout", i), cell) for i, cell in enumerate(sections.get("holdout") or ())
    ]
    if sections.get("noise") is not None:
        cells.append((("noise",), sections["noise"]))
    if isinstance(design, RunList):
        cells += [(("design", "runs", i), cell) for i, cell in enumerate(design.runs)]
    for path, cell in cells:
        found += _cell(path, cell, family)
    return found


def size_key(family: Family) -> str:
    """The name by which a cell refers to a size of this family."""
    match family:
        case WidthDial():
            return "width"
        case DepthDial():
            return "depth"
        case Shapes():
            return "name"
        case _:
            assert_never(family)


def _family(family: Family) -> Iterator[Finding]:
    at: Path = ("family",)
    match family:
        case WidthDial():
            yield from _head_dim(family.head_dim, (*at, "head_dim"))
            for i, width in enumerate(family.widths):
                yield from _heads(width, family.head_dim, family.kv_heads, (*at, "widths", i))
        case DepthDial():
            yield from _head_dim(family.head_dim, (*at, "head_dim"))
            yield from _heads(family.width, family.head_dim, family.kv_heads, (*at, "width"))
        case Shapes():
            yield from _shapes(family)
        case _:
            assert_never(family)


def _shapes(family: Shapes) -> Iterator[Finding]:
    names = set[str]()
    for i, shape in enumerate(family.shapes):
        at: Path = ("family", "shapes", i)
        if shape.name in names:
            yield Finding((*at, "name"), f"'{shape.name}' names two shapes", "names must differ")
        names.add(shape.name)
        if shape.head_dim is not None:
            yield from _head_dim(shape.head_dim, (*at, "head_dim"))
        elif shape.width % shape.heads:
            message = f"{shape.width} is not divisible by heads = {shape.heads}"
            yield Finding((*at, "width"), message, "change one of them, or give head_dim")
        elif shape.width // shape.heads % 2:
            message = f"{shape.width} / heads = {shape.heads} makes an odd head_dim"
            yield Finding((*at, "width"), message, "rotary positions pair its channels: make it even")
        if shape.kv_heads is not None and shape.heads % shape.kv_heads:
            yield Finding((*at, "kv_heads"), f"{shape.kv_heads} does not divide heads = {shape.heads}")


def _head_dim(head_dim: int, path: Path) -> Iterator[Finding]:
    if head_dim % 2:
        yield Finding(path, f"must be even, is {head_dim}", "rotary positions pair its channels")


def _heads(width: int, head_dim: int, kv_heads: int | None, path: Path) -> Iterator[Finding]:
    if width % head_dim:
        below = width // head_dim * head_dim
        near = f"{below} or {below + head_dim}" if below else f"{head_dim}"
        message = f"width {width} is not divisible by head_dim = {head_dim}, so its heads are not whole"
        yield Finding(path, message, f"use {near}")
    elif kv_heads is not None and width // head_dim % kv_heads:
        message = f"width {width} has {width // head_dim} heads, not divisible by kv_heads = {kv_heads}"
        yield Finding(path, message, "change family.kv_heads or the width")


def _batch(data: Data, recipe: Recipe) -> Iterator[Finding]:
    batch, context = recipe.batch_tokens, data.context
    if batch % context:
        near = f"{batch // context * context} or " if batch > context else ""
        message = f"must be a multiple of data.context = {context}, is {batch}"
        yield Finding(("recipe", "batch_tokens"), message, f"use {near}{(batch // context + 1) * context}")


def _cell(path: Path, cell: Cell, family: Family | None) -> Iterator[Finding]:
    given = [name for name in LENGTHS if getattr(cell, name) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        yield Finding(path, f"needs exactly one of flops, tokens and steps, has {got}", "keep one")
    if family is None:
        return
    key = size_key(family)
    others = [name for name in ("width", "depth", "name") if name != key and getattr(cell, name) is not None]
    for other in others:
        message = f"a {family.kind} family names its sizes by '{key}'"
        yield Finding((*path, other), message, f"write '{key}: ...' instead", at_key=True)
    value = getattr(cell, key)
    if value is None and not others:
        yield Finding(path, "names no size", f"add '{key}: ...'")
    if value is None:
        return
    match family:
        case WidthDial():
            yield from _heads(value, family.head_dim, family.kv_heads, (*path, key))
        case Shapes():
            names = [shape.name for shape in family.shapes]
            if value not in names:
                yield Finding((*path, key), f"no shape is named '{value}'", f"known: {', '.join(names)}")
        case DepthDial():
            pass
