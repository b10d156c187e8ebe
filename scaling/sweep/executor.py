"""Where jobs run: the protocol that drivers use, and what its executors share.

A job keeps its own state: the driver learns what a job did from its files, and who owns it from its lease. An
executor only starts it, sees whether it has ended, and stops it.
"""

from __future__ import annotations

import os
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from scaling.errors import UserError
from scaling.files import write_json
from scaling.store.documents import read
from scaling.store.records import JobLaunch


@dataclass(frozen=True)
class StartedJob:
    """A job that an executor started. ``attempt`` counts starts of the job, ``handle`` is its name there."""

    folder: Path
    slot: int
    attempt: int
    handle: int | str
    started: float = field(default_factory=time.monotonic)


class Executor(Protocol):
    """Where jobs run, in ``slots`` at a time."""

    @property
    def slots(self) -> int: ...

    @property
    def shares(self) -> bool:
        """Whether a slot takes further jobs while one runs there: its process trains them side by side."""
        ...

    @property
    def device(self) -> str:
        """What jobs train on: cpu, gpu or tpu."""
        ...

    def describe(self) -> str:
        """Say where jobs run, for people: ``8 jobs on ...`` ends so."""
        ...

    def start(self, folder: Path, slot: int, stale: str = "") -> StartedJob:
        """Start the command on ``folder``, appending its output to ``folder/log.txt`` below a line from
        :func:`log_header`; ``stale`` is the mark of a lease that may be taken over.

        Raises:
            OSError: it cannot be started, or the folder cannot be written.
        """
        ...

    def poll(self, job: StartedJob) -> int | None:
        """Exit status, negative for a signal; None while the job runs. :data:`scaling.store.failure.SHED`:
        the process that it shared with others could not go on with all of them."""
        ...

    def stop(self, job: StartedJob, *, kill: bool) -> None:
        """Ask a job to write a checkpoint and end, as SIGTERM does, or kill it; leave one that has ended.
        Those that share its process end too."""
        ...

    def close(self, job: StartedJob) -> None:
        """Release what was held for a job that has ended or was killed; wait for its end."""
        ...

    def end(self) -> None:
        """Release what is held from job to job: none will be started any more."""
        ...


def log_header(attempt: int, where: str, argv: Sequence[str]) -> bytes:
    return f"=== start {attempt}, {_now()}, {where}: {shlex.join(argv)}\n".encode()


def write_launch(
    folder: Path,
    device: str,
    argv: Sequence[str],
    environment: dict[str, str] | None = None,
    cores: tuple[int, ...] = (),
) -> int:
    """Write launch.json, remove the progress of the start before, and count this start.

    Args:
        folder: the folder of the job.
        device: what it trains on.
        argv: the command.
        environment: of the job; those variables that differ from the driver's are kept.
        cores: the cores that it is pinned to.
    """
    changed = {name: v for name, v in (environment or {}).items() if os.environ.get(name) != v}
    launch = JobLaunch(
        attempt=_starts(folder) + 1,
        started=_now(),
        host=socket.gethostname(),
        device=device,
        cores=cores,
        command=tuple(argv),
        environment=changed,
    )
    write_json(folder / "launch.json", launch.to_json())
    (folder / "progress.json").unlink(missing_ok=True)
    return launch.attempt


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _starts(folder: Path) -> int:
    """Count the starts of the job, for display; a damaged count restarts at 0."""
    try:
        launch = read(JobLaunch, folder / "launch.json")
    except UserError:
        return 0
    return launch.attempt if launch else 0
