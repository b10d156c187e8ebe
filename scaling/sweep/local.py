"""Jobs as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from scaling.spec.execution import Execution
from scaling.sweep.executor import StartedJob, log_header, write_launch
from scaling.sweep.machine import Layout, has_glibc, launch_environment, layout

SHIM = Path(__file__).with_name("launch.py")


class LocalExecutor:
    """Jobs as processes of this machine, each in a process group of its own, that die with their driver.

    A job ends with its driver in two ways: its standard input is a pipe that only the driver holds open (the
    job exits when it closes), and on Linux the kernel kills it when the driver's thread is gone, even while
    it is stuck or stopped. Start jobs from a thread that outlives them.
    """

    def __init__(self, layout: Layout, command: Sequence[str]):
        self.layout, self.command = layout, tuple(command)
        self._processes = dict[int | str, subprocess.Popen[bytes]]()

    @property
    def slots(self) -> int:
        return len(self.layout.slots)

    @property
    def device(self) -> str:
        return self.layout.device

    def describe(self) -> str:
        return self.layout.device

    def start(self, folder: Path, slot: int, stale: str = "") -> StartedJob:
        place, argv = self.layout.slots[slot], [*self.command, str(folder), *([stale] if stale else [])]
        environment = launch_environment(os.environ, self.layout, place, glibc=has_glibc())
        attempt = write_launch(folder, self.device, argv, environment, place.cores)
        pinned = ",".join(map(str, place.cores)) or "any"
        with open(folder / "log.txt", "ab") as log:
            log.write(log_header(attempt, f"core {pinned}", argv))
            log.flush()
            shim = [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), pinned]
            process = subprocess.Popen(
                [*shim, *argv],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        self._processes[process.pid] = process
        return StartedJob(folder, slot, attempt, process.pid)

    def poll(self, job: StartedJob) -> int | None:
        return self._processes[job.handle].poll()

    def stop(self, job: StartedJob, *, kill: bool) -> None:
        process = self._processes[job.handle]
        if process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):  # it ended in between
                os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)

    def close(self, job: StartedJob) -> None:
        process = self._processes.pop(job.handle)
        if process.stdin:
            with suppress(BrokenPipeError):
                process.stdin.close()
        process.wait()


def make_local(execution: Execution, command: Sequence[str], *, alone: bool) -> LocalExecutor:
    """Raises UserError: the machine cannot do what ``execution`` asks for."""
    where = layout(execution)
    if not alone:  # another driver would pin to the same cores
        where = replace(where, slots=tuple(replace(slot, cores=()) for slot in where.slots))
    return LocalExecutor(where, command)
