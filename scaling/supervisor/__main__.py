"""``python -m scaling.supervisor JOB_FOLDER [MARK]``: let a command of a user train the runs of one job that
have no record yet.

MARK is that of a lease which was seen stalled for long enough: it is taken over if it still is. Exit codes
are those of ``python -m scaling.train``; others, and signals, are the command's own.

``python -m scaling.supervisor --serve`` reads such jobs from standard input, a line of JSON each, and answers
each on standard output with its exit code: one after the other. The line ``{"stop": true}`` asks it to stop,
as SIGTERM does. Imports no jax.
"""

from __future__ import annotations

import os
import queue
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from scaling.store.failure import FULL, SHED, STOPPED, is_disk_full
from scaling.supervisor.supervise import supervise
from scaling.train.orders import Order, report, taking
from scaling.train.process import StopRequest, die_with_driver
from scaling.train.serve import IDLE_SECONDS, write_to


def main(folder: Path, mark: str = "") -> int:
    """Do one job, and write to the standard output of this process."""
    die_with_driver()
    return _do(Order(folder, mark), StopRequest())


def serve() -> int:
    """Do the jobs that are written to standard input, until it ends."""
    orders, answers, stop = queue.Queue[Order](), os.dup(1), StopRequest()
    os.dup2(2, 1)

    die_with_driver(taking(orders, stop))
    while not stop.asked:
        with suppress(queue.Empty):
            order = orders.get(timeout=IDLE_SECONDS)
            write_to(order.folder / "log.txt")
            report(answers, order, _do(order, stop))
    with suppress(queue.Empty):
        while True:
            report(answers, orders.get_nowait(), SHED)
    return STOPPED


def _do(order: Order, stop: StopRequest) -> int:
    try:
        return supervise(order, stop)
    except Exception as error:
        with suppress(OSError):  # the log is on a full disk
            traceback.print_exception(error)
        return FULL if is_disk_full(error) else 1


if __name__ == "__main__":
    status = serve() if sys.argv[1:] == ["--serve"] else main(Path(sys.argv[1]), *sys.argv[2:3])
    sys.exit(status if status >= 0 else 128 - status)
