"""Show how far a long reading of data is: one line that changes on a terminal, else a line at times."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from scaling.cli.words import count, duration
from scaling.counts.memory import size
from scaling.data.progress import Progress, Report

HEARTBEAT_SECONDS = 15.0


def progress_text(now: Progress) -> str:
    """``tokenising: 1.2 GB of 9.7 GB, about 40 s left``."""
    if now.step == "waiting":
        return "waiting for another process that prepares the same"
    if not now.total:
        return now.step
    if now.step in ("comparing", "reading"):
        amount = f"{count(now.done)} of {count(now.total)} tokens"
    else:
        amount = f"{size(now.done)} of {size(now.total)}"
    left = f", about {duration(now.seconds_left)} left" if now.seconds_left else ""
    return f"{now.step}: {amount}{left}"


@contextmanager
def metered() -> Iterator[Report]:
    """Give what shows progress on standard error, which it writes to: standard output is for results."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            yield lambda now: live.update(Text(progress_text(now)))
    else:
        yield Lines()


class Lines:
    """A line when a step begins, and at times while it lasts."""

    def __init__(self) -> None:
        self.step, self.last = "", 0.0

    def __call__(self, now: Progress) -> None:
        if now.step != self.step or time.monotonic() - self.last > HEARTBEAT_SECONDS:
            print(f"{time.strftime('%H:%M:%S')} {progress_text(now)}", file=sys.stderr, flush=True)
            self.step, self.last = now.step, time.monotonic()
