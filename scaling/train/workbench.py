"""What the work on one job has at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scaling.data.index import DataIndex
from scaling.data.store import Windows
from scaling.files import write_json
from scaling.model.roles import Params
from scaling.store.lease import Lease
from scaling.store.metrics import CurveLog
from scaling.store.records import Environment, JobExecution, JobProgress, JobRun
from scaling.train.checkpoint import Checkpoints
from scaling.train.evaluate import Evaluation
from scaling.train.hosts import ALONE, Hosts
from scaling.train.peak import PeakMemory
from scaling.train.process import Watchdog
from scaling.train.program import Program
from scaling.train.relief import Relief


@dataclass(frozen=True)
class Workbench:
    """The job in ``folder``, under its lease: program, data, and when to stop."""

    folder: Path
    lease: Lease
    relief: Relief
    program: Program
    windows: Windows
    evaluate: Callable[[Params], Evaluation]
    stop_asked: Callable[[], bool]
    execution: JobExecution
    environment: Environment
    hosts: Hosts = ALONE
    watchdog: Watchdog | None = None
    memory: PeakMemory = field(default_factory=PeakMemory)

    @property
    def index(self) -> DataIndex:
        return self.windows.index

    def run_folder(self, member: JobRun) -> Path:
        return self.folder.parent.parent / "runs" / member.run_id

    def checkpoints(self) -> Checkpoints:
        folder = (self.hosts.home or self.folder) / "checkpoints"
        return Checkpoints(folder, self.lease.check, hosts=self.hosts)

    def went_on(self) -> None:
        """Note that something was done: a chunk trained, a run evaluated again."""
        if self.watchdog:
            self.watchdog.reset()

    def curve(self, member: JobRun) -> CurveLog:
        return CurveLog(self.run_folder(member) / "metrics.jsonl", self.lease.check)

    def report(self, member: JobRun, step: int, done: float, total: float, loss: float | None = None) -> None:
        """Write progress.json.

        Args:
            member: the run at work.
            step: of that run.
            done: FLOPs of the job.
            total: FLOPs of the job.
            loss: the last training loss.
        """
        self.lease.check()
        self.went_on()
        progress = JobProgress(
            run_id=member.run_id,
            step=step,
            steps=member.run.steps,
            job_flops_done=done,
            job_flops_total=total,
            loss=loss,
        )
        write_json(self.folder / "progress.json", progress.to_json(), durable=False)
