"""Submitting to Slurm so that a driver killed at any moment submits nothing twice and forgets nothing.

A submission is written down before sbatch is called. Whoever comes later looks for those of which nobody
knows whether Slurm has them: by their names in the queue and in the accounting, and by the notes of their
pilots. One that is nowhere to be found is taken for refused; should it turn up after all, its pilots end at
once, and it is cancelled.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from scaling.errors import Complaint, UserError
from scaling.files import write_text
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.slurm.cluster import QueueRow, SlurmError, SlurmMissing, accounted_rows, queue_rows
from scaling.sweep.slurm.commands import sbatch, scancel
from scaling.sweep.slurm.script import script_text
from scaling.sweep.slurm.submission import (
    Submission,
    SubmissionState,
    log_file,
    pilot_notes,
    read_submission,
    script_file,
    submissions,
    write_submission,
)

SETTLE_SECONDS = 10.0  # after which Slurm shows what a process that has ended asked it for
SUBMITTING_SECONDS = 300.0  # within which a process elsewhere has noted what came of sbatch
LATE = timedelta(hours=1)  # for which a submission that seemed lost is looked for


def new_submission(study: str, execution: SlurmExecution, *, since: datetime, **what: Any) -> Submission:
    """Return one that is intended.

    Args:
        study: its name.
        execution: of the group of jobs.
        since: when the launch began.
        what: other fields of :class:`Submission`.
    """
    identity = uuid.uuid4().hex[:12]
    return Submission(
        id=identity,
        name=f"scaling-{study}-{identity}",
        state="intended",
        made=datetime.now(UTC),
        since=since,
        process=Process.here(),
        execution=execution,
        **what,
    )


def intend(results: ResultsFolder, intended: Submission) -> None:
    """Write a submission down.

    Raises:
        UserError: submitit is not installed, or the folder cannot be written.
    """
    script = script_file(results, intended.id)
    text = script_text(intended, results)
    try:
        log_file(results, intended.id, 0).parent.mkdir(parents=True, exist_ok=True)
        write_text(script, text)
        write_submission(results, intended)
    except OSError as error:
        problem = f"{error.filename or script} cannot be written: {error.strerror}"
        raise UserError(Complaint(problem, hint="name a folder that can be written")) from None


def submit(results: ResultsFolder, intended: Submission) -> Submission:
    """Hand a submission that was written down to sbatch; return it as it is then.

    Raises:
        SlurmMissing: there is no sbatch here.
        SlurmError: Slurm refuses it, or cannot be reached.
    """
    script = script_file(results, intended.id)
    try:
        job = sbatch(str(script))
    except SlurmMissing:
        _note(results, intended, "refused")
        raise
    except SlurmError as error:
        job = _found(results, intended, _by_name([intended]))  # it may have it all the same
        if job is None:
            _note(results, intended, "refused")
            problems = (Complaint(problem.message, str(script), _hint()) for problem in error.problems)
            raise SlurmError(*problems) from None
    return _note(results, intended, "submitted", job)


def _hint() -> str:
    return "see the options of this script, which `execution` of the spec or --on gives"


def _note(
    results: ResultsFolder, submission: Submission, state: SubmissionState, job: str | None = None
) -> Submission:
    """Note what became of a submission, unless it was cancelled meanwhile: then its job is too."""
    now = read_submission(results, submission.id)
    if now is not None and now.state != "intended":
        state = now.state
        if job is not None and state in ("cancelled", "refused"):
            scancel([submission.name])
    noted = submission.model_copy(update={"state": state, **({} if job is None else {"job": job})})
    write_submission(results, noted)
    return noted


def reconcile(results: ResultsFolder) -> dict[str, list[QueueRow]]:
    """Let the submissions of a folder say what Slurm knows; return its rows by submission. Call it while no
    other driver submits.

    Raises:
        SlurmMissing: there is no squeue here.
        SlurmError: it fails.
    """
    everything, now = submissions(results), datetime.now(UTC)
    watched = [s for s in everything if s.open or (s.state == "refused" and now - s.made < LATE)]
    rows = _by_name(watched)
    for submission in watched:
        living = [row for row in rows[submission.name] if row.living]
        if submission.state == "refused":
            scancel([submission.name] if living else [])
        elif submission.state == "submitted":
            if not living:
                _write(results, submission, "ended")
        elif job := _found(results, submission, rows):
            _write(results, submission, "submitted", job)
        elif _lost(submission, now):
            _write(results, submission, "refused")
    return {submission.id: rows[submission.name] for submission in watched}


def _by_name(watched: Sequence[Submission]) -> dict[str, list[QueueRow]]:
    rows = {submission.name: list[QueueRow]() for submission in watched}
    for row in queue_rows([*rows]):
        rows[row.name].append(row)
    return rows


def _found(
    results: ResultsFolder, submission: Submission, rows: Mapping[str, Sequence[QueueRow]]
) -> str | None:
    """Return the number that Slurm gave a submission, by whatever there is to tell; None: it has none."""
    known = rows[submission.name] or accounted_rows([submission.name]) or ()
    notes = () if known else pilot_notes(results, submission.id)
    return next((one.job for one in (*known, *notes)), None)


def _lost(submission: Submission, now: datetime) -> bool:
    """Tell whether a submission that is nowhere to be found will not appear any more."""
    seconds = SETTLE_SECONDS if submission.process.gone else SUBMITTING_SECONDS
    return now - submission.made > timedelta(seconds=seconds)


def _write(
    results: ResultsFolder, submission: Submission, state: SubmissionState, job: str | None = None
) -> None:
    with suppress(OSError):  # a full disk: the next one to look writes it
        changed = {"state": state} if job is None else {"state": state, "job": job}
        write_submission(results, submission.model_copy(update=changed))
