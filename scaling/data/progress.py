"""How far a preparation is, for whoever shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Step = Literal[
    "waiting", "surveying", "opening the tokenizer", "tokenising", "comparing", "checking", "reading"
]


@dataclass(frozen=True)
class Progress:
    """``done`` of ``total`` bytes of files, or of tokens where texts are compared or a store is read;
    ``seconds_left`` for this step, None while nothing is known. ``waiting``: for another process that
    prepares the same; the tokenizer may be trained while it is opened."""

    step: Step
    done: int = 0
    total: int = 0
    seconds_left: float | None = None


Report = Callable[[Progress], None]


def quiet(progress: Progress) -> None:
    """Show nothing."""


class Meter:
    """Reports a step as bytes of it get done; ``done`` before it began take no part in the estimate."""

    def __init__(self, report: Report, step: Step, total: int, done: int = 0):
        self.step: Step = step
        self.report, self.total = report, total
        self.before, self.done, self.start = done, done, time.monotonic()
        report(Progress(step, done, total))

    def add(self, size: int) -> None:
        self.done += size
        new = self.done - self.before
        rate = (time.monotonic() - self.start) / new if new else None
        left = None if rate is None else rate * (self.total - self.done)
        self.report(Progress(self.step, self.done, self.total, left))
