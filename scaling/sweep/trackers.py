"""Processes that send curves to trackers: started by whoever drives a folder, and ended with it.

A driver starts them and asks them for news; they read the files of runs (:mod:`scaling.trackers`), so that
nothing here ever waits for a tracker but the end, and that for a bounded time::

    with Trackers(results, plan.execution) as trackers:
        ... on_event=trackers.watched(on_event) ...
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Self

from scaling.spec.execution import Execution
from scaling.spec.trackers import AnyTracker
from scaling.store.folder import ResultsFolder
from scaling.sweep.events import (
    Event,
    Progress,
    TrackerBehind,
    TrackerEvent,
    TrackerOpened,
    TrackerSent,
    TrackerWaiting,
    Watcher,
)

FOLLOW = (sys.executable, "-m", "scaling.trackers")
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 25.0  # for processes that end themselves before
SILENT_SECONDS = 2.0  # before it is said what is waited for
LATE = (3, -signal.SIGKILL)


class TrackerProcess:
    """A process that sends the runs of a folder to one tracker.

    It says on standard output what happens, and stops when its standard input ends: also where this process
    is killed.
    """

    def __init__(self, results: ResultsFolder, tracker: AnyTracker, *options: str):
        self.results, self.kind = results, tracker.kind
        self.process = subprocess.Popen(
            [*FOLLOW, str(results.path), tracker.model_dump_json(exclude_none=True), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdout
        os.set_blocking(self.process.stdout.fileno(), False)
        self._torn, self._complained = b"", False

    def news(self) -> Iterator[TrackerEvent]:
        """Yield what it has said since."""
        assert self.process.stdout
        while piece := self.process.stdout.read(65536):
            *lines, self._torn = (self._torn + piece).split(b"\n")
            for line in lines:
                match json.loads(line):
                    case {"where": where}:
                        yield TrackerOpened(self.kind, where)
                    case {"problem": reason}:
                        yield self._behind(reason)
                    case {"ended": ended, "of": of, "last": last}:
                        yield TrackerSent(self.kind, ended, of, last)

    def _behind(self, reason: str) -> TrackerBehind:
        self._complained = True
        command = f"scaling export {shlex.quote(str(self.results.path))} --to {self.kind}"
        return TrackerBehind(self.kind, reason, command)

    def stop(self) -> None:
        """Let it send what is there, and end."""
        assert self.process.stdin
        with suppress(OSError):
            self.process.stdin.close()

    def until_it_ends(self) -> Iterator[TrackerEvent]:
        """Yield what it says, until it ends; it is killed where that is not waited for."""
        try:
            while self.process.poll() is None:
                yield from self.news()
                time.sleep(POLL_SECONDS)
        except BaseException:
            self.process.kill()
            raise
        yield from self.end(0.0)

    def _ends_within(self, seconds: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def end(self, seconds: float) -> Iterator[TrackerEvent]:
        """Wait for it to end, and kill it where it does not; yield what it said, and why not all was sent
        unless it said so."""
        self.stop()
        try:
            if not self._ends_within(min(seconds, SILENT_SECONDS)) and seconds > SILENT_SECONDS:
                yield TrackerWaiting(self.kind, seconds)
                self._ends_within(seconds - SILENT_SECONDS)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            status = self.process.wait()
        yield from self.news()
        assert self.process.stdout
        self.process.stdout.close()
        if status and not self._complained:
            log = self.results.path / "trackers" / "state" / self.kind / "log.txt"
            yield self._behind("it did not catch up in time" if status in LATE else f"it ended; see {log}")


class Trackers:
    """The processes beside a driver, one for each tracker that ``execution`` names."""

    def __init__(self, results: ResultsFolder, execution: Execution):
        self.processes = [TrackerProcess(results, tracker) for tracker in execution.trackers]
        self.on_event: Watcher = lambda event: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in self.processes:
            process.stop()
        if isinstance(exception[1], KeyboardInterrupt):
            return  # they end by themselves
        ends = time.monotonic() + PATIENCE_SECONDS
        for process in self.processes:
            for event in process.end(max(0.0, ends - time.monotonic())):
                self._tell(event)

    def watched(self, on_event: Watcher) -> Watcher:
        """Return a watcher that is told, beside all that ``on_event`` is, what became of trackers."""
        self.on_event = on_event

        def relay(event: Event) -> None:
            on_event(event)
            if isinstance(event, Progress):
                for process in self.processes:
                    for news in process.news():
                        self._tell(news)

        return relay

    def _tell(self, event: TrackerEvent) -> None:
        if not isinstance(event, TrackerSent):  # `status` counts runs
            self.on_event(event)
