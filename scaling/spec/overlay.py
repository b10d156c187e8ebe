"""What a command lays over a spec before it is checked: single fields (--set), a profile (--on)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any, cast

from scaling.errors import Complaint, UserError
from scaling.spec.explain import show
from scaling.spec.source import Mark, Path, dotted_path, shorten
from scaling.spec.text import Tree, parse

EXECUTION = "execution"
AFTER_SPEC, AFTER_FILES = 10**8, 10**9  # the order of problems: those of the spec come first
_OVERRIDE_PART = re.compile(r"([^.\[\]=]+)((?:\[[0-9]{1,6}\])*)")


def lay_over(tree: Tree, text: str, name: str) -> None:
    """Let the fields in the ``text`` of a profile, a file of this ``name``, replace those of ``execution``.

    Raises:
        UserError: the text is not a YAML mapping.
    """
    profile, spec = parse(text, name), cast(dict[str, Any], tree.value)
    fields: Any = profile.value
    if not isinstance(fields, dict):
        hint = "a profile has the fields of `execution`, such as 'kind: slurm'"
        raise UserError(Complaint(f"must be a mapping, is {show(fields)}", f"{name}:1:1", hint))
    if not isinstance(spec.setdefault(EXECUTION, {}), dict):
        return  # which is a problem of the spec
    spec[EXECUTION] |= fields
    for marks, added in ((tree.keys, profile.keys), (tree.values, profile.values)):
        for path in [path for path in marks if path[:1] == (EXECUTION,) and path[1:2] in {*added} - {()}]:
            del marks[path]
        for path, mark in added.items():
            line, column = mark.order
            marks.setdefault((EXECUTION, *path), replace(mark, order=(AFTER_SPEC + line, column)))


def override(tree: Tree, text: str) -> list[Complaint]:
    """Set one ``a.b[0].c=value`` in the tree, or say why not."""
    where = f"--set {shorten(text)}"
    name, equals, value = text.partition("=")
    path = _override_path(name.strip())
    if not equals or path is None:
        return [Complaint("must look like name=value", where, "such as --set recipe.batch_tokens=512")]
    try:
        new = parse(value, where, mark_all=where)
    except UserError as error:
        return list(error.problems)
    node = tree.value
    for i, part in enumerate(path[:-1]):
        if isinstance(node, dict) and _item(node, part) is None:
            cast(dict[Any, Any], node)[part] = {}
            tree.keys[path[: i + 1]] = tree.values[path[: i + 1]] = _at(where)
        node = _item(node, part)
        if not isinstance(node, dict | list):
            return [_cannot(where, path[: i + 1], "is not a mapping or list")]
    if isinstance(node, list) and _item(node, path[-1]) is None:
        return [_cannot(where, path[:-1], "is a list without that item")]
    cast(Any, node)[path[-1]] = new.value
    for marks, added in ((tree.keys, new.keys), (tree.values, new.values)):
        for old in [p for p in marks if p[: len(path)] == path]:
            del marks[old]
        marks.update({path + p: mark for p, mark in added.items()})
        marks[path] = new.values.get((), _at(where))
    return []


def _at(where: str) -> Mark:
    return Mark(where, order=(AFTER_FILES, 0))


def _item(node: Any, part: str | int) -> Any:
    """Return the item of a mapping or list, None if there is none."""
    match node, part:
        case dict(), str():
            return cast(dict[str, Any], node).get(part)
        case list(), int():
            items = cast(list[Any], node)
            return items[part] if part < len(items) else None
        case _:
            return None


def _cannot(where: str, path: Path, reason: str) -> Complaint:
    return Complaint(
        f"{dotted_path(path)} {reason}", where, "set all of it, or use the name of something in it"
    )


def _override_path(name: str) -> Path | None:
    """Parse ``holdout[0].width`` or ``holdout.0.width`` to ``("holdout", 0, "width")``."""
    path = list[str | int]()
    for piece in name.split("."):
        match = _OVERRIDE_PART.fullmatch(piece)
        if match is None:
            return None
        path.append(int(match[1]) if match[1].isdecimal() and len(match[1]) < 7 else match[1])
        path += [int(n) for n in re.findall(r"[0-9]+", match[2])]
    return tuple(path) if isinstance(path[0], str) else None
