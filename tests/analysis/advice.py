"""What a refusal advises, taken by the letter."""

from __future__ import annotations

from typing import Any

from analysis import AnalysisError
from analysis.errors import Argument


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
