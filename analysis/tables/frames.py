"""Frames as JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def plain(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """The columns for JSON, unknown numbers null."""
    return {str(c): [None if pd.isna(v) else v for v in frame[c].tolist()] for c in frame.columns}


def framed(data: Mapping[str, list[Any]]) -> pd.DataFrame:
    """The frame that :func:`plain` took apart."""
    return pd.DataFrame({c: pd.Series(v, dtype=None if None not in v else _kind(v)) for c, v in data.items()})


def _kind(values: list[Any]) -> type:
    return object if any(isinstance(v, str) for v in values) else float
