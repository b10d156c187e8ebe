"""``python -m scaling.sweep.pilot RESULTS SUBMISSION``: a driver of jobs inside an allocation of Slurm.

It works by the plan in the folder, and writes none. It takes those jobs of its submission that nobody works
on, as many at a time as the allocation has room for, and ends when none is left: the allocation is free
then. Near the time limit (SIGUSR2) it stops with checkpoints and has itself queued again; after a SIGTERM
Slurm does that, or somebody has cancelled it. Exit codes: 0 nothing is left that it could start, 130 it was
stopped, 2 it cannot work here, 1 anything else; its note in the folder says more.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scaling.errors import Complaint, UserError, plural
from scaling.files import write_json
from scaling.plan.plan import Plan
from scaling.spec.execution import Execution, SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.store.lease import look as look_at_lease
from scaling.store.process import Process
from scaling.sweep.clock import Clock
from scaling.sweep.driver import Sweep
from scaling.sweep.events import Event, Outcome, Progress, RunFinished
from scaling.sweep.opening import join_sweep
from scaling.sweep.queue import Phase
from scaling.sweep.reporter import StderrReporter
from scaling.sweep.slurm.commands import requeue
from scaling.sweep.slurm.script import REQUEUE_SECONDS, notice_seconds
from scaling.sweep.slurm.submission import PilotNote, Submission, note_file, read_submission
from scaling.sweep.stops import Reason, in_words, signals_to

TELL_SECONDS = 2.0
DROPPED = ("cancelled", "refused")
TIME_IS_SHORT = signal.SIGUSR2.name


@dataclass
class Pilot:
    """What one task of a submission does, and says of itself. ``stops`` are reasons to stop, in order;
    ``trained``: something was done that need not be done again, where jobs can be ``resumed``."""

    results: ResultsFolder
    submission: Submission
    note: PilotNote
    stops: list[str]
    report: StderrReporter = field(default_factory=StderrReporter)
    clock: Clock = field(default_factory=Clock)
    trained: bool = False
    resumed: bool = True

    def run(self, command: Sequence[str] | None) -> int:
        """Do what there is to do, and say how that ended."""
        self.tell()
        try:
            code, message = self._work(command)
        except UserError as error:
            code, message = 2, str(error)
        except Exception as error:
            traceback.print_exception(error)
            code, message = 1, f"{type(error).__name__}: {error}"
        return self._say_ended(code, message)

    def _say_ended(self, code: int, message: str | None) -> int:
        """Say so once."""
        if self.note.exit_code is None:
            if message:
                self.report.say(message)
            state = "requeued" if self.note.state == "requeued" else "ended"
            self.tell(state=state, exit_code=code, message=message)
        return code

    def tell(self, **changes: Any) -> None:
        """Write the note, with these fields changed. A full disk does not stop a pilot."""
        self.note = self.note.model_copy(update={"updated": datetime.now(UTC), **changes})
        with suppress(OSError):
            write_json(self._file, self.note.to_json(), durable=False)

    @property
    def _file(self) -> Path:
        return note_file(self.results, self.submission.id, self.note.task)

    def _work(self, command: Sequence[str] | None) -> tuple[int, str | None]:
        """Return the exit code, and what a reader should know beside it."""
        if self.submission.state in DROPPED:
            return 0, f"its submission is {self.submission.state}: nothing is done"
        joined = join_sweep(
            self.results.path,
            jobs=self.submission.jobs,
            execution=in_allocation(self.submission.execution),
            command=command,
        )
        with joined as sweep:
            self.resumed = can_resume(sweep.plan)
            chosen = sweep.plan.with_roles(self.submission.roles)
            if not chosen:
                return 0, "the plan of the folder has none of its jobs any more: nothing is done"
            phase = Phase(
                roles=self.submission.roles,
                chosen=chosen,
                work=self.submission.work,
                grace_seconds=notice_seconds(self.submission) - REQUEUE_SECONDS,
                waits=False,
                first=self.note.task,
            )
            execution = sweep.plan.execution
            outcome = sweep.run_here(phase, execution, self._watch, self.report.say, self.stops)
            code, message = self._end(sweep, outcome)
            self._say_ended(code, message)  # before trackers have caught up
            return code, message

    def _watch(self, event: Event) -> None:
        self.report(event)
        if isinstance(event, RunFinished):
            self.trained = True
        if not isinstance(event, Progress):
            return
        self.trained |= self.resumed and any(row.step for row in event.snapshot.running)
        if self.clock.is_due("tell", TELL_SECONDS):
            self.tell()
            if self._cancelled() and not self.stops:
                self.stops.append(Reason.CANCELLED)

    def _cancelled(self) -> bool:
        now = read_submission(self.results, self.submission.id)
        return now is None or now.state in DROPPED

    def _end(self, sweep: Sweep, outcome: Outcome) -> tuple[int, str | None]:
        if outcome.interrupted is None:
            return 0, _given_up(outcome, sweep.plan.execution.attempts)
        if self._cancelled():
            return 130, f"stopped: {in_words(Reason.CANCELLED)}"
        if outcome.interrupted != TIME_IS_SHORT:
            return 130, f"stopped: {in_words(outcome.interrupted)}"
        if not _is_left(sweep, outcome):
            return 130, "its time is up, and nothing is left for it"
        if not self.trained:  # the next one would come no further
            what = (
                "anything was trained" if self.resumed else "a run had ended, and its trainer cannot resume"
            )
            return 130, f"its time was up before {what}: {_MORE_TIME}"
        message = "its time is up: queued again"
        self.tell(state="requeued", message=message)  # which Slurm may leave no time for afterwards
        try:
            requeue(self.note.slurm_id)
        except UserError as error:
            self.tell(state="running")
            message = f"its time is up, and it was not queued again: {error}"
        return 130, message


_MORE_TIME = "a longer execution.time is needed"


def can_resume(plan: Plan) -> bool:
    """Tell whether jobs of a plan that were stopped go on from where they were."""
    return plan.command is None or plan.command.resume


def _is_left(sweep: Sweep, outcome: Outcome) -> bool:
    """Tell whether there is a job to go on with that nobody else holds."""
    left = {*outcome.unfinished, *outcome.failed} - {*outcome.given_up}
    folders = {sweep.results.job_dir(sweep.plan.by_id[run_id].job_id) for run_id in left}
    return any(lease is None or lease.free for lease in map(look_at_lease, folders))


def _given_up(outcome: Outcome, attempts: int) -> str | None:
    if not outcome.given_up:
        return None
    return (
        f"given up, as they failed {attempts} times in a row: {plural(len(outcome.given_up), 'run')} "
        "(execution.attempts)"
    )


def in_allocation(execution: SlurmExecution) -> Execution:
    """Return how jobs run in an allocation: in processes of its node, or of all its nodes together."""
    shared = {name: getattr(execution, name) for name in Execution.model_fields if name != "kind"}
    if execution.nodes > 1:
        shared |= {"hosts": execution.nodes, "launcher": _launcher(execution.nodes, os.environ)}
    return Execution(**shared)


def _launcher(nodes: int, environ: Mapping[str, str]) -> str:
    """Return what starts a process on each node of the allocation: with all the CPUs that are there, which
    a step does not get by itself."""
    cpus = environ.get("SLURM_CPUS_PER_TASK")
    return f"srun --nodes={nodes} --ntasks-per-node=1" + (f" --cpus-per-task={cpus}" if cpus else "")


def make_pilot(
    folder: Path, submission_id: str, stops: list[str], environ: Mapping[str, str] = os.environ
) -> Pilot:
    """Raises UserError: the folder has no such submission."""
    results = ResultsFolder(folder.absolute())
    submission = read_submission(results, submission_id)
    if submission is None:
        problem = f"{str(folder)!r} has no submission {submission_id!r}"
        raise UserError(Complaint(problem, hint="`scaling run` submits pilots"))
    now, slurm_id = datetime.now(UTC), environ.get("SLURM_JOB_ID", "")
    note = PilotNote(
        submission=submission.id,
        task=int(environ.get("SLURM_ARRAY_TASK_ID", "0")),
        job=environ.get("SLURM_ARRAY_JOB_ID", slurm_id),
        slurm_id=slurm_id,
        node=environ.get("SLURMD_NODENAME", ""),
        restarts=int(environ.get("SLURM_RESTART_COUNT", "0")),
        process=Process.here(),
        began=now,
        updated=now,
        state="running",
    )
    return Pilot(results, submission, note, stops)


def main(folder: Path, submission_id: str, command: Sequence[str] | None = None) -> int:
    """Do what a submission asks of this task."""
    stops = list[str]()
    with signals_to(stops.append):
        try:
            return make_pilot(folder, submission_id, stops).run(command)
        except UserError as error:
            print(error, file=sys.stderr, flush=True)
            return 2


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
