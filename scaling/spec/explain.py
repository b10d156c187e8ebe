"""Pydantic's errors in plain English, with paths into the spec and "did you mean"."""

from __future__ import annotations

import types
from dataclasses import replace
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scaling.recipe.quantities import CURRENCY, SHA256, SLUG, bound_text
from scaling.spec.execution import SlurmExecution
from scaling.spec.guess import closest
from scaling.spec.source import Finding, Path, shorten

_TEXTS = {
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
}
_PATTERNS = {
    SLUG: "must be 1-64 letters, digits, '.', '_', '-', starting with a letter or digit",
    SHA256: "must be 64 hexadecimal digits, lower case",
    CURRENCY: "must be the name of a currency in 1-12 letters, such as EUR",
}


def explain(error: ValidationError, root: Any, most: int | None = None) -> list[Finding]:
    """Make one finding per error (of the first ``most``) of what ``root`` types; a misspelt name is not
    missing as well."""
    details = error.errors(include_url=False)[:most]
    unknown = [_unknown(detail, root) for detail in details if detail["type"] == "extra_forbidden"]
    meant = {(*finding.path[:-1], finding.meant) for finding in unknown}
    findings = list(unknown)
    for detail in details:
        path, types = _locate(detail["loc"], root)
        kind = detail["type"]
        implied = (
            kind == "extra_forbidden"  # said above
            or (kind == "missing" and path in meant)
            or (kind == "too_short" and detail["input"])  # not empty, but no item of it is valid
        )
        if not implied:
            findings.append(_explain(path, types, detail))
    return findings


def _unknown(detail: ErrorDetails, root: Any) -> Finding:
    path, types = _locate(detail["loc"][:-1], root)
    names = _names(types)
    name = str(detail["loc"][-1])
    guess = closest(name, names)
    if path == ("execution",) and name in SlurmExecution.model_fields:
        return Finding((*path, name), f"unknown name '{name}'", "it needs 'kind: slurm'", at_key=True)
    hint = f"did you mean '{guess}'?" if guess else f"known here: {', '.join(names)}"
    return Finding((*path, name), f"unknown name '{shorten(name, 60)}'", hint, at_key=True, meant=guess)


def _explain(path: Path, types: list[Any], detail: ErrorDetails) -> Finding:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail.get("input")
    got = f", is {show(value)}"
    if path[-1:] == ("[key]",):  # a name in a mapping of names to values
        finding = _explain(path[:-1], types, detail)
        return replace(finding, at_key=True)
    if kind == "fields":  # that do not go together
        return Finding(path, detail["msg"])
    if kind == "missing":
        return Finding(path, "required, but not given", f"add '{path[-1]}: ...'")
    if kind == "union_tag_not_found":
        return Finding(path, f"needs a 'kind' of {_or([_tag(t) for t in types])}", "add 'kind: ...'")
    if kind in ("union_tag_invalid", "literal_error"):
        return _choice((*path, "kind") if kind == "union_tag_invalid" else path, detail)
    bound = bound_text(detail)
    if bound is not None:
        return Finding(path, bound + got)
    if kind in ("too_short", "too_long"):
        short = kind == "too_short"
        return Finding(
            path,
            "must not be empty"
            if short
            else f"must have at most {context['max_length']} items, has {context['actual_length']}",
        )
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return Finding(path, f"must be a mapping{_content(types)}" + got)
    if "known" in context and isinstance(value, str):
        guess = closest(value, context["known"])
        return Finding(path, detail["msg"] + got, f"did you mean '{guess}'?" if guess else "", meant=guess)
    if kind == "string_pattern_mismatch":
        return Finding(path, _PATTERNS[context["pattern"]] + got)
    if kind == "tuple_type":
        return Finding(path, _TEXTS[kind] + _items(types) + got)
    hint = "put it in quotes" if kind == "string_type" and isinstance(value, int | float) else ""
    return Finding(path, _TEXTS.get(kind, detail["msg"]) + got, hint)


def _choice(path: Path, detail: ErrorDetails) -> Finding:
    context = detail.get("ctx", {})
    expected = _quoted(context.get("expected_tags") or context["expected"])
    given = context["tag"] if "tag" in context else detail["input"]
    guess = closest(given, expected) if isinstance(given, str) else None
    hint = f"did you mean '{guess}'?" if guess else ""
    return Finding(path, f"must be {_or(expected)}, is {show(given)}", hint, meant=guess)


def _quoted(expected: str) -> list[str]:
    """Return the choices in pydantic's ``'a', 'b' or 'c'``."""
    return expected.split("'")[1::2]


def _or(choices: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]])) if choices else "something else"


def show(value: Any) -> str:
    """Write a value as a spec does, shortened."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return shorten(repr(value), 60)


def _locate(loc: tuple[int | str, ...], root: Any) -> tuple[Path, list[Any]]:
    """Strip the tags of unions from pydantic's location; return the types allowed there too."""
    current: Any = root
    path: list[str | int] = []
    for part in loc:
        members = _members(current)
        if len(members) > 1 and part != "[key]":  # which is a name, and of no type
            current = next((m for m in members if _tag(m) == part), None)
            continue
        path.append(part)
        current = members[0] if members else None
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(str(part))
            current = field.annotation if field else None
        elif get_origin(current) is tuple:
            current = get_args(current)[0]
        elif get_origin(current) is dict:
            current = get_args(current)[1]
        else:
            current = None
    return tuple(path), _members(current)


def _names(types: list[Any]) -> tuple[str, ...]:
    """Return the names of the fields of the one model allowed; just ``kind`` where there are several."""
    match types:
        case [type() as model, *others] if issubclass(model, BaseModel) and not (
            others and model.model_fields["kind"].is_required()
        ):
            return tuple(model.model_fields)  # of several, the usual one
        case _:
            return ("kind",)


def _items(types: list[Any]) -> str:
    """Show a list of one of ``types``, where its items are text or numbers."""
    match types:
        case [one] if get_origin(one) is tuple:
            items = _members(get_args(one)[0])
            if str in items:
                return ", such as [a, b]"
            return ", such as [1, 2]" if int in items or float in items else ""
        case _:
            return ""


def _content(types: list[Any]) -> str:
    """Say what a mapping of one of ``types`` holds."""
    match types:
        case [one] if get_origin(one) is dict:
            listed = get_origin(next(iter(_members(get_args(one)[1])), None)) is tuple
            return f", such as {{NAME: {'[1, 2]' if listed else '...'}}}"
        case [type() as model] if issubclass(model, BaseModel) and model.model_config.get("extra") == "allow":
            return " of field paths to values, such as {recipe.batch_tokens: 256}"
        case _:
            return f" with {', '.join(_names(types))}"


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union without None and without ``Annotated``; a single type is its own only
    member."""
    while hasattr(annotation, "__metadata__"):
        annotation = annotation.__origin__
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _members(members[0]) if len(members) == 1 else members
    return [annotation] if annotation is not None else []


def _tag(member: Any) -> str:
    for extra in getattr(member, "__metadata__", ()):
        if hasattr(extra, "tag"):
            return extra.tag
    return get_args(member.model_fields["kind"].annotation)[0]
