"""Jobs as local processes. A job lives in a process group of its own and dies with its driver.

Two ropes hold it: its standard input is a pipe that only the driver holds open (the job leaves at its end),
and on Linux the kernel kills it when the driver's thread is gone, even while it is stuck or stopped.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from scaling.errors import UserError
from scaling.store.files import write_json
from scaling.store.records import JobLaunch, read
from scaling.sweep.machine import Layout, has_glibc, launch_environment

TRAIN = (sys.executable, "-m", "scaling.train")
_SHIM = Path(__file__).with_name("launch.py")


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class LocalJob:
    """One started job. ``slot`` is its index in the layout, ``attempt`` counts starts of this job."""

    folder: Path
    slot: int
    attempt: int
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self.process.poll()

    def stop(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):  # it ended in between
                os.killpg(self.process.pid, number)

    def close(self) -> None:
        """After its end: give back the pipe."""
        if self.process.stdin:
            with suppress(BrokenPipeError):
                self.process.stdin.close()


def start(folder: Path, layout: Layout, slot: int, command: Sequence[str], stale: str = "") -> LocalJob:
    """Start ``command folder [stale]`` in a slot of the layout; its output is appended to ``folder/log.txt``.

    ``stale`` is the mark of a lease that may be taken over. Call from a thread that outlives the job: on
    Linux the job is killed when its starting thread ends.

    Raises:
        OSError: no process could be started, or the job's folder cannot be written.
    """
    cores, argv = layout.slots[slot], [*command, str(folder), *([stale] if stale else [])]
    glibc = has_glibc()
    environment = launch_environment(os.environ, layout, glibc=glibc)
    attempt = _starts(folder) + 1
    _write_launch(folder, layout, cores, attempt, argv, environment)
    (folder / "progress.json").unlink(missing_ok=True)
    with open(folder / "log.txt", "ab") as log:
        pinned = ",".join(map(str, cores)) or "any"
        log.write(f"=== start {attempt}, {timestamp()}, core {pinned}: {shlex.join(argv)}\n".encode())
        log.flush()
        shim = [sys.executable, "-I", "-S", str(_SHIM), str(os.getpid()), pinned]
        process = subprocess.Popen(
            [*shim, *argv],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    return LocalJob(folder, slot, attempt, process)


def _starts(folder: Path) -> int:
    """How often the job was started, for display: a damaged count begins anew."""
    try:
        launch = read(JobLaunch, folder / "launch.json")
    except UserError:
        return 0
    return launch.attempt if launch else 0


def _write_launch(
    folder: Path,
    layout: Layout,
    cores: tuple[int, ...],
    attempt: int,
    argv: list[str],
    environment: dict[str, str],
) -> None:
    """launch.json: how the job was started last, and how often it was."""
    changed = {name: value for name, value in environment.items() if os.environ.get(name) != value}
    launch = JobLaunch(
        attempt=attempt,
        started=timestamp(),
        host=socket.gethostname(),
        device=layout.device,
        cores=cores,
        command=tuple(argv),
        environment=changed,
    )
    write_json(folder / "launch.json", launch.to_json())


def log_tail(folder: Path, lines: int = 20, window: int = 16384) -> list[str]:
    """The last lines of a job's log, of its last start only."""
    try:
        with open(folder / "log.txt", "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - window))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    text = text[text.rfind("\n=== start ") + 1 :] if "\n=== start " in text else text
    return [line for line in text.splitlines() if not line.startswith("=== start ")][-lines:]
