"""Jobs in processes of this machine."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from scaling.spec.execution import Execution
from scaling.store.failure import SHED
from scaling.sweep.executor import StartedJob, log_header, write_launch
from scaling.sweep.machine import Layout, environment_here, layout

SHIM = Path(__file__).with_name("launch.py")


@dataclass(eq=False)
class Worker:
    """A process that serves jobs: it is given their folders on its standard input, a line each, and answers
    each with an exit status. ``jobs`` are those that it was given and that are not closed; ``stopped``: it
    was asked to stop, or killed; ``launched``: a launcher is between, which need not pass SIGTERM on (srun
    kills instead)."""

    process: subprocess.Popen[bytes]
    orders: IO[bytes]
    reports: IO[bytes]
    launched: bool = False
    jobs: set[Path] = field(default_factory=set)
    statuses: dict[Path, int] = field(default_factory=dict)
    stopped: bool = False
    _torn: bytes = b""

    @classmethod
    def launch(
        cls, argv: Sequence[str], environment: Mapping[str, str], log: IO[bytes], *, launched: bool
    ) -> Worker:
        """Start the process; until it has a job it writes to ``log``."""
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin and process.stdout
        os.set_blocking(process.stdout.fileno(), False)
        return cls(process, process.stdin, process.stdout, launched)

    def give(self, folder: Path, mark: str) -> None:
        """Raises OSError: the process has ended."""
        self._order({"folder": str(folder), "mark": mark})
        self.jobs.add(folder)
        self.statuses.pop(folder, None)

    def _order(self, line: Mapping[str, Any]) -> None:
        self.orders.write(json.dumps(line).encode() + b"\n")
        self.orders.flush()

    def status(self, folder: Path) -> int | None:
        """Return the exit status of a job; None while it runs. That of the process is the status of its only
        job; several are all :data:`SHED`, as it does not say whose doing its end was."""
        code = self.process.poll()
        self._read()
        if folder in self.statuses or code is None:
            return self.statuses.get(folder)
        return code if len(self.jobs - self.statuses.keys()) == 1 else SHED

    def _read(self) -> None:
        while piece := self.reports.read(65536):
            *lines, self._torn = (self._torn + piece).split(b"\n")
            for report in map(json.loads, lines):
                self.statuses[Path(report["folder"])] = report["status"]

    def close(self, folder: Path) -> None:
        self.jobs.discard(folder)
        self.statuses.pop(folder, None)

    @property
    def ended(self) -> bool:
        return self.stopped or self.process.poll() is not None

    def stop(self) -> None:
        """Ask the process to write checkpoints and end."""
        if not self.launched:
            self._signal(signal.SIGTERM)
        elif not self.ended:
            self.stopped = True
            with suppress(BrokenPipeError):
                self._order({"stop": True})

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        self.stopped = True
        if self.process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):  # it ended in between
                os.killpg(self.process.pid, number)

    def end(self) -> None:
        """Kill the process where it has not ended."""
        self.kill()
        with suppress(BrokenPipeError):
            self.orders.close()
        self.reports.close()
        self.process.wait()


class LocalExecutor:
    """Jobs in processes of this machine, one for each slot, each in a process group of its own.

    A process serves the jobs of its slot, so that imports and compiled programs serve several of them; after
    one that ended it the next has a new one. It ends with its driver in two ways: its standard input is a
    pipe that only the driver holds open (it exits when that closes), and on Linux the kernel kills it when
    the driver's thread is gone, even while it is stuck or stopped. Start jobs from a thread that outlives
    them.
    """

    shares = True

    def __init__(self, layout: Layout, command: Sequence[str]):
        self.layout, self.command = layout, tuple(command)
        self._workers = dict[int, Worker]()
        self._jobs = dict[Path, Worker]()

    @property
    def slots(self) -> int:
        return len(self.layout.slots)

    @property
    def device(self) -> str:
        return self.layout.device

    def describe(self) -> str:
        each = self.layout.devices
        what = self.layout.device if each in (None, 1) else f"{each} {self.layout.device} devices each"
        return what if self.layout.hosts == 1 else f"{what}, on {self.layout.hosts} hosts"

    def start(self, folder: Path, slot: int, stale: str = "") -> StartedJob:
        place, argv = self.layout.slots[slot], [*self.command, "--serve"]
        environment = environment_here(self.layout, place)
        if self.layout.hosts > 1:
            environment.setdefault("SCALING_COORDINATOR", "auto")
            environment.setdefault("SCALING_HOSTS", str(self.layout.hosts))
        attempt = write_launch(folder, self.device, argv, environment, place.cores)
        pinned = ",".join(map(str, place.cores)) or "any"
        shim = [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), pinned]
        with open(folder / "log.txt", "ab") as log:
            log.write(log_header(attempt, f"core {pinned}", argv))
            log.flush()
            while True:
                worker, fresh = self._workers.get(slot), False
                if worker is None or worker.ended:
                    if worker and not worker.jobs:
                        worker.end()
                    launched = self.layout.hosts > 1
                    worker = Worker.launch([*shim, *argv], environment, log, launched=launched)
                    fresh = True
                    self._workers[slot] = worker
                try:
                    worker.give(folder, stale)
                    break
                except BrokenPipeError:  # it has just ended
                    if fresh:
                        raise
        self._jobs[folder] = worker
        return StartedJob(folder, slot, attempt, worker.process.pid)

    def poll(self, job: StartedJob) -> int | None:
        return self._jobs[job.folder].status(job.folder)

    def stop(self, job: StartedJob, *, kill: bool) -> None:
        """The others of its process stop with it."""
        worker = self._jobs[job.folder]
        if worker.status(job.folder) is None:
            worker.kill() if kill else worker.stop()

    def close(self, job: StartedJob) -> None:
        worker = self._jobs.pop(job.folder)
        running = worker.status(job.folder) is None
        worker.close(job.folder)
        if running or (worker.ended and not worker.jobs):
            worker.end()

    def end(self) -> None:
        for worker in self._workers.values():
            worker.end()
        self._workers.clear()


def make_local(execution: Execution, command: Sequence[str], *, alone: bool) -> LocalExecutor:
    """Raises UserError: the machine cannot do what ``execution`` asks for."""
    where = layout(execution)
    if not alone:  # another driver would pin to the same cores
        where = replace(where, slots=tuple(replace(slot, cores=()) for slot in where.slots))
    if execution.launcher is not None:
        command = [*shlex.split(execution.launcher), *command]
    return LocalExecutor(where, command)
