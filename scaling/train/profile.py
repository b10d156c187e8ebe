"""A trace of some steps of a job, where one was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

FOLDER = "profile"  # in that of the job


class Profile:
    """Traces the chunks after the first of a job into its folder until ``steps`` are done; 0: none.

    A process has one trace at a time: it is asked for of one job.
    """

    def __init__(self, folder: Path, steps: int):
        self.folder, self.steps = folder / FOLDER, steps
        self.done: int | None = None  # steps traced, once it has begun

    def trained(self, steps: int, wait: Callable[[], Any]) -> None:
        """Count the steps of a chunk that was dispatched; ``wait`` returns when it has been trained."""
        if not self.steps:
            return
        if self.done is None:
            wait()
            jax.profiler.start_trace(str(self.folder))
            self.done = 0
            return
        self.done += steps
        if self.done >= self.steps:
            wait()
            self.close()

    def close(self) -> None:
        """Write the trace, unless that has been done."""
        if self.steps and self.done is not None:
            jax.profiler.stop_trace()
            print(f"trace of {self.done} steps in {self.folder}", flush=True)
        self.steps = 0
