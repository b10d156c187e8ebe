"""Errors that a user of ``analysis`` can cause. The command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Iterable


class AnalysisError(Exception):
    """Everything wrong with a table, a law or a request, reported at once.

    Each problem names field, value, constraint and next step.
    """

    def __init__(self, problems: str | Iterable[str]):
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))
