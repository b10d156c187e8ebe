"""One process that serves jobs: one after the other, or side by side where they share a program.

Imports nothing heavy: jax comes with the first job that is ours to work on.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.store.documents import read
from scaling.store.failure import BUSY, FULL, LOST, SHED, STOPPED, is_disk_full
from scaling.store.lease import Busy, LostLease, acquire
from scaling.store.records import JobSpec
from scaling.train.hosts import ALONE, Hosts, Place, join
from scaling.train.orders import Order
from scaling.train.process import PackFailed, Relieved, StopRequest, Wanted

if TYPE_CHECKING:
    from scaling.train.lanes import Lane, Lanes
    from scaling.train.pack import Asked
    from scaling.train.work import Shop

IDLE_SECONDS = 0.2  # between looks at whether a process without jobs was asked to stop


Flow = Generator[Any, Any, int]
"""A job at work: yields what it :class:`Wanted` of the process and is sent a lane; then the chunks that it
asks for, and is sent their metrics; returns its exit status. Where it yields None it goes on after the other
jobs of the process."""


@dataclass(eq=False)
class Seat:
    """A job at work; ``asked`` is the chunk that it waits for."""

    order: Order
    flow: Flow
    lane: Lane | None = None
    asked: Asked | None = None


@dataclass
class Worker:
    """Serves jobs. ``answer`` is told the exit status of each; ``logs``: each writes to the log of its
    folder. ``place`` is that of this process among those that train each job together."""

    stop: StopRequest
    answer: Callable[[Order, int], None]
    logs: bool = True
    place: Place | None = None
    hosts: Hosts = ALONE
    seats: list[Seat] = field(default_factory=list)
    lanes: Lanes | None = None

    @cached_property
    def shop(self) -> Shop:
        from scaling.train.work import Shop

        return Shop(self.hosts)

    def serve(self, orders: queue.Queue[Order]) -> int:
        """Do what is ordered until asked to stop; returns the exit status."""
        while self.seats or not self.stop.asked:
            with suppress(queue.Empty):
                while not self.stop.asked:
                    wait = None if self.seats else IDLE_SECONDS
                    self.begin(orders.get(block=wait is not None, timeout=wait))
            if self.seats:
                self.train()
        with suppress(queue.Empty):
            while True:
                self.answer(orders.get_nowait(), SHED)
        return STOPPED

    def finish(self, order: Order) -> None:
        """Do one job."""
        self.begin(order)
        while self.seats:
            self.train()

    def begin(self, order: Order) -> None:
        """Start a job; where the program or the number of those at work do not allow it, it is shed.

        Raises:
            UserError: the other hosts of the job cannot be met.
        """
        if self.place is not None and self.hosts is ALONE:
            self.hosts = join(self.place, order.folder, self.stop)
        if self.seats and self.lanes:
            self.lanes.wait()  # else its time and that of a chunk of the others would be the same
        seat = Seat(order, job(order, self.stop, lambda: self.shop, self.hosts, lambda: len(self.seats) == 1))
        self.seats.append(seat)
        self._resume(seat, lambda: next(seat.flow))

    def _resume(self, seat: Seat, go: Callable[[], Any]) -> None:
        """Let a job go on to the next chunk that it asks for."""
        seat.asked, given = None, self._step(seat, go)
        if not isinstance(given, Wanted):
            seat.asked = given
            return
        if self.lanes and seat.lane:
            self.lanes.leave(seat.lane)
        seat.lane = self._lane(given)
        if seat.lane:
            self._resume(seat, partial(seat.flow.send, seat.lane))
        else:
            seat.flow.close()
            self._end(seat, SHED)

    def _lane(self, wanted: Wanted) -> Lane | None:
        """Return a free lane of the program that is wanted; None: there is none, and others are at work."""
        from scaling.train.lanes import Lanes

        others = len(self.seats) - 1
        if self.lanes is None or (not others and self.lanes.program is not wanted.program):
            self.lanes = Lanes(wanted.program)
        if self.lanes.program is not wanted.program or others >= min(wanted.pack, self.lanes.most):
            return None
        return self.lanes.join()

    def train(self) -> None:
        """Train what every seat asks for, and let each go on to its next chunk."""
        assert self.lanes is not None
        asked = {seat.lane: seat.asked for seat in self.seats if seat.lane and seat.asked}
        try:
            fetches = self.lanes.train(asked) if asked else {}
        except Exception as error:
            if len(self.seats) > 1:
                self._shed(error)
            else:
                (seat,) = self.seats
                self._resume(seat, partial(seat.flow.throw, error))
            return
        for seat in list(self.seats):
            if seat in self.seats and seat.lane:  # else the pack has failed meanwhile
                self._resume(seat, partial(seat.flow.send, fetches.get(seat.lane)))

    def _step(self, seat: Seat, go: Callable[[], Any]) -> Any:
        """Let a job go on; returns what it yields, None where it has ended."""
        if self.logs:
            number = f".{self.hosts.number}" if self.hosts.number else ""
            write_to(seat.order.folder / f"log{number}.txt")
        try:
            return self._timed(seat, go)
        except StopIteration as end:
            self._end(seat, end.value)
            return None
        except PackFailed as failed:
            self._shed(failed)
            return None
        except Relieved as relieved:
            with suppress(OSError):
                traceback.print_exception(relieved)
        except Exception as error:
            with suppress(OSError):  # the log is on a full disk
                traceback.print_exception(error)
            self._end(seat, FULL if is_disk_full(error) else 1)
            return None
        self._begin_again(seat)  # after the exception, which holds what filled the memory
        return None

    def _timed(self, seat: Seat, go: Callable[[], Any]) -> Any:
        """Let a job go on; while it does not train, the others do not either."""
        lane, began = seat.lane, time.monotonic()
        try:
            return go()
        finally:
            seconds = lane.rested() if lane else time.monotonic() - began
            for other in self.seats:
                if other is not seat and other.lane:
                    other.lane.paused += seconds

    def _begin_again(self, seat: Seat) -> None:
        self.seats.remove(seat)
        if self.lanes and seat.lane:
            self.lanes.leave(seat.lane)
        if not self.seats:
            self.lanes = None
            self.shop.forget()
        gc.collect()
        self.begin(Order(seat.order.folder))

    def _end(self, seat: Seat, status: int) -> None:
        self.seats.remove(seat)
        if self.lanes and seat.lane:
            self.lanes.leave(seat.lane)
        if status not in (0, BUSY, STOPPED):
            self.hosts.leave(status)  # the others are still at it
        self.answer(seat.order, status)
        if status and not self.seats:
            gc.collect()  # what tracebacks held

    def _shed(self, error: Exception) -> None:
        """Go on with half of the jobs, from their last checkpoints: the states of all are lost."""
        with suppress(OSError):
            traceback.print_exception(error)
        orders = [seat.order for seat in self.seats]
        most = max(1, len(orders) // 2)
        for seat in self.seats:
            seat.flow.close()
        self.seats.clear()
        assert self.lanes is not None
        program = self.lanes.program
        self.lanes.clear()
        gc.collect()
        from scaling.train.lanes import Lanes

        self.lanes = Lanes(program, most)
        say(f"{len(orders)} jobs side by side are too many: {most} go on from their checkpoints")
        for order in orders[most:]:
            self.answer(order, SHED)
        for order in orders[:most]:
            self.begin(Order(order.folder))


def job(
    order: Order,
    stop: StopRequest,
    shop: Callable[[], Shop],
    hosts: Hosts,
    alone: Callable[[], bool],
) -> Flow:
    """Do the job in a folder, under its lease.

    Args:
        order: names the folder.
        stop: asked by a signal.
        shop: gives that of this process, once it is needed.
        hosts: that train the job.
        alone: tells whether the process has no other job.
    """
    folder = hosts.desk(order.folder)
    if folder is None:
        return BUSY
    try:
        lease = acquire(folder, order.mark if hosts.leads else "")
    except Busy as busy:
        hosts.declined()
        say(f"not started: {busy} holds the lease of this job")
        return BUSY
    try:
        spec = read(JobSpec, folder / "job.json")
        if spec is None:
            raise FileNotFoundError(folder / "job.json")
        lease.keep(spec.execution.lease_seconds)
        hosts.opened(folder, spec, lease)
        from scaling.train.work import work  # jax: only once it is ours to work

        return (yield from work(folder, spec, lease, stop, shop(), alone))
    except LostLease as lost:
        say(f"left without writing: {lost}")
        return LOST
    finally:
        lease.release()
        hosts.closed()


def say(text: str) -> None:
    with suppress(OSError):  # the log is on a full disk
        print(text, flush=True)


def write_to(log: Path) -> None:
    """Let what this process prints, its libraries too, go to this file; where that cannot be, it goes where
    it went."""
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
        file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.close(file)
