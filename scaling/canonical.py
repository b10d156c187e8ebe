"""Canonical JSON, the bytes that are hashed, and the hash: what identity rests on."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields
from functools import cache
from typing import Any, cast

from pydantic import BaseModel

from scaling.counts.external import ExternalSize
from scaling.counts.shape import Experts, Shape
from scaling.recipe.schedules import Schedule


def canonical_json(value: BaseModel | dict[str, Any]) -> str:
    """Return the hashed bytes: sorted keys, no spaces; fields at their declared neutral value left out.

    A field added to a model after ids were given out declares ``json_schema_extra={"neutral": value}`` (one
    of :class:`Shape`, ``metadata={"neutral": value}``); while it has that value it leaves ids as they were.

    Raises:
        ValueError: a number is not finite.
    """
    return _json_of_plain(plain(value))


@cache
def _neutral(model: type[BaseModel]) -> dict[str, Any]:
    """The declared neutral values of fields."""
    extras = ((name, info.json_schema_extra) for name, info in model.model_fields.items())
    return {
        name: extra["neutral"] for name, extra in extras if isinstance(extra, dict) and "neutral" in extra
    }


def plain(value: Any) -> Any:
    """Return a value as canonical JSON has it, without fields at their neutral value. Raises ValueError for a
    number that is not finite."""
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, Schedule):
        return plain(value.json_fields())
    if isinstance(value, BaseModel):
        given = ((name, getattr(value, name)) for name in type(value).model_fields)
        neutral = _neutral(type(value))
        return {k: plain(v) for k, v in given if k not in neutral or v != neutral[k]}
    if isinstance(value, Shape | Experts):
        return _plain_shape(value)
    if isinstance(value, ExternalSize):
        return _plain_fields(value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in cast(dict[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in cast(list[Any], value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be part of an identity: numbers must be finite")
    return value


@cache
def _plain_shape(value: Shape | Experts) -> dict[str, Any]:
    """Return what all runs of a shape hash of it; it is shared, and never changed."""
    return _plain_fields(value)


def _plain_fields(value: Shape | Experts | ExternalSize) -> dict[str, Any]:
    items = [(f, getattr(value, f.name)) for f in fields(value)]
    return {f.name: plain(v) for f, v in items if "neutral" not in f.metadata or v != f.metadata["neutral"]}


def short_hash(value: BaseModel | dict[str, Any]) -> str:
    """Return the first 12 hex digits of the sha256 of the canonical JSON."""
    return hash_of_plain(plain(value))


def hash_of_plain(values: dict[str, Any]) -> str:
    """Return :func:`short_hash` of what is :func:`plain` already."""
    return hashlib.sha256(_json_of_plain(values).encode()).hexdigest()[:12]


def _json_of_plain(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
