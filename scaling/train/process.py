"""The process a job runs in: when it must stop, and with whom it dies. Imports nothing heavy."""

from __future__ import annotations

import faulthandler
import os
import signal
import stat
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from scaling.store.failure import HUNG

if TYPE_CHECKING:
    from scaling.train.program import Program


class Wanted(NamedTuple):
    """What a job wants of its process: a lane of a program, beside at most ``pack - 1`` other jobs."""

    program: Program
    pack: int


class PackFailed(Exception):
    """A program with several runs side by side has failed, mostly for lack of memory: all states are lost."""


class Relieved(Exception):
    """A program ran out of memory: all states are lost, and the job is to start again, in smaller pieces."""


class StopRequest:
    """Set by SIGTERM or SIGINT, or an order; the loop looks at it after every chunk."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.ask)

    def ask(self, *_: object) -> None:
        self.asked = True


class Watchdog:
    """Ends the process when nothing was done for ``seconds``: a collective that hangs never returns. The
    stacks of all threads go to the log, and the driver tries the job again.

    Seconds in which the process itself was stopped do not count.
    """

    def __init__(self, seconds: float):
        self.seconds, self._idle, self._ended = seconds, 0.0, threading.Event()
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def reset(self) -> None:
        """Something was done."""
        self._idle = 0.0

    def end(self) -> None:
        self._ended.set()

    def _watch(self) -> None:
        look = min(1.0, self.seconds / 4)
        while not self._ended.wait(look):
            self._idle += look
            if self._idle > self.seconds:
                print(
                    f"nothing was done for {self.seconds:.0f} s; the stacks of all threads:",
                    flush=True,
                )
                faulthandler.dump_traceback(all_threads=True)
                os._exit(HUNG)


def die_with_driver(read: Callable[[bytes], object] = lambda line: None) -> None:
    """Exit at once when standard input, a pipe that the driver holds open, is closed; ``read`` is given its
    lines until then."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def watch() -> None:
        left = b""
        while piece := os.read(0, 4096):  # no buffered reader: its lock would be held as the process ends
            *lines, left = (left + piece).split(b"\n")
            for line in lines:
                read(line)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="driver-watch").start()
