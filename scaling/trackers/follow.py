"""Follow the files of runs, and send what is new.

The files are the queue: nothing is kept for a tracker that is slow or away, and nobody waits for it. The rows
of a step are sent together, and those of the newest once a later one or the record shows that they are all.
What was sent is known by the tracker itself where it can tell, else by the cursor.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from scaling.errors import UserError
from scaling.plan.plan import Plan, load_plan
from scaling.store.folder import ResultsFolder
from scaling.store.metrics import Appended, Row
from scaling.store.records import Record
from scaling.trackers.base import Curve, TrackedRun, Tracker, summary_of
from scaling.trackers.cursor import Cursor, Sent

MOST_OPEN = 32  # runs at a time
NONE = -1  # before the first step


@dataclass
class Followed:
    """A run without an end in the tracker. ``points`` are the values by step that may not have been sent,
    ``newest`` is the last step of its file."""

    run: TrackedRun
    appended: Appended
    sent: int
    points: dict[int, dict[str, float]] = field(default_factory=dict)
    newest: int = NONE
    curve: Curve | None = None
    fed: float = 0.0

    def read(self) -> None:
        """Take in what is new in its file."""
        rows, replaced = self.appended.rows()
        if replaced:
            self.points.clear()
            self.newest = NONE
        for row in rows:
            self.points.setdefault(row["step"], {}).update(_values(row))
            self.newest = max(self.newest, row["step"])
        if self.curve is not None:
            self.go_back(self.curve)

    @property
    def went_back(self) -> bool:
        """Whether it continues from an earlier step than the last that was sent."""
        return NONE < self.newest < self.sent

    def go_back(self, curve: Curve) -> None:
        if self.went_back and curve.drop():
            self.sent = NONE

    def ready(self, *, whole: bool) -> list[int]:
        """List the steps to be sent, in order; the newest only of a ``whole`` file."""
        return sorted(step for step in self.points if step > self.sent and (whole or step < self.newest))


def _values(row: Row) -> dict[str, float]:
    numbers = {name: value for name, value in row.items() if name != "step" and type(value) in (int, float)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


class Sender:
    """Sends the runs of a results folder to a tracker. Where that fails, :meth:`visit` goes on when it is
    called again, last with the runs that failed, which ``failing`` collects. ``opened``: a run ever was;
    ``successes`` counts runs that something was sent of."""

    def __init__(self, results: ResultsFolder, tracker: Tracker, cursor: Cursor, failing: set[str]):
        self.results, self.tracker, self.cursor, self.failing = results, tracker, cursor, failing
        self.followed = dict[str, Followed]()
        self.opened, self.successes = False, 0
        self._plan: tuple[tuple[int, int], Plan] | None = None

    @property
    def plan(self) -> Plan:
        """The plan as it is now: another launch may extend it."""
        status = self.results.plan.stat()
        identity = status.st_ino, status.st_mtime_ns
        if self._plan is None or self._plan[0] != identity:
            self._plan = identity, load_plan(self.results)
        return self._plan[1]

    def visit(self) -> bool:
        """Send all that is new; return whether there was anything.

        Raises:
            Exception: what the library raised, at the first run that failed.
        """
        plan, news = self.plan, False
        waiting = [run for run in plan.runs if not self.cursor.of(run.run_id).ended]
        for planned in sorted(waiting, key=lambda run: run.run_id in self.failing):
            run_id = planned.run_id
            if run_id not in self.followed:
                appended = Appended(self.results.run_dir(run_id) / "metrics.jsonl")
                run, sent = TrackedRun.of(plan, planned), self.cursor.of(run_id)
                self.followed[run_id] = Followed(run, appended, sent.step)
            try:
                news |= self._send(self.followed[run_id])
            except BaseException:
                self.failing.add(run_id)
                del self.followed[run_id]  # to be opened anew
                self.cursor.save()
                raise
        self.cursor.save()
        return news

    def _send(self, followed: Followed) -> bool:
        record = self._record(followed.run.run_id)  # before its curve, which then is whole
        followed.read()
        if followed.curve is None and followed.went_back:
            self._open(followed)
        if not record and not followed.ready(whole=False):
            return False
        curve = followed.curve or self._open(followed)
        for step in followed.ready(whole=record is not None):
            curve.log(step, followed.points[step])
            followed.sent = step
        if record is not None:
            curve.end(summary_of(record))
            del self.followed[followed.run.run_id]
        else:
            curve.flush()
            followed.points = {step: row for step, row in followed.points.items() if step > followed.sent}
            followed.fed = time.monotonic()
        self.cursor.put(followed.run.run_id, Sent(step=followed.sent, ended=record is not None))
        self.failing.discard(followed.run.run_id)
        self.successes += 1
        return True

    def _record(self, run_id: str) -> Record | None:
        try:
            return self.results.record(run_id)
        except UserError:  # damaged: `status` says so
            return None

    def _open(self, followed: Followed) -> Curve:
        others = [other for other in self.followed.values() if other.curve is not None]
        if len(others) >= MOST_OPEN:
            self._close(min(others, key=lambda other: other.fed))
        curve = followed.curve = self.tracker.open(followed.run)
        self.opened = True
        if curve.last is not None:
            followed.sent = curve.last
        followed.go_back(curve)
        return curve

    def _close(self, followed: Followed) -> None:
        curve, followed.curve = followed.curve, None
        if curve is not None:
            curve.close()

    def close(self) -> None:
        """Close all runs.

        Raises:
            Exception: what the library raised, at the first of those that failed.
        """
        failures = list[Exception]()
        for followed in self.followed.values():
            try:
                self._close(followed)
            except Exception as error:
                failures.append(error)
        if failures:
            raise failures[0]
