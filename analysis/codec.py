"""The one codec that writes results as JSON and reads them back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from html import escape
from types import UnionType
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError

Reader = Callable[[Any], Any]


class Result:
    """A frozen dataclass kept as JSON with the version ``SCHEMA``. ``WHAT`` it is and how to get it ``AGAIN``
    are for messages; ``DERIVED`` properties are written beside the fields and not read."""

    SCHEMA: ClassVar[int]
    WHAT: ClassVar[str]
    AGAIN: ClassVar[str]
    DERIVED: ClassVar[tuple[str, ...]] = ()

    def summary(self) -> str:
        """The result as text for a terminal."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.summary())}</pre>"

    def to_dict(self) -> dict[str, Any]:
        """The schema, every field and the derived properties, as values that JSON has."""
        names = [*(f.name for f in fields(self)), *self.DERIVED]  # type: ignore[arg-type]
        return {"schema": self.SCHEMA, **{name: plain(getattr(self, name)) for name in names}}

    def to_json(self) -> str:
        """JSON with a schema version; what is unknown is null."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], **readers: Reader) -> Self:
        """Read what :meth:`to_dict` wrote; ``readers`` of fields whose type does not say how.

        Raises:
            AnalysisError: another schema, or not this kind of result.
        """
        try:
            if data["schema"] != cls.SCHEMA:
                raise AnalysisError(f"{cls.WHAT}: field 'schema' must be {cls.SCHEMA}; {cls.AGAIN}")
            return rebuilt(cls, data, readers)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise AnalysisError(
                f"{cls.WHAT}: not its JSON ({error}); write it with {cls.__name__}.to_json"
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote. Raises AnalysisError as :meth:`from_dict` does."""
        return cls.from_dict(parsed(text, cls))


def parsed(text: str, kind: type[Result]) -> Any:
    """The JSON value in ``text``. Raises AnalysisError where it is none."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise AnalysisError(
            f"{kind.WHAT}: not JSON ({error}); write it with {kind.__name__}.to_json"
        ) from error


def plain(value: Any) -> Any:
    """A value as JSON has it: unknown numbers null, infinite ones the texts "inf" and "-inf"."""
    match value:
        case float():
            return None if np.isnan(value) else f"{value:g}" if np.isinf(value) else float(value)
        case str() | bool() | int() | None:
            return value
        case tuple() | list():
            return [plain(item) for item in value]
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case pd.DataFrame():
            missing = value.isna()
            columns = {str(c): zip(value[c].tolist(), missing[c], strict=True) for c in value.columns}
            return {c: [None if gone else plain(v) for v, gone in cells] for c, cells in columns.items()}
        case np.ndarray() | np.generic():
            return plain(value.tolist())
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    return value


def read(kind: Any, value: Any) -> Any:
    """The value of type ``kind`` that :func:`plain` took apart."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # of a type and None, or of types that a field ``kind`` tells apart
        some, *others = (t for t in inner if t is not type(None))
        if others:
            some = next(t for t in (some, *others) if t.kind == value["kind"])
        return None if value is None or (value == {} and is_dataclass(some)) else read(some, value)
    if kind is float:
        return np.nan if value is None else float(value)
    if kind is pd.DataFrame:
        return pd.DataFrame({name: _column(items) for name, items in value.items()})
    if kind is np.ndarray:
        return np.array(value, float)
    if origin is tuple:
        return tuple(read(inner[0] if inner[-1] is ... else inner[i], v) for i, v in enumerate(value))
    if origin in (dict, Mapping):
        return {key: read(inner[1], item) for key, item in value.items()}
    if hasattr(kind, "_fields"):  # a NamedTuple
        return kind(*map(read, get_type_hints(kind).values(), value))
    if hasattr(kind, "from_dict"):
        return kind.from_dict(value)
    return rebuilt(kind, value) if is_dataclass(kind) else value


def rebuilt(kind: Any, data: Mapping[str, Any], readers: Mapping[str, Reader] = {}) -> Any:
    """Make the dataclass ``kind`` out of its fields as JSON has them; ``readers`` as of
    :meth:`Result.from_dict`. What ``data`` has beside the fields is passed over."""
    hints = get_type_hints(kind)
    given = {f.name: data[f.name] for f in fields(kind) if f.name in data}
    return kind(**{n: readers[n](v) if n in readers else read(hints[n], v) for n, v in given.items()})


def _column(values: list[Any]) -> pd.Series:
    if any(isinstance(v, str) and v not in ("inf", "-inf") for v in values):
        return pd.Series(values, dtype=object if None in values else None)
    unknown = any(v is None or isinstance(v, str) for v in values)
    return pd.Series(values, dtype=float if unknown else None)
