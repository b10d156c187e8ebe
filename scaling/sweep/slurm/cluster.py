"""What Slurm says of its jobs. The one place that starts its commands."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from scaling.errors import Complaint, UserError

COMMAND_SECONDS = 30
ENDED = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
}
WAITING = {"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
LATER = "BeginTime"  # the reason of a job that is not to start before some time, such as one queued again
_QUEUE_FIELDS = "%A|%F|%K|%T|%Q|%r|%V|%S|%L|%N|%j"
_ACCOUNT_FIELDS = "JobIDRaw,JobID,State,Reason,Submit,Start,NodeList,JobName"
_LEFT = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d\d)")


class SlurmMissing(UserError):
    """This machine has no such command."""


class SlurmError(UserError):
    """A command of Slurm failed."""


@dataclass(frozen=True)
class QueueRow:
    """A job, or a task of an array, as Slurm knows it.

    Attributes:
        job: the id of the array, or the job's own.
        task: its place in the array; None: it is no array, or what is left of one that was cancelled.
        slurm_id: its own id.
        name: of the job.
        state: as Slurm calls it, such as PENDING.
        reason: why it waits, or ended; empty: none.
        node: where it runs, or ran.
        submitted: when it came, or last came back, to the queue.
        start: when it started, or is expected to.
        left: seconds until its time limit; None: it has none, or this is not known.
        held: it waits, and not for nodes: until ``start``, or until somebody releases it.
    """

    job: str
    task: int | None
    slurm_id: str
    name: str
    state: str
    reason: str = ""
    node: str = ""
    submitted: datetime | None = None
    start: datetime | None = None
    left: float | None = None
    held: bool = False

    @property
    def label(self) -> str:
        return self.job if self.task is None else f"{self.job}_{self.task}"

    @property
    def living(self) -> bool:
        return self.state not in ENDED

    @property
    def pending(self) -> bool:
        return self.state in WAITING


def call(*argv: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command of Slurm prints.

    Args:
        argv: the command.
        environment: of the command, which sbatch hands on to the job; left out: this one's, with times in
            UTC.

    Raises:
        SlurmMissing: there is no such command here.
        SlurmError: it fails, or does not answer.
    """
    if environment is None:
        unset = ("SQUEUE_", "SACCT_")
        ours = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
        environment = {**ours, "TZ": "UTC", "SLURM_TIME_FORMAT": "standard", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for whoever asks
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
        )
    except FileNotFoundError:
        hint = "run the same command where Slurm's commands are, such as on a login node"
        raise SlurmMissing(Complaint(f"this machine has no {argv[0]}", hint=hint)) from None
    except OSError as error:
        raise SlurmError(Complaint(f"{argv[0]} cannot be started: {error.strerror}")) from None
    except subprocess.TimeoutExpired:
        problem = f"{argv[0]} gave no answer for {COMMAND_SECONDS} s"
        raise SlurmError(Complaint(problem, hint="try again when the cluster answers")) from None
    if done.returncode:
        reason = " / ".join(done.stderr.split("\n")).strip(" /") or f"exit code {done.returncode}"
        raise SlurmError(Complaint(f"{argv[0]} failed: {reason}"))
    return done.stdout


def queue_rows(names: Sequence[str]) -> list[QueueRow]:
    """Return what Slurm knows of the jobs of these names, a row for each task of an array; of those that
    have ended too, for as long as it remembers them (minutes).

    Raises:
        SlurmMissing: there is no squeue here.
        SlurmError: it fails.
    """
    if not names:
        return []
    output = call("squeue", "-h", "-r", "-t", "all", "-n", ",".join(names), "-o", _QUEUE_FIELDS)
    return list(_queue(output))


def _queue(output: str) -> Iterator[QueueRow]:
    for line in output.splitlines():
        own, job, task, state, priority, reason, submitted, start, left, node, name = line.split("|", 10)
        yield QueueRow(
            job=job,
            task=int(task) if task.isdecimal() else None,
            slurm_id=own,
            name=name,
            state=state,
            reason="" if reason == "None" else reason,
            node=node,
            submitted=_moment(submitted),
            start=_moment(start),
            left=_seconds(left) if state == "RUNNING" else None,
            held=state in WAITING and (priority == "0" or reason == LATER),
        )


def accounted_rows(names: Sequence[str]) -> list[QueueRow] | None:
    """Return what the accounting knows of the jobs of these names, which is more than the queue does of
    those that have ended. None: there is none here."""
    if not names:
        return []
    fields = f"--format={_ACCOUNT_FIELDS}"
    try:
        output = call("sacct", "-n", "-X", "-P", "-S", "now-30days", f"--name={','.join(names)}", fields)
    except (SlurmMissing, SlurmError):
        return None
    return list(_accounts(output))


def _accounts(output: str) -> Iterator[QueueRow]:
    for line in output.splitlines():
        own, label, state, reason, submitted, start, node, name = line.split("|", 7)
        job, _, task = label.partition("_")
        yield QueueRow(
            job=job,
            task=int(task) if task.isdecimal() else None,
            slurm_id=own,
            name=name,
            state=state.split()[0],  # "CANCELLED by 1000"
            reason="" if reason == "None" else reason,
            node="" if node == "None assigned" else node,
            submitted=_moment(submitted),
            start=_moment(start),
        )


def _moment(text: str) -> datetime | None:
    """Read a time, which commands print in UTC because they are asked to."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:  # N/A, Unknown
        return None


def _seconds(text: str) -> float | None:
    """Read ``[[days-]hours:]minutes:seconds``; None for a job without a limit. One that is over it has 0."""
    if text == "INVALID":
        return 0.0
    match = _LEFT.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((24 * days + hours) * 60 + minutes) * 60 + seconds)
