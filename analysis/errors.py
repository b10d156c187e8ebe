"""Errors that a user of ``analysis`` can cause. The command line prints them without a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

SHOWN = 5  # items, such as offending rows, named in a message


@dataclass(frozen=True)
class Argument:
    """An argument of a public function, as a message names it: ``columns={'params': 'N'}``. The command line
    spells it as its option."""

    name: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name}={self.value!r}"


def alternatives(arguments: Iterable[Argument]) -> tuple[str | Argument, ...]:
    """The arguments with "or" between them."""
    return tuple(part for argument in arguments for part in (" or ", argument))[1:]


def some(items: Iterable[Any]) -> str:
    """The first few of ``items`` and how many more there are."""
    items = list(items)
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(str, items[:SHOWN])) + more


def plural(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


Text = str | Argument | tuple[str | Argument, ...]  # parts, where a text names arguments


@dataclass(frozen=True)
class Complaint:
    """One thing wrong with what the user gave.

    ``where`` is a file, a column or an argument, ``message`` names field, value and constraint, ``hint`` the
    next step, ``value`` what was given there: the offending line.
    """

    message: Text
    where: Text = ""
    hint: Text = ""
    value: str = ""

    def __str__(self) -> str:
        return self.text()

    def text(self, spell: Callable[[Argument], str] = str) -> str:
        """The whole message, its arguments as ``spell`` writes them."""
        message, where, hint = (_joined(part, spell) for part in (self.message, self.where, self.hint))
        text = f"{where}: {message}" if where else message
        if hint:
            text += f"; {hint}"
        if self.value:
            text += f"\n    {self.value}"
        return text


class AnalysisError(Exception):
    """Everything wrong with a table, a law or a request, reported at once as :class:`Complaint`."""

    def __init__(self, problems: Complaint | str | Iterable[Complaint | str]):
        given = (problems,) if isinstance(problems, Complaint | str) else tuple(problems)
        self.problems = tuple(Complaint(p) if isinstance(p, str) else p for p in given)
        super().__init__("\n".join(map(str, self.problems)))


def _joined(text: Text, spell: Callable[[Argument], str]) -> str:
    parts = text if isinstance(text, tuple) else (text,)
    return "".join(spell(part) if isinstance(part, Argument) else part for part in parts)
