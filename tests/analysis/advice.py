"""What a refusal advises, taken by the letter."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis import AnalysisError, load
from analysis.errors import Argument

ROUNDS = 5


def arguments(error: AnalysisError) -> dict[str, Any]:
    """Arguments of ``load`` as the refusal states them: of alternatives the first."""
    taken: dict[str, Any] = {}
    for problem in error.problems:
        parts = (*_parts(problem.message), *_parts(problem.where), *_parts(problem.hint))
        for before, part in zip(("", *parts), parts, strict=False):
            if str(before).endswith("or "):
                continue
            if isinstance(part, Argument) and isinstance(part.value, dict):
                taken[part.name] = {**part.value, **taken.get(part.name, {})}
            elif isinstance(part, Argument):
                taken.setdefault(part.name, part.value)
    return taken


def _parts(text: Any) -> tuple[Any, ...]:
    return text if isinstance(text, tuple) else (text,)


def load_as_advised(path: Any, **options: Any) -> tuple[pd.DataFrame, int]:
    """The table, loaded with all that refusals advise, and how many there were.

    Raises:
        AnalysisError: a refusal that advises nothing new.
    """
    for refusals in range(ROUNDS):
        try:
            return load(path, **options), refusals
        except AnalysisError as error:
            merged = _added(options, arguments(error))
            if merged == options:
                raise
            options = merged
    raise AssertionError(f"{path}: {ROUNDS} refusals, each with new advice: {options}")


def _added(options: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Options as a user adds to them: filters are joined by ``and``."""
    merged = dict(options)
    for name, value in more.items():
        before = options.get(name)
        if isinstance(value, dict):
            merged[name] = {**(before or {}), **value}
        elif name == "where" and before and value not in before:
            merged[name] = f"({before}) and ({value})"
        elif name != "where" or not before:
            merged[name] = value
    return merged
