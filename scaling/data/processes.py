"""Work shared among processes: tasks are handed out as processes get free, results come as they are ready."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_connection
from threading import Thread
from typing import Any, TypeVar

from scaling.errors import Complaint, UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


class ProcessKilled(UserError):
    """A process ended before its task was done."""


def shared_out(function: Callable[[Task], Result], tasks: Iterable[Task], processes: int) -> Iterator[Result]:
    """Yield ``function(task)`` for each task, in the order in which they get ready.

    ``tasks`` is asked for a task only when a process is free for it. With one process all is done here. The
    processes end with this one, even if it is killed.

    Raises:
        ProcessKilled: a process was killed. What ``function`` raises is raised here.
    """
    if processes == 1:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(processes, context, initializer=_begin) as pool:
        running = set[Future[Any]]()
        try:
            for task in tasks:
                running.add(pool.submit(function, task))
                if len(running) >= processes:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while running:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            message = "a process was killed, perhaps for want of memory; what is done is kept"
            raise ProcessKilled(Complaint(message, hint="go on with fewer processes")) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread a process
    parent = multiprocessing.parent_process()
    assert parent is not None
    Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for_connection([sentinel])
    os._exit(1)
