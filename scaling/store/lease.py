"""Who may write for a job: a lease file that at most one process holds, with a fencing token.

A lease is made whole under another name and linked into place, so two processes never both get it. Its owner
*beats* by rewriting it through the descriptor it was made with, which never touches a successor's file.
Whoever waits compares what it reads with what it read before; no clock of another machine is looked at. A
lease is free when its owner released it or has certainly ended (seen on its own machine only); otherwise the
waiting process must have seen it unchanged for as long as the study says. It is taken over by a rename, which
succeeds for one taker, and the token grows by one.

Before a commit the owner checks that the lease in place is its own. A process can be paused between a check
and the write that follows, so the writes themselves are harmless when late: logs are appended through a
descriptor of a file that a successor has replaced, records are linked into place once, and checkpoints of
one step are equal.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from scaling.files import lock
from scaling.store.documents import Document
from scaling.store.process import Process

NAME = "lease"
SIZE = 512  # bytes: a beat rewrites them in place
BEATS = 5  # in the time after which a lease may be taken over
TAKING_SECONDS = 2.0
MISSING_SECONDS = 0.2  # a taker that was mistaken puts a lease back within microseconds
_LEFT = re.compile(r"lease\.([0-9]{1,12})\.[0-9a-f]+")


class Busy(Exception):
    """The lease is held by another process."""


class LostLease(Exception):
    """Another process has taken the lease over: nothing more may be written."""


class LeaseFile(Document):
    """``lease``: who holds it, and the ``seconds`` for which its owner may stall."""

    token: int
    id: str
    owner: Process
    beat: int
    seconds: float
    released: bool


@dataclass(frozen=True)
class Seen:
    """A lease file as read: ``mark`` changes with every beat. A damaged file has no owner."""

    mark: str
    token: int = 0
    owner: Process | None = None
    released: bool = False
    seconds: float = 0.0

    @property
    def free(self) -> bool:
        """Nobody holds it, for certain."""
        return self.released or (self.owner is not None and self.owner.gone)


def look(folder: Path) -> Seen | None:
    """Return the lease in ``folder``; None when there is none."""
    try:
        return _parse((folder / NAME).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def _parse(content: bytes) -> Seen:
    mark = hashlib.sha256(content).hexdigest()[:16]
    try:
        lease = LeaseFile.model_validate_json(content)
    except ValidationError:
        return Seen(mark)
    return Seen(mark, lease.token, lease.owner, lease.released, lease.seconds)


@dataclass
class LeaseWatch:
    """What one observer knows of one lease: since when, by its own clock, it has not changed; whether it
    ``beats``: was seen to change in the hands of somebody."""

    seen: Seen | None = None
    since: float = field(default_factory=time.monotonic)
    beats: bool = False

    def held(self, folder: Path, seconds: float) -> bool:
        """Look again: whether somebody else holds the lease, and has beaten within ``seconds``, or within
        the time that its owner was given, where that is longer."""
        now, seen = time.monotonic(), look(folder)
        if (seen and seen.mark) != (self.seen and self.seen.mark):
            self.beats = self.seen is not None and seen is not None and not seen.free
            self.seen, self.since = seen, now
        return seen is not None and not seen.free and now - self.since < max(seconds, seen.seconds)

    @property
    def mark(self) -> str:
        """Of the lease that was seen last, for :func:`acquire`."""
        return self.seen.mark if self.seen else ""


class Lease:
    """A lease that this process holds; ``identity`` is unique to it."""

    def __init__(self, folder: Path, token: int, descriptor: int, identity: str):
        self.folder, self.path, self.token = folder, folder / NAME, token
        self._descriptor, self._identity = descriptor, identity
        self._beats, self._lock, self._ended = 0, threading.Lock(), threading.Event()
        self._seconds = 0.0

    def check(self) -> None:
        """Raises LostLease when the lease in place is not this one."""
        deadline = time.monotonic() + MISSING_SECONDS
        while True:
            with suppress(FileNotFoundError, NotADirectoryError):
                if self._is_mine(self.path.read_bytes()):
                    return
                raise LostLease(f"the lease of {self.folder.name} was taken over; token {self.token} is void")
            if time.monotonic() > deadline:
                raise LostLease(f"the lease of {self.folder.name} was removed; token {self.token} is void")
            time.sleep(0.01)

    def _is_mine(self, content: bytes) -> bool:
        try:
            return LeaseFile.model_validate_json(content).id == self._identity
        except ValidationError:  # our own beat was read halfway
            return os.stat(self.path).st_ino == os.fstat(self._descriptor).st_ino

    def beat(self) -> None:
        self._write(released=False)

    def keep(self, seconds: float) -> None:
        """Beat from a thread until :meth:`release`, some times in the ``seconds`` after which others may take
        over. A disk that refuses a beat refuses commits too."""
        self._seconds = seconds

        def run() -> None:
            with suppress(OSError):
                self.beat()
            while not self._ended.wait(seconds / BEATS):
                with suppress(OSError):
                    self.beat()

        threading.Thread(target=run, daemon=True, name="lease").start()

    def release(self) -> None:
        """Say that the work is over: the next process need not wait."""
        self._ended.set()
        with suppress(OSError):
            self._write(released=True)

    def _write(self, *, released: bool) -> None:
        with self._lock:
            if self._ended.is_set() and not released:
                return
            self._beats += 1
            text = _text(self.token, self._identity, self._beats, self._seconds, released)
            os.pwrite(self._descriptor, text, 0)


def acquire(folder: Path, stale: str = "") -> Lease:
    """Take the lease of ``folder``, waiting for nobody.

    ``stale`` is the mark of a lease that was seen unchanged for long enough: taken over if it still is.

    Raises:
        Busy: another process holds it.
        OSError: the folder cannot be written.
    """
    # Takers one at a time, so that none moves away what another has just put there. Without locks the rename
    # alone decides, and one of two owners is then told that it lost.
    with lock(folder, TAKING_SECONDS) as alone:
        if not alone:
            raise Busy("a process that stalled while taking it")
        seen = look(folder)
        if seen is not None:
            if not seen.free and seen.mark != stale:
                raise Busy(_whose(seen))
            _move_away(folder, seen)
        lease = _create(folder, 1 + max(_left(folder), default=0))
    if lease is None:
        raise Busy("another process")
    return lease


def _move_away(folder: Path, seen: Seen) -> None:
    """Rename the lease that was seen. Raises Busy, with it put back, when it is not that one any more."""
    aside = folder / f"{NAME}.{seen.token}.{uuid.uuid4().hex}"
    try:
        os.rename(folder / NAME, aside)
    except FileNotFoundError:  # another taker was faster
        raise Busy("another process") from None
    moved = _parse(aside.read_bytes())
    if moved.mark != seen.mark:  # it beat, or has a new owner
        with suppress(FileExistsError, FileNotFoundError):
            os.link(aside, folder / NAME)
        aside.unlink(missing_ok=True)
        raise Busy(_whose(moved))


def _create(folder: Path, token: int) -> Lease | None:
    """Link a new lease into place and clear away what takers left; None when another one is there."""
    identity = uuid.uuid4().hex
    aside = folder / f".{NAME}.{identity}.tmp"
    descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, _text(token, identity, 0, 0.0, released=False))
        os.link(aside, folder / NAME)
    except FileExistsError:
        os.close(descriptor)
        return None
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
            text = "this file system makes no hard links, which leases and records need; use another folder"
            raise OSError(error.errno, text, str(folder)) from None
        raise
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        aside.unlink(missing_ok=True)
    for name in os.listdir(folder):
        if (match := _LEFT.fullmatch(name)) and int(match[1]) < token:
            (folder / name).unlink(missing_ok=True)
    return Lease(folder, token, descriptor, identity)


def _left(folder: Path) -> list[int]:
    """Return the tokens of leases that takers moved away: tokens only grow, also when a taker was killed."""
    tokens = []
    for name in os.listdir(folder):
        if match := _LEFT.fullmatch(name):
            with suppress(FileNotFoundError):
                tokens += [int(match[1]), _parse((folder / name).read_bytes()).token]
    return tokens


def _text(token: int, identity: str, beats: int, seconds: float, released: bool) -> bytes:
    lease = LeaseFile(
        token=token, id=identity, owner=Process.here(), beat=beats, seconds=seconds, released=released
    )
    return json.dumps(lease.to_json()).ljust(SIZE - 1).encode() + b"\n"


def _whose(seen: Seen) -> str:
    return f"process {seen.owner.pid} on {seen.owner.host}" if seen.owner else "a process of unknown name"
