"""Why a driver stops before its phase is over: names of signals, and these reasons."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OUT_OF_TIME = "--max-hours"
PLAN_CHANGED = "another launch, which changed the plan of this folder"
CANCELLED = "`scaling cancel`"


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
