"""Ending what works on a study: its Slurm jobs, and the drivers of this machine."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from scaling.errors import UserError
from scaling.files import write_json
from scaling.plan.plan import load_plan
from scaling.store.documents import Document, Id, read
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.guard import drivers, turn
from scaling.sweep.slurm.cluster import SlurmError, queue_rows
from scaling.sweep.slurm.commands import scancel
from scaling.sweep.slurm.script import notice_seconds
from scaling.sweep.slurm.submission import (
    FOLDER,
    Submission,
    pilot_notes,
    submissions,
    write_submission,
)
from scaling.sweep.slurm.submit import reconcile

MARGIN_SECONDS, POLL_SECONDS = 10.0, 1.0


class CancelNote(Document):
    """``slurm/cancel.json``: the last cancellation, which drivers that watch see."""

    id: Id
    made: datetime


@dataclass(frozen=True)
class Cancelled:
    """What a cancellation did: Slurm jobs that were ended, processes asked to stop, and what went wrong."""

    jobs: tuple[str, ...]
    processes: tuple[int, ...]
    problems: tuple[str, ...]


def last_cancel(results: ResultsFolder) -> str | None:
    """Return the id of the last cancellation; None where there was none."""
    with suppress(UserError):
        if note := read(CancelNote, results.path / FOLDER / "cancel.json"):
            return note.id
    return None


def cancel(results: ResultsFolder, say: Callable[[str], None] = lambda text: None) -> Cancelled:
    """End all Slurm jobs of a folder and ask the drivers of this machine to stop, as Ctrl-C does: jobs write
    checkpoints. Drivers elsewhere that watch see it and submit nothing any more.

    Args:
        results: the folder.
        say: is told what takes time.

    Raises:
        UserError: the folder holds no study, or cannot be written.
    """
    load_plan(results)
    problems = list[str]()
    with turn(results):
        note = CancelNote(id=uuid.uuid4().hex[:12], made=datetime.now(UTC))
        (results.path / FOLDER).mkdir(exist_ok=True)
        write_json(results.path / FOLDER / "cancel.json", note.to_json())
        try:
            if any(one.open for one in submissions(results)):
                reconcile(results)
        except SlurmError as error:
            problems.append(str(error))
        pilots = {note.process for one in submissions(results) for note in pilot_notes(results, one.id)}
        # what depends on others first: it would start when those end
        going = sorted((one for one in submissions(results) if one.open), key=lambda one: one.kind)
        for one in going:
            write_submission(results, one.model_copy(update={"state": "cancelled"}))
    stopped = _stop([note.process for note in drivers(results) if note.process not in pilots])
    try:
        _end(going, say)
    except SlurmError as error:
        problems.append(str(error))
        for one in going:
            write_submission(results, one)
        going = []
    jobs = tuple(one.job for one in going if one.job is not None)
    return Cancelled(jobs, stopped, tuple(problems))


def _end(going: Sequence[Submission], say: Callable[[str], None]) -> None:
    """End jobs, those of pilots with checkpoints; kill what is still there when it should have ended.

    Raises:
        SlurmMissing: there is no scancel here.
        SlurmError: it fails.
    """
    pilots = [one.name for one in going if one.kind == "pilots"]
    scancel(one.name for one in going if one.kind == "analysis")
    scancel(pilots, "--state=PENDING")
    # no step of a job is sent it: srun would kill its tasks without a checkpoint
    scancel(pilots, "--state=RUNNING", "--batch", "--signal=USR2")
    grace = MARGIN_SECONDS + max((notice_seconds(one) for one in going), default=0)
    deadline, announced = time.monotonic() + grace, False
    while any(row.living for row in queue_rows(pilots)):
        if not announced:
            say(f"jobs write checkpoints, at most {grace:.0f} s; Ctrl-C leaves that to them")
            announced = True
        if time.monotonic() > deadline:
            scancel(pilots)
            break
        time.sleep(POLL_SECONDS)


def _stop(processes: Sequence[Process]) -> tuple[int, ...]:
    """Send SIGINT to those of these processes that live on this machine."""
    this, stopped = Process.here(), list[int]()
    for process in processes:
        if process.machine == this.machine and process != this and not process.gone:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, signal.SIGINT)
                stopped.append(process.pid)
    return tuple(stopped)
