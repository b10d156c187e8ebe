"""``python -m scaling.train JOB_FOLDER [MARK]``: train the runs of one job that have no record yet.

MARK is that of a lease which was seen stalled for long enough: it is taken over if it still is.
Exit codes: 0 every run has a record, 1 some failed, 130 asked to stop (a relaunch resumes), 75 another
process holds the job's lease, 76 another process took the lease over, 77 the disk is full, 79 another host of
the job is gone or did not come, 80 nothing was done for too long, 81 one of several hosts ran out of memory
(a relaunch of all goes on in smaller pieces). Several hosts train one job where SCALING_COORDINATOR,
SCALING_HOSTS and SCALING_HOST say so.

``python -m scaling.train --serve`` reads such jobs from standard input, a line of JSON each, and answers each
on standard output with its exit code; 78: the job was given back, for others that it shared the process with.
The line ``{"stop": true}`` asks it to stop, as SIGTERM does, which not every launcher passes on.
"""

from __future__ import annotations

import os
import queue
import sys
from pathlib import Path

from scaling.errors import UserError
from scaling.store.failure import LOST_HOST
from scaling.train.coordinator import Missing
from scaling.train.hosts import Place
from scaling.train.orders import Order, report, taking
from scaling.train.process import StopRequest, die_with_driver
from scaling.train.serve import Worker


def main(folder: Path, stale: str = "") -> int:
    """Do one job, and write to the standard output of this process."""
    die_with_driver()
    statuses = list[int]()
    worker = Worker(StopRequest(), lambda order, status: statuses.append(status), logs=False)
    worker.place = Place.of(os.environ)
    worker.finish(Order(folder, stale))
    worker.hosts.leave(statuses[0])
    return statuses[0]


def serve() -> int:
    """Do the jobs that are written to standard input, until it ends."""
    orders, answers = queue.Queue[Order](), os.dup(1)
    os.dup2(2, 1)

    def answer(order: Order, status: int) -> None:
        if worker.hosts.leads:
            report(answers, order, status)

    stop = StopRequest()
    worker = Worker(stop, answer, place=Place.of(os.environ))
    die_with_driver(taking(orders, stop))
    status = worker.serve(orders)
    worker.hosts.leave(status)
    return status


if __name__ == "__main__":
    try:
        sys.exit(serve() if sys.argv[1:] == ["--serve"] else main(Path(sys.argv[1]), *sys.argv[2:3]))
    except UserError as error:  # of SCALING_COORDINATOR and the like
        print(error, file=sys.stderr, flush=True)
        sys.exit(LOST_HOST if isinstance(error, Missing) else 2)
