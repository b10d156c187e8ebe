"""Show a sweep while it runs: a live table on a terminal, else a line an event and a heartbeat."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from scaling.cli.words import duration, flops
from scaling.errors import plural
from scaling.sweep.events import (
    Event,
    JobElsewhere,
    JobStarted,
    PhaseStarted,
    Progress,
    RunFailed,
    RunFinished,
    Stopping,
    TrackerBehind,
    TrackerOpened,
    TrackerSent,
    TrackerWaiting,
)
from scaling.sweep.progress import Snapshot
from scaling.sweep.stops import in_words

HEARTBEAT_SECONDS = 15.0


def describe(event: Event) -> str | None:
    """An event in one line; None for progress, which is a heartbeat's matter."""
    match event:
        case PhaseStarted() if event.work == "reevaluate":
            return f"evaluating {plural(event.runs, 'run')} again, {event.workers} at a time"
        case PhaseStarted() if not event.runs and not event.given_up:
            return f"all {plural(event.skipped, 'run')} ({', '.join(event.roles)}) are done already"
        case PhaseStarted():
            skipped = f", {event.skipped} done before" if event.skipped else ""
            if event.given_up:
                skipped += (
                    f", {event.given_up} not retried after failing too often (--set execution.attempts=N)"
                )
            return (
                f"training {plural(event.runs, 'run')} ({', '.join(event.roles)}) in "
                f"{plural(event.jobs, 'job')} on {event.where}, {event.workers} at a time: "
                f"{flops(event.flops)}{skipped}"
            )
        case JobStarted():
            names = event.labels[0] if len(event.labels) == 1 else f"{event.labels[0]} .. {event.labels[-1]}"
            how = ", resumed" if event.resumed else ""
            how += ", taken over from a stalled process" if event.taken_over else ""
            again = f", start {event.attempt}" if event.attempt > 1 else ""
            return f"job {event.job_id} started: {names} ({plural(len(event.labels), 'run')}{how}{again})"
        case JobElsewhere():
            return f"job {event.job_id} ({plural(len(event.labels), 'run')}) is running under another driver"
        case RunFinished():
            if event.loss is None:
                return f"{event.label} {event.status}: {event.status_reason}"
            took = f" after {duration(event.seconds)}" if event.seconds is not None else ""
            return f"{event.label} loss {event.loss:.4f}{took}"
        case RunFailed():
            then = "will be tried again" if event.will_retry else f"see {event.log}"
            verb = "waits" if event.unreached == 1 else "wait"
            waiting = (
                f"; {plural(event.unreached, 'run')} of its job {verb} for it" if event.unreached else ""
            )
            return f"{event.label} FAILED ({event.kind}): {event.message}{waiting}; {then}"
        case Stopping():
            wait = duration(event.grace_seconds)
            return f"{in_words(event.reason)}: writing checkpoints, at most {wait}; Ctrl-C stops at once"
        case TrackerOpened():
            return f"{event.kind}: curves go to {event.where}"
        case TrackerBehind():
            return str(event)
        case TrackerWaiting():
            wait = duration(event.seconds)
            return f"{event.kind}: waiting for it to catch up, at most {wait}; Ctrl-C ends that"
        case TrackerSent():
            return f"{event.kind}: {event.ended} of {plural(event.of, 'run')} sent with their results"
        case Progress():
            return None


def heartbeat(now: Snapshot) -> str:
    known = now.eta_seconds is not None and now.eta_seconds >= 0.5
    eta = f", about {duration(now.eta_seconds or 0.0)} left" if known else ""
    share = now.flops_done / now.flops_total if now.flops_total else 1.0
    failed = f", {now.runs_failed} failed" if now.runs_failed else ""
    others = f", {plural(now.jobs_elsewhere, 'job')} with other drivers" if now.jobs_elsewhere else ""
    return f"{now.runs_done} of {now.runs_total} runs, {share:.0%} of FLOPs{others}{failed}{eta}"


class EventLines:
    """For pipes and logs."""

    def __init__(self, out: TextIO):
        self.out, self.last = out, 0.0

    def __enter__(self) -> EventLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", file=self.out, flush=True)
        self.last = time.monotonic()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            if time.monotonic() - self.last > HEARTBEAT_SECONDS:
                self.say(heartbeat(event.snapshot))
        elif (text := describe(event)) is not None:
            self.say(text)


class Board:
    """For terminals: events scroll by, what runs now stays below them."""

    def __init__(self, console: Console):
        self.console = console
        self.live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> Board:
        self.live.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self.live.__exit__(None, None, None)

    def say(self, text: str) -> None:
        self.console.print(Text(f"{time.strftime('%H:%M:%S')} {text}"))

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.live.update(_board(event.snapshot))
        elif (text := describe(event)) is not None:
            self.say(text)


def _board(now: Snapshot) -> Group:
    table = Table(
        "run", "step", "of", "train loss", "job done", "for", box=None, pad_edge=False, expand=False
    )
    for row in now.running:
        table.add_row(
            row.label,
            "starting" if row.step is None else f"{row.step:,}",
            "" if row.steps is None else f"{row.steps:,}",
            "" if row.loss is None else f"{row.loss:.3f}",
            f"{row.fraction:.0%}",
            duration(row.seconds),
        )
    return Group(table, Text(heartbeat(now)))


def watcher() -> EventLines | Board:
    """The right one for standard error, which it writes to: standard output is for results."""
    console = Console(stderr=True)
    return Board(console) if console.is_terminal else EventLines(sys.stderr)
