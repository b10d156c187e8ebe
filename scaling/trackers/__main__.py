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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from scaling.plan.plan import load_plan
from scaling.spec.trackers import TensorBoardTracker, TrackioTracker, WandbTracker, WrittenTracker
from scaling.store.folder import ResultsFolder
from scaling.store.lease import Busy, Lease, LeaseWatch, LostLease, acquire
from scaling.trackers.base import Tracker
from scaling.trackers.cursor import Cursor
from scaling.trackers.follow import Follower

LATE = 3
CATCH_UP_SECONDS = 20.0
HANDOVER_SECONDS = 3.0  # for which another follower is waited for at the end
LEASE_SECONDS = 30.0
VISIT_SECONDS, MOST_SECONDS = 1.0, 30.0  # between visits; twice as long as one takes, where that is longer
RETRY_SECONDS = 30.0
REPORT_SECONDS = 5.0
FAILURES = 3  # in a row, after which nothing more is tried at the end


def connect(asked: WandbTracker | TensorBoardTracker | TrackioTracker, study: str, folder: Path) -> Tracker:
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
class Course:
    """What this process does. ``stop``: no more files are written, or will be waited for."""

    results: ResultsFolder
    asked: WandbTracker | TensorBoardTracker | TrackioTracker
    once: bool
    again: bool
    answers: int
    stop: threading.Event = field(default_factory=threading.Event)
    follower: Follower | None = None
    told: set[str] = field(default_factory=set)
    reported: float = 0.0

    @property
    def folder(self) -> Path:
        return self.results.path / "trackers"

    def tell(self, **what: Any) -> None:
        os.write(self.answers, json.dumps(what).encode() + b"\n")

    def run(self) -> int:
        state = self.folder / "state" / self.asked.kind
        lease = self._lease(state)
        if lease is None:
            return 0
        lease.keep(LEASE_SECONDS)
        try:
            return self._follow(lease, state)
        except LostLease:  # this process was stopped for long: another one has its place
            return 0
        finally:
            lease.release()

    def _lease(self, state: Path) -> Lease | None:
        """Wait for the lease; None where another follower keeps it."""
        watch, ends = LeaseWatch(), None
        while True:
            if not watch.held(state, LEASE_SECONDS):
                try:
                    return acquire(state, watch.mark)
                except Busy:
                    pass
            now = time.monotonic()
            if self.stop.is_set() and now > (ends := ends or now + HANDOVER_SECONDS):
                if self.once:
                    self._problem(f"another process sends {self.results.path} to it")
                return None
            time.sleep(0.2)

    def _follow(self, lease: Lease, state: Path) -> int:
        failures = 0
        while True:
            stopping, began = self.stop.is_set(), time.monotonic()  # what is there by now is sent
            lease.check()
            before = self.follower.successes if self.follower else 0
            try:
                news = self._visit(state)
                if stopping and not news:
                    assert self.follower is not None
                    self.follower.close()
                    self._report(last=True)
                    return 0
                failures = 0
            except (Exception, SystemExit) as error:  # nothing that a library does may stop a study
                traceback.print_exc()
                self._problem(self._reason(error))
                failures = 1 if self.follower and self.follower.successes > before else failures + 1
                if isinstance(error, ImportError) or (stopping and failures >= FAILURES):
                    return 1
                self.stop.wait(0 if stopping else RETRY_SECONDS)
                continue
            if not stopping:
                taken = time.monotonic() - began
                self.stop.wait(min(MOST_SECONDS, max(VISIT_SECONDS, 2 * taken)))

    def _visit(self, state: Path) -> bool:
        if self.follower is None:
            tracker = connect(self.asked, load_plan(self.results).study, self.folder)
            cursor = Cursor(state, tracker.destination, again=self.again)
            self.follower = Follower(self.results, tracker, cursor)
        news = self.follower.visit()
        if news and "where" not in self.told:
            self.told.add("where")
            self.tell(where=self.follower.tracker.where)
        self._report()
        return news

    def _report(self, *, last: bool = False) -> None:
        assert self.follower is not None
        now = time.monotonic()
        if last or now - self.reported > REPORT_SECONDS:
            self.reported = now
            ids = self.follower.plan.by_id
            ended = sum(self.follower.cursor.of(run_id).ended for run_id in ids)
            self.tell(ended=ended, of=len(ids), last=last)

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
    state = results.path / "trackers" / "state" / given.tracker.kind
    state.mkdir(parents=True, exist_ok=True)
    with open(state / "log.txt", "ab") as log:  # what libraries print
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    course = Course(results, given.tracker, given.once, given.again, answers)
    if given.once:
        course.stop.set()
    else:
        os.nice(10)
        threading.Thread(target=until_input_ends, args=[course.stop], daemon=True).start()
    status = course.run()
    if status:
        os._exit(status)  # what libraries do at an exit may take as long as what failed
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
