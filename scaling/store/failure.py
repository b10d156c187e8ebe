"""Why a run has no record: exit codes, kinds of failure, ``error.json`` and how often a run is tried."""

from __future__ import annotations

import errno
import os
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from scaling.errors import UserError
from scaling.files import write_json
from scaling.store.documents import Document, Id, read
from scaling.store.start import START, CommandStart

STOPPED = 130  # it was asked to stop; its work is in a checkpoint
BUSY = 75  # another process holds the lease of its job
FULL = 77  # the disk is full: its log may not say so
SHED = 78  # it shared a process that could not go on with all its jobs: to be tried again, with fewer
LOST = 76  # another process took its lease over; it wrote nothing after that
LOST_HOST = 79  # one of several hosts that trained it together is gone
RELIEVED = 81  # memory ran out on one of several hosts: started again, it goes on in smaller pieces
HUNG = 80  # nothing was done for execution.timeout_minutes; the stacks of its threads are in its log
TOLD_BY_STATUS = (BUSY, LOST, FULL, SHED, LOST_HOST, HUNG, RELIEVED)  # what means something to a driver

Kind = Literal[
    "exception",
    "killed",
    "out_of_memory",
    "data_error",
    "lost_lease",
    "lost_host",
    "disk_full",
    "timeout",
    "not_started",
    "contract",
    "ignored_stop",
]
# Not the run's own doing: they never use up its attempts.
OUTER_KINDS: tuple[str, ...] = ("lost_lease", "lost_host", "disk_full", "not_started", "ignored_stop")
LINES = 20  # of a traceback

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
_EXHAUSTED = ("RESOURCE_EXHAUSTED", "MemoryError")


class Failure(Document):
    """``error.json``: the last failure of a run.

    ``attempt`` counts failures in a row without getting further, this one included where it is the run's own
    doing. ``reached`` is the newest checkpoint at the time: steps of death vary, checkpoints only grow.
    """

    kind: Kind | Literal["unknown", "unreadable record"]
    message: str
    step: int | None = None
    run_id: Id | None = None
    attempt: int = 1
    reached: int | None = None
    log_tail: tuple[str, ...] = ()

    @classmethod
    def after(cls, previous: Failure | None, job_dir: Path, **fields: Any) -> Self:
        """Make the failure that follows ``previous``, the last one of the run; ``fields`` are the others."""
        at = reached(job_dir, fields["run_id"])
        further = previous and previous.reached is not None and at > previous.reached
        count = previous.attempt if previous and not further else 0
        return cls(attempt=count + (fields["kind"] not in OUTER_KINDS), reached=at, **fields)

    def gives_up(self, limit: int) -> bool:
        """Tell whether the run has failed so often in a row, by its own doing, that it is not retried."""
        return self.attempt >= limit and self.kind not in OUTER_KINDS


def kind_of(error: BaseException) -> Kind:
    """Classify an exception; in a training process only its data and its device can cause a
    UserError."""
    if is_disk_full(error):
        return "disk_full"
    if isinstance(error, MemoryError) or is_exhausted(str(error)):
        return "out_of_memory"
    return "data_error" if isinstance(error, UserError) else "exception"


def write_failure(
    folder: Path, job_dir: Path, error: Exception, step: int | None, kind: Kind | None = None
) -> None:
    """Write ``error.json`` of the run in ``folder``, from inside its process, and the traceback to the log.

    A full disk may refuse both: the driver then says what happened, by the exit status.

    Args:
        folder: the folder of the run.
        job_dir: the folder of its job.
        error: what was raised.
        step: the last step that was logged.
        kind: the kind of failure where ``error`` alone does not tell.
    """
    with suppress(OSError):
        traceback.print_exception(error)
    message = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    tail = "".join(traceback.format_exception(error)).splitlines()[-LINES:]
    note_failure(folder, job_dir, kind=kind or kind_of(error), message=message, step=step, log_tail=tail)


def note_failure(folder: Path, job_dir: Path, **what: Any) -> None:
    """Write ``error.json`` of the run in ``folder``, counted from the one that is there; ``what`` are its
    other fields."""
    try:
        previous = read(Failure, folder / "error.json")
    except UserError:
        previous = None
    failure = Failure.after(previous, job_dir, run_id=folder.name, **what)
    with suppress(OSError):
        write_json(folder / "error.json", failure.to_json())


def is_disk_full(error: BaseException) -> bool:
    """Tell whether a write failed for lack of space, quota or permitted file size; libraries wrap the
    cause."""
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    return any(text in str(error) for text in _NO_SPACE_TEXTS)


def is_exhausted(text: str) -> bool:
    """Tell whether XLA or Python says here that memory ran out."""
    return any(word in text for word in _EXHAUSTED)


def refusal(error: OSError) -> str | None:
    """Return the message for a user who has no space or may not write; None when it is something else."""
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    if is_disk_full(error):
        return f"{where}{what}; free some space and run the same command again: what is done is kept"
    if error.errno in NOT_ALLOWED:
        return f"{where}{what}; make it writable and run the same command again: what is done is kept"
    return None


def reached(job_dir: Path, run_id: str) -> int:
    """Return the newest checkpoint, whole or not, from which a run of the job could resume: its step, 0 for
    none. Of a trainer of one's own only the one that it last resumed from is known."""
    steps = [0]
    for line in ("trunk", run_id):
        with suppress(FileNotFoundError, NotADirectoryError):
            steps += [int(name) for name in os.listdir(job_dir / "checkpoints" / line) if name.isdecimal()]
    with suppress(UserError):
        if start := read(CommandStart, job_dir / START):
            steps.append(start.resumed_from)
    return max(steps)
