"""``python -m scaling.trackers RESULTS TRACKER``: send the runs of a folder to a tracker.

TRACKER is an item of `execution.trackers`, as JSON. Runs are followed until standard input ends, and then for
a bounded time to catch up; with --once all that is there is sent, however long that takes. Of several such
processes one works, the others wait to replace it. Standard output has a JSON object a line:

    {"where": "..."}                        where the first run went to
    {"problem": "..."}                      why nothing is sent; said once
    {"ended": 3, "of": 8, "last": false}    runs that are there with their results, of those of the plan

Exit codes: 0 all was sent, 1 not all, 2 usage, 3 the time to catch up was over.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from scaling.plan.plan import load_plan
from scaling.spec.trackers import AnyTracker, TensorBoardTracker, TrackioTracker, WandbTracker, WrittenTracker
from scaling.store.folder import ResultsFolder
from scaling.store.lease import Busy, Lease, LeaseWatch, LostLease, acquire
from scaling.trackers.base import Tracker
from scaling.trackers.cursor import Cursor
from scaling.trackers.follow import Sender

LATE = 3
CATCH_UP_SECONDS = 20.0
HANDOVER_SECONDS = 3.0  # for which another process is waited for at the end
LEASE_SECONDS = 30.0
VISIT_SECONDS, MOST_SECONDS = 1.0, 30.0  # between visits; twice as long as one takes, where that is longer
RETRY_SECONDS = 30.0
REPORT_SECONDS = 5.0
FAILURES = 3  # in a row, after which nothing more is tried at the end


def connect(asked: AnyTracker, study: str, folder: Path) -> Tracker:
    """Raises ImportError: the library is not installed; else what it raises."""
    match asked:
        case WandbTracker():
            from scaling.trackers.wandb import Wandb

            return Wandb(asked, study, folder)
        case TensorBoardTracker():
            from scaling.trackers.tensorboard import TensorBoard

            return TensorBoard(asked, study, folder)
        case TrackioTracker():
            from scaling.trackers.trackio import Trackio

            return Trackio(asked, study, folder)


@dataclass
class Service:
    """What this process does. ``stop``: no more files are written, or will be waited for."""

    results: ResultsFolder
    asked: AnyTracker
    once: bool
    again: bool
    answers: int
    stop: threading.Event = field(default_factory=threading.Event)
    failing: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    reported: float = 0.0
    counts: tuple[int, int] = (0, 0)

    @property
    def state(self) -> Path:
        return self.results.path / "trackers" / "state" / self.asked.kind

    def tell(self, **what: Any) -> None:
        with suppress(OSError):  # nobody listens any more
            os.write(self.answers, json.dumps(what).encode() + b"\n")

    def run(self) -> int:
        while True:
            lease = self._lease()
            if lease is None:
                return int(self.once)
            lease.keep(LEASE_SECONDS)
            try:
                status = self._follow(lease)
            except LostLease:  # this process was stopped for long: another one has its place
                status = 0
            finally:
                lease.release()
            if status is not None:
                return status
            self.stop.wait(RETRY_SECONDS)  # meanwhile another one may try, on a machine with another network

    def _lease(self) -> Lease | None:
        """Wait for the lease; None where another process keeps it."""
        watch, ends = LeaseWatch(), None
        while True:
            if not watch.held(self.state, LEASE_SECONDS):
                with suppress(Busy):
                    return acquire(self.state, watch.mark)
            if self.stop.is_set():
                ends = ends or time.monotonic() + HANDOVER_SECONDS
                if time.monotonic() > ends:
                    if self.once:
                        self._problem("another process sends this study to it")
                    return None
            time.sleep(0.2 if self.stop.is_set() else VISIT_SECONDS)

    def _follow(self, lease: Lease) -> int | None:
        """Return the exit code, or None where it is to be tried again later."""
        sender, failures = None, 0
        while True:
            stopping, began = self.stop.is_set(), time.monotonic()  # what is there by now is sent
            try:
                lease.check()
                sender = sender or self._connect()
                failures = 0 if sender.successes else failures
                sender.successes = 0
                news = sender.visit()
                self._report(sender, last=False)
                if stopping and not news:
                    sender.close()
                    self._report(sender, last=True)
                    return 0
            except LostLease:
                raise
            except (Exception, SystemExit) as error:  # nothing that a library does may stop a study
                traceback.print_exc()
                self._problem(self._reason(error))
                failures += 1
                if isinstance(error, ImportError) or (stopping and failures >= FAILURES):
                    if sender is not None:
                        self._report(sender, last=True)
                    return 1
                if not stopping:
                    if sender is not None:
                        with suppress(Exception):
                            sender.close()
                    return None
                continue
            if not stopping:
                taken = time.monotonic() - began
                self.stop.wait(min(MOST_SECONDS, max(VISIT_SECONDS, 2 * taken)))

    def _connect(self) -> Sender:
        tracker = connect(self.asked, load_plan(self.results).study, self.results.path / "trackers")
        cursor = Cursor(self.state, tracker.destination, again=self.again)
        self.again = False
        return Sender(self.results, tracker, cursor, self.failing)

    def _report(self, sender: Sender, *, last: bool) -> None:
        if sender.opened and "where" not in self.told:
            self.told.add("where")
            self.tell(where=sender.tracker.where)
        now = time.monotonic()
        if last or now - self.reported > REPORT_SECONDS:
            self.reported = now
            ids = sender.plan.by_id
            counts = sum(sender.cursor.of(run_id).ended for run_id in ids), len(ids)
            if last or counts != self.counts:
                self.counts = counts
                self.tell(ended=counts[0], of=counts[1], last=last)

    def _reason(self, error: BaseException) -> str:
        """Say in one line what a library raised; the log has all of it."""
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, ImportError):
            return f"cannot be imported ({text}); pip install 'scaling-laws[{self.asked.kind}]'"
        return text

    def _problem(self, text: str) -> None:
        if "problem" not in self.told:
            self.told.add("problem")
            self.tell(problem=text)


def until_input_ends(stop: threading.Event) -> None:
    """Set ``stop`` then, and end this process some time later."""
    while os.read(0, 4096):
        pass
    timer = threading.Timer(CATCH_UP_SECONDS, os._exit, [LATE])
    timer.daemon = True
    timer.start()
    stop.set()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m scaling.trackers")
    parser.add_argument("results", type=Path)
    parser.add_argument("tracker", type=TypeAdapter(WrittenTracker).validate_json)
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args(arguments)
    results, answers = ResultsFolder(given.results.absolute()), os.dup(1)
    service = Service(results, given.tracker, given.once, given.again, answers)
    service.state.mkdir(parents=True, exist_ok=True)
    with open(service.state / "log.txt", "ab") as log:  # what libraries print
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if given.once:
        service.stop.set()
    else:
        os.nice(10)
        threading.Thread(target=until_input_ends, args=[service.stop], daemon=True).start()
    status = service.run()
    if status:
        os._exit(status)  # what libraries do at an exit may take as long as what failed
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
