"""What a refusal advises, followed to the letter."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis import AnalysisError, load
from analysis.errors import Argument

ROUNDS = 5


def advised(error: AnalysisError) -> dict[str, Any]:
    """The arguments that a refusal names; of alternatives the first."""
    given: dict[str, Any] = {}
    for problem in error.problems:
        for part in (problem.message, problem.where, problem.hint):
            for argument in part if isinstance(part, tuple) else (part,):
                if not isinstance(argument, Argument):
                    continue
                if isinstance(argument.value, dict):
                    given[argument.name] = argument.value | given.get(argument.name, {})
                else:
                    given.setdefault(argument.name, argument.value)
    return given


def load_as_advised(path: Any, **options: Any) -> tuple[pd.DataFrame, int]:
    """The table, loaded with all that refusals advise, and how many there were.

    Raises:
        AnalysisError: a refusal that advises nothing new.
    """
    for refusals in range(ROUNDS):
        try:
            return load(path, **options), refusals
        except AnalysisError as error:
            more = advised(error)
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
