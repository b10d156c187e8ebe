"""The second executor of the tests: processes that outlive their driver, as no pipe holds them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from scaling.spec.execution import Execution
from scaling.sweep.executor import StartedJob, log_header, write_launch


class Detached:
    """Jobs that hang on no pipe. ``alone`` matters only to who pins jobs to cores."""

    device, shares = "cpu", False

    def __init__(self, execution: Execution, command: Sequence[str], *, alone: bool):
        self.slots = execution.workers if isinstance(execution.workers, int) else 2
        self.command = command

    def describe(self) -> str:
        return "detached processes"

    def start(self, folder: Path, slot: int, stale: str = "") -> StartedJob:
        argv = [*self.command, str(folder), *([stale] if stale else [])]
        attempt = write_launch(folder, self.device, argv)
        with open(folder / "log.txt", "ab", buffering=0) as log:
            log.write(log_header(attempt, "detached", argv))
            files = [(os.POSIX_SPAWN_DUP2, log.fileno(), 1), (os.POSIX_SPAWN_DUP2, log.fileno(), 2)]
            null = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
            pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=[null, *files], setpgroup=0)
        return StartedJob(folder, slot, attempt, pid)

    def poll(self, job: StartedJob) -> int | None:
        pid, status = os.waitpid(int(job.handle), os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

    def stop(self, job: StartedJob, *, kill: bool) -> None:
        with suppress(ProcessLookupError):
            os.killpg(int(job.handle), signal.SIGKILL if kill else signal.SIGTERM)

    def close(self, job: StartedJob) -> None:
        with suppress(ChildProcessError):
            os.waitpid(int(job.handle), 0)

    def end(self) -> None:
        pass
