"""What becomes of a run: exit status of its process, records, kinds of failure and how often it is tried."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

STOPPED = 130  # it was asked to stop; its work is in a checkpoint
BUSY = 75  # another process holds the lease of its job
FULL = 77  # the disk is full: its log may not say so
LOST = 76  # another process took its lease over; it wrote nothing after that

Kind = Literal[
    "exception", "killed", "out_of_memory", "data_error", "lost_lease", "disk_full", "timeout", "not_started"
]
# Not the run's own doing: they never use up its attempts.
OUTER_KINDS: tuple[Kind, ...] = ("lost_lease", "disk_full", "not_started")

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")


def is_disk_full(error: BaseException) -> bool:
    """Whether a write failed for want of space, quota or permitted file size; libraries wrap the cause."""
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return True
    return any(text in str(error) for text in _NO_SPACE_TEXTS)


def refusal(error: OSError) -> str | None:
    """What a user is told who has no space or may not write; None when it is something else."""
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    if is_disk_full(error):
        return f"{where}{what}; free some space and run the same command again: what is done is kept"
    if error.errno in NOT_ALLOWED:
        return f"{where}{what}; make it writable and run the same command again: what is done is kept"
    return None


def is_record(value: Any, run_id: str) -> bool:
    """Whether ``value``, read from a ``record.json``, is a record of this run."""
    if not isinstance(value, dict) or value.get("run_id") != run_id:
        return False
    return isinstance(value.get("result"), dict) and "status" in value["result"]


def reached(job_dir: Path, run_id: str) -> int:
    """The newest checkpoint, whole or not, from which a run of the job could go on: its step, 0 for none."""
    steps = [0]
    for line in ("trunk", run_id):
        with suppress(FileNotFoundError, NotADirectoryError):
            steps += [int(name) for name in os.listdir(job_dir / "checkpoints" / line) if name.isdecimal()]
    return max(steps)


def attempt_after(previous: Mapping[str, Any] | None, kind: str, at: int) -> int:
    """Failures in a row without getting further, this one included where it is the run's own doing.

    ``previous`` is the last ``error.json``. Further is who has a newer checkpoint (``at``, see
    :func:`reached`) than at the last failure: steps of death vary, checkpoints only grow.
    """
    old = previous or {}
    count, before = old.get("attempt"), old.get("reached")
    count = count if isinstance(count, int) else 0
    if isinstance(before, int) and at > before:
        count = 0
    return count + (kind not in OUTER_KINDS)
