"""Who watches a sweep: events, and what is said in words."""

from __future__ import annotations

import sys
from typing import Protocol

from scaling.sweep.events import Event, RunFailed, RunFinished, TrackerBehind


class Reporter(Protocol):
    """Shows what happens: events of the sweep, and what the study says in words."""

    def __call__(self, event: Event) -> None: ...
    def say(self, text: str) -> None: ...


class StderrReporter:
    """A line on standard error for each run that ends, and for what the study says."""

    def __call__(self, event: Event) -> None:
        match event:
            case RunFinished():
                self.say(f"{event.label} {event.status}" + (f", loss {event.loss:.4f}" if event.loss else ""))
            case RunFailed():
                self.say(f"{event.label} FAILED ({event.kind}): {event.message}; see {event.log}")
            case TrackerBehind():
                self.say(str(event))
            case _:
                pass

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
