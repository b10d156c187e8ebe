"""A stand-in for Slurm in tests of what is asked of it: its jobs are pilots of this machine, or none."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from scaling.errors import Complaint
from scaling.sweep.slurm.cluster import QueueRow, SlurmError
from tests.sweep.plans import FAKE

PILOT = "import sys; from scaling.sweep.pilot import *; sys.exit(main(Path(sys.argv[1]), sys.argv[2], {!r}))"


@dataclass
class Slurm:
    """What was asked, and the rows of the queue by name. ``works``: a job is started when it is submitted;
    ``refuses``: sbatch fails with these words."""

    rows: dict[str, list[QueueRow]] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    cancelled: list[tuple[str, ...]] = field(default_factory=list)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    works: bool = False
    refuses: str | None = None

    def sbatch(self, script: str) -> str:
        text = Path(script).read_text()
        if self.refuses:
            raise SlurmError(Complaint(f"sbatch failed: {self.refuses}"))
        self.scripts.append(text)
        return self.add(re.findall(r"--job-name=(\S+)", text)[0], text)

    def add(self, name: str, text: str = "", state: str = "PENDING") -> str:
        job = str(100 + len(self.rows))
        self.rows[name] = [QueueRow(job, 0, job, name, state)]
        if self.works:
            folder, submission = re.findall(r"scaling.sweep.pilot (\S+) (\S+)", text)[0]
            argv = [sys.executable, "-c", PILOT.format(FAKE), folder, submission]
            self.processes[name] = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
        return job

    def queue_rows(self, names: Sequence[str]) -> list[QueueRow]:
        for name, process in self.processes.items():
            state = "RUNNING" if process.poll() is None else "COMPLETED"
            self.end(name, state)
        return [row for name in names for row in self.rows.get(name, ())]

    def end(self, name: str, state: str = "FAILED") -> None:
        self.rows[name] = [replace(row, state=state) for row in self.rows[name]]

    def scancel(self, names: Iterable[str], *options: str) -> None:
        self.cancelled += [(name, *options) for name in names]
        for name in {name for name, *_ in self.cancelled} & self.rows.keys():
            self.end(name, "CANCELLED")
