"""What a refusal advises, followed to the letter."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import pandas as pd

from analysis import AnalysisError, load
from analysis.errors import Argument

ROUNDS = 5
Choose = Callable[[Sequence[Any]], Any]
FIRST: Choose = itemgetter(0)


def advised(error: AnalysisError, choose: Choose = FIRST) -> dict[str, Any]:
    """The arguments that a refusal names; of alternatives the one that ``choose`` takes."""
    named: dict[tuple[str, ...], list[Any]] = {}
    for problem in error.problems:
        for part in (problem.message, problem.where, problem.hint):
            for argument in part if isinstance(part, tuple) else (part,):
                if isinstance(argument, Argument):
                    keys = tuple(argument.value) if isinstance(argument.value, dict) else ()
                    named.setdefault((argument.name, *keys), []).append(argument.value)
    given: dict[str, Any] = {}
    for (name, *_), alternatives in named.items():
        value = choose(alternatives)
        given[name] = given.get(name, {}) | value if isinstance(value, dict) else value
    return given


def load_as_advised(path: Any, choose: Choose = FIRST, **options: Any) -> tuple[pd.DataFrame, int]:
    """The table, loaded with all that refusals advise, and how many there were.

    Raises:
        AnalysisError: a refusal that advises nothing new.
    """
    for refusals in range(ROUNDS):
        try:
            return load(path, **options), refusals
        except AnalysisError as error:
            more = advised(error, choose)
            if "where" in more and "where" in options and more["where"] not in options["where"]:
                more["where"] = f"({options['where']}) and ({more['where']})"
            merged = options | {
                name: options.get(name, {}) | value if isinstance(value, dict) else value
                for name, value in more.items()
            }
            if merged == options:
                raise
            options = merged
    raise AssertionError(f"{path}: {ROUNDS} refusals, each with new advice: {options}")
