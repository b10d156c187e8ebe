"""Drivers of a results folder: which are active, and turns that one takes at a time.

Any number of drivers may work in a folder: what keeps them apart is the lease of each job. Here they only say
that they are there, and take turns with what would otherwise be done twice. Turns are taken by a ``flock``; a
driver that is stopped while it has its turn holds up the others for a minute at most, as all that is
written in a turn is whole files with the same content.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scaling.errors import Complaint, UserError
from scaling.files import lock, write_json
from scaling.store.documents import Document, read
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.progress import Snapshot

LOCK, FOLDER = "driver.lock", "drivers"
TURN_SECONDS = 60.0
SILENT_SECONDS = 60.0  # after which a driver on another machine is not shown any more
FORGOTTEN = timedelta(days=1)  # of silence, after which its file is removed


class DriverNote(Document):
    """``drivers/*.json``: what an active driver says of itself; before its first phase it has no roles.
    ``slurm_job`` and ``node`` are those of the allocation that it works in."""

    process: Process
    slurm_job: str | None = None
    node: str | None = None
    began: datetime
    updated: datetime
    roles: tuple[str, ...] = ()
    snapshot: Snapshot | None = None


@contextmanager
def turn(results: ResultsFolder) -> Iterator[None]:
    """Work while no other driver of the folder is in here, or has been for less than a minute.

    Raises:
        UserError: it is not a folder, or cannot be written.
    """
    with ExitStack() as stack:
        try:
            results.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock(results.path / LOCK, TURN_SECONDS))
        except OSError as error:
            problem = f"results folder {str(results.path)!r}: {error.strerror}"
            raise UserError(Complaint(problem, hint="name a folder that can be written")) from None
        yield


def require_folder(results: ResultsFolder) -> None:
    """Raises UserError: the folder was removed; what were written now would bring a piece of it back."""
    if not results.plan.exists():
        problem = f"{str(results.path)!r} was removed while the study ran"
        raise UserError(Complaint(problem, hint="put it back, or start again"))


class Presence:
    """This driver's file in ``drivers/``, for `status` and other drivers. A full disk does not stop it."""

    def __init__(self, results: ResultsFolder):
        self.path = results.path / FOLDER / f"{uuid.uuid4().hex[:12]}.json"
        self.me, self.began = Process.here(), datetime.now(UTC)
        allocation = {"slurm_job": "SLURM_JOB_ID", "node": "SLURMD_NODENAME"}
        self.place = {name: os.environ[key] for name, key in allocation.items() if key in os.environ}
        for path, note in _notes(results):
            if note is None or note.process.gone or self.began - note.updated > FORGOTTEN:
                with suppress(OSError):
                    path.unlink()
        with suppress(OSError):
            self.path.parent.mkdir(exist_ok=True)
        self.tell()

    def tell(self, **what: Any) -> None:
        """Write the file; ``what`` are the other fields of :class:`DriverNote`."""
        now = datetime.now(UTC)
        note = DriverNote(process=self.me, began=self.began, updated=now, **self.place, **what)
        if self.path.parent.is_dir():  # else the study was removed: do not recreate it
            with suppress(OSError):
                write_json(self.path, note.to_json(), durable=False)

    def end(self) -> None:
        with suppress(OSError):
            self.path.unlink()

    def others_here(self, results: ResultsFolder) -> bool:
        """Tell whether another driver of this folder lives on this machine."""
        others = [note.process for note in drivers(results) if note.process != self.me]
        return any(process.machine == self.me.machine for process in others)


def drivers(results: ResultsFolder) -> list[DriverNote]:
    """List what each active driver says of itself, oldest first. Another machine's is known by its clock
    alone."""
    machine, heard_since = Process.here().machine, datetime.now(UTC) - timedelta(seconds=SILENT_SECONDS)
    notes = [note for _, note in _notes(results) if note is not None and not note.process.gone]
    living = [note for note in notes if note.process.machine == machine or note.updated > heard_since]
    return sorted(living, key=lambda note: note.began)


def _notes(results: ResultsFolder) -> Iterator[tuple[Path, DriverNote | None]]:
    """Yield the files of all drivers; None for one that cannot be read."""
    for path in sorted((results.path / FOLDER).glob("[!.]*.json")):
        try:
            yield path, read(DriverNote, path)
        except UserError:
            yield path, None
