"""What a refusal advises, taken by the letter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import pandas as pd

from analysis import AnalysisError, load
from analysis.errors import Argument
from analysis.tables.magnitudes import UNKNOWN

ROUNDS = 5
Choose = Callable[[Sequence[Any]], Any]
FIRST: Choose = itemgetter(0)


def arguments(error: AnalysisError, choose: Choose = FIRST) -> dict[str, Any]:
    """Arguments of ``load`` as the refusal states them: of alternatives the one that ``choose`` takes; none
    where a unit is asked for that only the user knows."""
    taken: dict[str, Any] = {}
    for problem in error.problems:
        parts = (*_parts(problem.message), *_parts(problem.where), *_parts(problem.hint))
        alternatives: list[list[Argument]] = []
        for before, part in zip(("", *parts), parts, strict=False):
            if isinstance(part, Argument) and not _is_open(part):
                if str(before).endswith("or ") and alternatives:
                    alternatives[-1].append(part)
                else:
                    alternatives.append([part])
        for argument in map(choose, alternatives):
            if isinstance(argument.value, dict):
                taken[argument.name] = {**argument.value, **taken.get(argument.name, {})}
            else:
                taken.setdefault(argument.name, argument.value)
    return taken


def _is_open(argument: Argument) -> bool:
    return isinstance(argument.value, dict) and UNKNOWN in argument.value.values()


def _parts(text: Any) -> tuple[Any, ...]:
    return text if isinstance(text, tuple) else (text,)


def load_as_advised(path: Any, choose: Choose = FIRST, **options: Any) -> tuple[pd.DataFrame, int]:
    """The table, loaded with all that refusals advise, and how many there were.

    Raises:
        AnalysisError: a refusal that advises nothing new.
    """
    for refusals in range(ROUNDS):
        try:
            return load(path, **options), refusals
        except AnalysisError as error:
            merged = _added(options, arguments(error, choose))
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
