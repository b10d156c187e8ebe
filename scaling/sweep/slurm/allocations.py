"""The allocations of a study: what its files say of them, and Slurm where it can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from scaling.errors import UserError
from scaling.store.folder import ResultsFolder
from scaling.sweep.guard import SILENT_SECONDS
from scaling.sweep.slurm.cluster import LATER, QueueRow, accounted_rows, queue_rows
from scaling.sweep.slurm.submission import PilotNote, Submission, log_file, pilot_notes, submissions

State = Literal["submitting", "pending", "held", "running", "ended", "lost"]
LIVING: tuple[State, ...] = ("submitting", "pending", "held", "running")
RELEASE = "`scontrol release` lets it go on"
MEANINGS = {
    "Resources": "waits for free nodes",
    "Priority": "other jobs go first",
    "Dependency": "waits for other jobs to end",
    LATER: "Slurm lets a job that was queued again wait a while",
    "JobArrayTaskLimit": "as many run as execution.concurrent allows",
    "JobHeldUser": RELEASE,
    "JobHeldAdmin": "an administrator holds it, or Slurm after it failed to start; ask there",
    "JobHoldMaxRequeue": f"it was queued again too often; {RELEASE}",
    "ReqNodeNotAvail": "nodes are down or reserved",
    "PartitionTimeLimit": "execution.time is more than the partition allows: it will not start",
    "PartitionNodeLimit": "it asks for more nodes than the partition allows: it will not start",
    "BadConstraints": "no node has what it asks for: it will not start",
    "DependencyNeverSatisfied": "what it waits for will not happen: cancel it",
}
"""What reasons of Slurm mean to whoever waits."""


@dataclass(frozen=True)
class Allocation:
    """A job of Slurm for a study, or a task of an array.

    Attributes:
        submission: that it belongs to.
        kind: what it does.
        job: its number in Slurm; None: not known.
        task: its place in the array.
        state: ``lost``: it has ended, and could not say so.
        reason: Slurm's reason for a pending one; how Slurm says that one ended.
        since: when it came, or came back, to the queue, or was started.
        start: of a pending one, when it may start, if Slurm says so.
        node: where it runs.
        left: seconds until its time limit.
        restarts: how often it was queued again and started.
        message: what its pilot has to say.
        log: what it printed.
    """

    submission: str
    kind: Literal["pilots", "analysis"]
    job: str | None
    task: int
    state: State
    reason: str = ""
    since: datetime | None = None
    start: datetime | None = None
    node: str = ""
    left: float | None = None
    restarts: int = 0
    message: str = ""
    log: str = ""

    @property
    def requeued(self) -> bool:
        """Whether it waits to go on."""
        return self.state in ("pending", "held") and bool(self.node or self.restarts)

    @property
    def meaning(self) -> str:
        """What the reason means, where that is known."""
        return MEANINGS.get(self.reason, RELEASE if self.state == "held" else "")


@dataclass(frozen=True)
class Allocations:
    """Those of a study, oldest submission first. ``source`` says how they are known; ``problem``, why Slurm
    could not be asked."""

    source: Literal["squeue", "squeue and sacct", "files"]
    problem: str
    rows: tuple[Allocation, ...]

    @property
    def living(self) -> tuple[Allocation, ...]:
        return tuple(row for row in self.rows if row.state in LIVING)

    def to_json(self) -> dict[str, Any]:
        return {"source": self.source, "problem": self.problem, "rows": [_plain(row) for row in self.rows]}


def _plain(row: Allocation) -> dict[str, Any]:
    times = {name: when and when.isoformat() for name, when in (("since", row.since), ("start", row.start))}
    return {**asdict(row), **times, "requeued": row.requeued, "meaning": row.meaning}


def allocations(results: ResultsFolder) -> Allocations | None:
    """Return what is known of the allocations of a study; None: it has none."""
    known = submissions(results)
    if not known:
        return None
    names = [one.name for one in known]
    try:
        queue = queue_rows(names)
    except UserError as error:
        return Allocations("files", str(error), tuple(_rows(results, known, {}, asked=False)))
    accounts = accounted_rows(names)
    seen = {(row.name, row.task): row for row in (*(accounts or ()), *queue)}
    source = "squeue" if accounts is None else "squeue and sacct"
    return Allocations(source, "", tuple(_rows(results, known, seen, asked=True)))


def _rows(
    results: ResultsFolder,
    known: Sequence[Submission],
    seen: Mapping[tuple[str, int | None], QueueRow],
    *,
    asked: bool,
) -> Iterator[Allocation]:
    for submission in known:
        notes = {note.task: note for note in pilot_notes(results, submission.id)}
        for task in range(submission.tasks):
            place = task if submission.kind == "pilots" else None
            row, note = seen.get((submission.name, place)), notes.get(task)
            log = str(log_file(results, submission.id, task))
            if row is not None and row.living:
                yield _queued(submission, row, note, log)
            elif note is not None:
                yield _noted(submission, note, log, row, asked=asked)
            elif submission.open:
                yield _unseen(submission, task, log, row, asked=asked)


def _queued(submission: Submission, row: QueueRow, note: PilotNote | None, log: str) -> Allocation:
    """Describe one that Slurm has."""
    began = note is not None and note.slurm_id == row.slurm_id
    return Allocation(
        submission=submission.id,
        kind=submission.kind,
        job=row.label,
        task=row.task or 0,
        state="held" if row.held else "pending" if row.pending else "running",
        reason=row.reason if row.pending else "" if row.state == "RUNNING" else row.state,
        since=row.submitted if row.pending else row.start,
        start=row.start if row.pending and (not row.held or row.reason == LATER) else None,
        node=row.node or (note.node if note and began else ""),
        left=row.left,
        restarts=note.restarts if note and began else 0,
        message=(note.message or "") if note and began else "",
        log=log,
    )


def _noted(
    submission: Submission, note: PilotNote, log: str, row: QueueRow | None, *, asked: bool
) -> Allocation:
    """Describe one by what its pilot wrote: Slurm does not have it any more, or was not ``asked``."""
    silent = note.process.gone or datetime.now(UTC) - note.updated > timedelta(seconds=SILENT_SECONDS)
    match note.state:
        case "ended":
            state: State = "ended"
        case "requeued":
            state = "lost" if asked else "pending"
        case "running":
            state = "lost" if asked or silent else "running"
    return Allocation(
        submission=submission.id,
        kind=submission.kind,
        job=f"{note.job}_{note.task}" if note.job else None,
        task=note.task,
        state=state,
        reason=row.state if row and submission.state != "cancelled" else "",
        since=note.updated if state == "ended" else note.began,
        node=note.node,
        restarts=note.restarts,
        message=note.message or "",
        log=log,
    )


def _unseen(submission: Submission, task: int, log: str, row: QueueRow | None, *, asked: bool) -> Allocation:
    """Describe one that has written nothing yet."""
    state: State = "submitting" if submission.state == "intended" else "ended" if asked else "pending"
    label = submission.job and (f"{submission.job}_{task}" if submission.kind == "pilots" else submission.job)
    return Allocation(
        submission=submission.id,
        kind=submission.kind,
        job=label,
        task=task,
        state=state,
        reason=row.state if row else "",
        since=submission.made,
        log=log,
    )


def log_of(results: ResultsFolder, name: str) -> Path | None:
    """Return what an allocation printed, by its number in Slurm: JOB_TASK, the task's own, or that of an
    array of one task. None: none has that number, or it has printed nothing."""
    for submission in submissions(results):
        tasks = {f"{submission.job}_{task}": task for task in range(submission.tasks)}
        if submission.tasks == 1 and submission.job is not None:
            tasks[submission.job] = 0
        for note in pilot_notes(results, submission.id):
            tasks |= {f"{note.job}_{note.task}": note.task, note.slurm_id: note.task}
        if name in tasks and (path := log_file(results, submission.id, tasks[name])).exists():
            return path
    return None
