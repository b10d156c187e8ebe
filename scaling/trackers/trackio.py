"""Trackio: its database on this machine, or a Hugging Face Space."""

from __future__ import annotations

import contextvars
import os
import shlex
from pathlib import Path
from typing import Any

from scaling.spec.trackers import TrackioTracker
from scaling.trackers.base import Scalar, TrackedRun, numbers


class Trackio:
    """It knows runs by their names, so that a name holds the id."""

    def __init__(self, asked: TrackioTracker, study: str, folder: Path):
        if asked.dir:
            os.environ["TRACKIO_DIR"] = str(Path(asked.dir).absolute())
        import trackio

        self.library, self.asked, self.group = trackio, asked, asked.group or study
        self.project = asked.project or study
        self.space = asked.space_id or os.environ.get("TRACKIO_SPACE_ID")
        self.destination = {"project": self.project, "space_id": self.space or "", "dir": asked.dir or ""}

    @property
    def where(self) -> str:
        if self.space:
            return f"the Space {self.space}"
        return f"project {self.project}; `trackio show --project {shlex.quote(self.project)}` shows them"

    def open(self, run: TrackedRun) -> TrackioCurve:
        handle = contextvars.copy_context().run(  # in one context a run ends when the next is opened
            self.library.init,
            project=self.project,
            name=run.name,
            group=self.group,
            space_id=self.space,
            config=run.settings,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        return TrackioCurve(self, handle)


class TrackioCurve:
    def __init__(self, tracker: Trackio, handle: Any):
        self.tracker, self.handle = tracker, handle
        self.last: int = handle._next_step - 1  # what it found there

    def log(self, step: int, values: dict[str, float]) -> None:
        self.handle.log(dict(values), step=step)
        self.last = step

    def drop(self) -> bool:
        return False  # its rows are added to

    def flush(self) -> None:
        """A thread of the library's writes every half a second."""

    def end(self, summary: dict[str, Scalar]) -> None:
        self.log(max(self.last, 0), numbers(summary))
        self.close()

    def close(self) -> None:
        """Raises RuntimeError: the database lacks what was written, which the library only warns of."""
        self.handle.finish()
        if self.tracker.space is None:
            project, name = self.tracker.project, self.handle.name
            kept = self.tracker.library.SQLiteStorage.get_max_step_for_run(project, name, self.handle.id)
            if (-1 if kept is None else kept) < self.last:
                raise RuntimeError(f"its database has steps of {name} up to {kept}, not {self.last}")
