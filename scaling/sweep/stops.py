"""Why a driver stops before its phase is over: the name of a signal, or a :class:`Reason`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Reason(StrEnum):
    OUT_OF_TIME = "out-of-time"
    PLAN_CHANGED = "plan-changed"
    CANCELLED = "cancelled"


WORDS: dict[str, str] = {
    Reason.OUT_OF_TIME: "--max-hours",
    Reason.PLAN_CHANGED: "another launch, which changed the plan of this folder",
    Reason.CANCELLED: "`scaling cancel`",
}


def in_words(reason: str) -> str:
    """Say what stops a driver; a signal is its name."""
    return WORDS.get(reason, reason)


@contextmanager
def signals_to(receive: Callable[[str], None]) -> Iterator[None]:
    """Hand names of stop signals to ``receive`` while inside; one ignored before (nohup) stays so. Batch
    systems send SIGUSR2 when the time limit is near, where they are asked to."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
    old = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        if old[number] is not signal.SIG_IGN:
            signal.signal(number, lambda received, frame: receive(signal.Signals(received).name))
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, old[number] or signal.SIG_DFL)
