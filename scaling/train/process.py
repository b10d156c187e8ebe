"""The process a job runs in: when it must stop, and with whom it dies. Imports nothing heavy."""

from __future__ import annotations

import os
import signal
import stat
import threading


class StopRequest:
    """Set by SIGTERM or SIGINT; the loop looks at it after every chunk."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: object) -> None:
        self.asked = True


def die_with_driver() -> None:
    """Exit at once when standard input, a pipe that the driver holds open, is closed."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="driver-watch").start()
