"""Errors a user can cause. The command line prints them without a traceback and exits with code 2."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing wrong with what the user gave.

    ``where`` is ``file:line:column`` or a path of field names, ``message`` names field, value and
    constraint, ``hint`` the next step, ``excerpt`` the offending line.
    """

    message: str
    where: str = ""
    hint: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        if self.hint:
            text += f"; {self.hint}"
        if self.excerpt:
            text += f"\n    {self.excerpt}"
        return text


class UserError(Exception):
    """One or more :class:`Problem` of the user's input, reported all at once."""

    def __init__(self, *problems: Problem | str):
        self.problems = tuple(Problem(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(map(str, self.problems)))
