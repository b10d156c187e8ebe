"""What a training process says by its exit status, and the kinds of failure that ``error.json`` names."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any, Literal, get_args

STOPPED = 130  # it was asked to stop; its work is in a checkpoint
BUSY = 75  # another process holds the lease of its job
FULL = 77  # the disk is full: its log may not say so
LOST = 76  # another process took its lease over; it wrote nothing after that

Kind = Literal[
    "exception", "killed", "out_of_memory", "data_error", "lost_lease", "disk_full", "timeout", "not_started"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
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


def attempt_after(previous: Mapping[str, Any] | None, kind: str, step: int | None) -> int:
    """Failures in a row without getting further, this one included where it is the run's own doing.

    ``previous`` is the last ``error.json``. Whoever died later than the last time starts from one again.
    """
    old = previous or {}
    count, before = old.get("attempt"), old.get("step")
    count = count if isinstance(count, int) else 0
    if isinstance(before, int) and step is not None and step > before:
        count = 0
    return count + (kind not in OUTER_KINDS)
