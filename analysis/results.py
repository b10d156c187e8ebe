"""Results as JSON, and back: what all of them begin with, and their frames."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError


@contextmanager
def stored(
    text: str, what: str, schema: int, *, again: str, kind: str, writer: str
) -> Iterator[dict[str, Any]]:
    """The fields of a result that ``writer`` wrote. Raises AnalysisError on another schema (then ``again``)
    and, inside the block too, where ``text`` is not ``kind``."""
    try:
        data = json.loads(text)
        if data.pop("schema") != schema:
            raise AnalysisError(f"{what}: field 'schema' must be {schema}; {again}")
        yield data
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise AnalysisError(f"{what}: not {kind} ({error}); write it with {writer}") from error


def plain(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """The columns for JSON, unknown numbers null."""
    return {str(c): [None if pd.isna(v) else v for v in frame[c].tolist()] for c in frame.columns}


def framed(data: Mapping[str, list[Any]]) -> pd.DataFrame:
    """The frame that :func:`plain` took apart."""
    return pd.DataFrame({c: pd.Series(v, dtype=None if None not in v else _kind(v)) for c, v in data.items()})


def _kind(values: list[Any]) -> type:
    return object if any(isinstance(v, str) for v in values) else float
