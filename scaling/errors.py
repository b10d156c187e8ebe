"""Errors a user can cause. The command line prints them without a traceback and exits with code 2."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Complaint:
    """One thing wrong with what the user gave.

    ``where`` is ``file:line:column`` or a path of field names, ``message`` names field, value and
    constraint, ``hint`` the next step, ``value`` what was given there: the offending line.
    """

    message: str
    where: str = ""
    hint: str = ""
    value: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        if self.hint:
            text += f"; {self.hint}"
        if self.value:
            text += f"\n    {self.value}"
        return text


class UserError(Exception):
    """One or more :class:`Complaint` of the user's input, reported all at once."""

    def __init__(self, *problems: Complaint | str):
        self.problems = tuple(Complaint(p) if isinstance(p, str) else p for p in problems)
        super().__init__("\n".join(map(str, self.problems)))


def plural(count: int, noun: str) -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
