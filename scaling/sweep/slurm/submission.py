"""What a results folder knows of its Slurm jobs.

``slurm/ID.json`` is written before sbatch is called, so that a driver that is killed at any moment leaves a
note of what it may have submitted; the name of the job is unique to it. ``slurm/ID.sh`` is the script,
``slurm/ID/TASK.log`` what a task printed and ``slurm/ID/TASK.json`` what its pilot says of itself.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Literal

from scaling.errors import UserError
from scaling.files import write_json
from scaling.spec.execution import SlurmExecution
from scaling.store.documents import Document, Id, read
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.store.records import Work

FOLDER = "slurm"
_SUBMISSION = re.compile(r"([0-9a-f]{12})\.json")
_TASK = re.compile(r"[0-9]{1,9}\.json")
SubmissionState = Literal["intended", "submitted", "refused", "cancelled", "ended"]


class Submission(Document):
    """A job of Slurm: an array of pilots, or the analysis that follows them.

    Attributes:
        id: of the submission.
        name: of the job, there and here alone.
        kind: what its tasks do.
        state: ``intended`` until Slurm is known to have it, or to have ``refused`` it.
        made: when it was intended; ``since``: when the launch began that it belongs to.
        process: that submits it.
        job: its number in Slurm, once known.
        tasks: of the array.
        after: jobs of Slurm that must have ended first.
        roles: of the runs that pilots work on.
        work: what they do with them.
        jobs: of the plan, to which the pilots are limited.
        execution: how they do it.
        progress: steps of those jobs that were done when it was made.
        grace_seconds: that a trainer of one's own has to save; 0: it is none.
    """

    id: Id
    name: str
    kind: Literal["pilots", "analysis"]
    state: SubmissionState
    made: datetime
    since: datetime
    process: Process
    job: str | None = None
    tasks: int = 1
    after: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    work: Work = "train"
    jobs: tuple[Id, ...] = ()
    execution: SlurmExecution
    progress: int = 0
    grace_seconds: float = 0.0

    @property
    def open(self) -> bool:
        """Whether Slurm may still have it, as far as is known here."""
        return self.state in ("intended", "submitted")


class PilotNote(Document):
    """What the pilot of a task says of itself. ``job`` is the number of its array, ``slurm_id`` its own;
    ``message`` says why it could not work."""

    submission: Id
    task: int
    job: str
    slurm_id: str
    node: str
    restarts: int
    process: Process
    began: datetime
    updated: datetime
    state: Literal["running", "requeued", "ended"]
    exit_code: int | None = None
    message: str | None = None


def submission_file(results: ResultsFolder, submission_id: str) -> Path:
    return results.path / FOLDER / f"{submission_id}.json"


def script_file(results: ResultsFolder, submission_id: str) -> Path:
    return results.path / FOLDER / f"{submission_id}.sh"


def note_file(results: ResultsFolder, submission_id: str, task: int) -> Path:
    return results.path / FOLDER / submission_id / f"{task}.json"


def log_file(results: ResultsFolder, submission_id: str, task: int | str) -> Path:
    """Return where the output of a task goes; of the task ``%a`` as Slurm writes a pattern."""
    return results.path / FOLDER / submission_id / f"{task}.log"


def write_submission(results: ResultsFolder, submission: Submission) -> None:
    """Write it durably."""
    write_json(submission_file(results, submission.id), submission.to_json())


def read_submission(results: ResultsFolder, submission_id: str) -> Submission | None:
    """Raises UserError: the file holds something else."""
    return read(Submission, submission_file(results, submission_id))


def submissions(results: ResultsFolder) -> list[Submission]:
    """Return all of a folder, oldest first; without damaged ones."""
    return sorted(_submissions(results), key=lambda submission: (submission.made, submission.id))


def _submissions(results: ResultsFolder) -> Iterator[Submission]:
    folder = results.path / FOLDER
    for name in os.listdir(folder) if folder.is_dir() else ():
        if match := _SUBMISSION.fullmatch(name):
            with suppress(UserError):
                if submission := read_submission(results, match[1]):
                    yield submission


def pilot_notes(results: ResultsFolder, submission_id: str) -> list[PilotNote]:
    """Return what the pilots of a submission say, by task; without damaged notes."""
    folder, notes = results.path / FOLDER / submission_id, list[PilotNote]()
    for name in os.listdir(folder) if folder.is_dir() else ():
        if _TASK.fullmatch(name):
            with suppress(UserError):
                if note := read(PilotNote, folder / name):
                    notes.append(note)
    return sorted(notes, key=lambda note: note.task)
