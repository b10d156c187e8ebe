"""The folder in which a store is prepared: what a killed attempt left there is taken up, or cleaned away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import python_version

from scaling.data.processes import ProcessKilled
from scaling.data.progress import Progress, Report
from scaling.data.request import Request
from scaling.errors import Complaint, UserError
from scaling.files import cache_dir, clear_leftovers, lock, write_text

WAIT_SECONDS = 30 * 86400.0
FORGOTTEN_SECONDS = 7 * 86400.0  # after which an attempt that nobody resumed is cleaned away


def versions() -> dict[str, str]:
    """Return the versions that may decide how text is cut."""
    packages = ("scaling-laws", "numpy", "tokenizers")
    return {"python": python_version(), **{name: version(name) for name in packages}}


def lock_path(name: str) -> Path:
    """Return the file to lock for a request (by its key) or for a store (by its fingerprint).

    Raises:
        UserError: the cache cannot be written.
    """
    folder = cache_dir() / "data" / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot keep prepared text in {folder.parent}: {error.strerror}"
        raise UserError(
            Complaint(message, "SCALING_CACHE", "set it to a folder that you can write")
        ) from None
    return folder / name


@contextmanager
def alone(key: str, report: Report) -> Iterator[None]:
    """Hold the lock of a request; wait while another process has it."""
    path = lock_path(key)
    with lock(path, 0.0) as held:
        if held:
            yield
            return
    report(Progress("waiting"))
    with lock(path, WAIT_SECONDS) as held:
        if not held:
            raise UserError(Complaint(f"another process has held {path} for a month", hint="end it"))
        yield


@dataclass(frozen=True)
class Work:
    """``folder`` of one request: surveys, the store as it grows, and what is done of it."""

    folder: Path

    @classmethod
    @contextmanager
    def begin(cls, request: Request, key: str) -> Iterator[Work]:
        """Give the folder of a request under its lock. It is removed at the end, and kept for the next
        attempt where that can go on: not after an error in what the user gave."""
        folder = cache_dir() / "data" / "work" / f"{request.fields_key()}-{key}"
        _clear_others(folder, request.fields_key())
        made_by, note = (
            "\n".join(f"{name} {number}" for name, number in versions().items()),
            folder / "made-by",
        )
        if folder.exists() and (not note.exists() or note.read_text("utf-8") != made_by):
            shutil.rmtree(folder)  # another version might have cut the text otherwise
        folder.mkdir(parents=True, exist_ok=True)
        write_text(note, made_by)
        clear_leftovers(folder)
        try:
            yield cls(folder)
        except ProcessKilled:
            raise
        except UserError:
            shutil.rmtree(folder)
            raise
        shutil.rmtree(folder)

    def survey(self, group: int) -> Path:
        return self.folder / f"survey-{group:05d}"

    def store(self, fingerprint: str) -> Path:
        """Return the folder in which a store grows."""
        return _made(self.folder / fingerprint)

    def done(self, fingerprint: str) -> Path:
        """Return the folder of what is done of a store."""
        return _made(self.folder / f"{fingerprint}-done")


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _clear_others(own: Path, fields: str) -> None:
    """Remove what attempts left that nobody can resume: of the same request before its files changed, and
    those forgotten; unless a process is at work there."""
    if not own.parent.exists():
        return
    for folder in own.parent.iterdir():
        stale = time.time() - folder.stat().st_mtime > FORGOTTEN_SECONDS
        if folder != own and (stale or folder.name.startswith(f"{fields}-")):
            with lock(lock_path(folder.name.rpartition("-")[2]), 0.0) as held:
                if held:
                    shutil.rmtree(folder, ignore_errors=True)
