"""The results folder: paths, readers, and what state the files say a run is in.

State is what files exist: ``record.json`` = done, else ``error.json`` = failed, else ``run.json`` or
``metrics.jsonl`` = half-done, else pending. Nothing here is cached, so every answer is as fresh as the disk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from scaling.errors import Complaint, UserError
from scaling.run import AnyRun, ExternalRun, Run
from scaling.run import run_id as id_of
from scaling.store.documents import ID_PATTERN, read
from scaling.store.failure import Failure
from scaling.store.lease import Lease
from scaling.store.records import Record

TRUNK = "trunk"  # among the checkpoints of a job, beside those of its runs
LOWERING = "lowering.json"  # of a job that ran out of memory
MANIFEST = "manifest.json"  # of a whole checkpoint
State = Literal["done", "diverged", "running", "failed", "half-done", "pending"]
ID = re.compile(ID_PATTERN)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RUN: TypeAdapter[Run | ExternalRun] = TypeAdapter(AnyRun)


@dataclass(frozen=True)
class RunState:
    """What the files of one run say. ``error`` is the last failure; a later success removes it."""

    state: State
    record: Record | None = None
    error: Failure | None = None

    @property
    def finished(self) -> bool:
        return self.record is not None


@dataclass(frozen=True)
class ResultsFolder:
    """One study's folder, ``results/<study>``. Ids from files are checked before they become paths."""

    path: Path

    @property
    def plan(self) -> Path:
        return self.path / "plan.json"

    @property
    def spec(self) -> Path:
        return self.path / "study.yaml"

    @property
    def table(self) -> Path:
        return self.path / "runs.csv"

    @property
    def curves(self) -> Path:
        return self.path / "curves.parquet"

    def run_dir(self, run_id: str) -> Path:
        return self.path / "runs" / _checked(run_id, "run_id")

    def job_dir(self, job_id: str) -> Path:
        return self.path / "jobs" / _checked(job_id, "job_id")

    def record(self, run_id: str) -> Record | None:
        """Return the run's record; None when it is not done.

        Raises:
            UserError: there is a record that cannot be this run's.
        """
        path, hint = self.run_dir(run_id) / "record.json", "delete it to train the run again"
        record = read(Record, path, hint)
        if record is not None and record.run_id != run_id:
            raise UserError(Complaint(f"is not a record of run {run_id}", str(path), hint))
        return record

    def run(self, run_id: str) -> Run | ExternalRun | None:
        """Return what a run is, by its folder; None where it has not been begun.

        Raises:
            UserError: its run.json is damaged or that of another run.
        """
        path, hint = self.run_dir(run_id) / "run.json", "delete it, and run the study again"
        try:
            run = _RUN.validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValidationError) as error:
            raise UserError(Complaint(f"cannot be read: {error}", str(path), hint)) from None
        if id_of(run) != run_id:
            raise UserError(Complaint(f"is not run {run_id}", str(path), hint))
        return run

    def final_checkpoint(self, run_id: str, steps: int) -> Path | None:
        """Return the checkpoint of the last step of a run, in whichever job it was trained; None where none
        was kept."""
        place = f"*/checkpoints/{_checked(run_id, 'run_id')}/{steps}/{MANIFEST}"
        return next((path.parent.absolute() for path in sorted((self.path / "jobs").glob(place))), None)

    def error(self, run_id: str) -> Failure | None:
        """Return the run's last failure; one of kind ``unknown`` when the file is damaged."""
        path = self.run_dir(run_id) / "error.json"
        try:
            return read(Failure, path)
        except UserError as problem:
            return Failure(kind="unknown", message=str(problem))

    def run_state(self, run_id: str) -> RunState:
        folder = self.run_dir(run_id)
        try:
            files = set(os.listdir(folder))
        except FileNotFoundError:
            return RunState("pending")
        error = self.error(run_id) if "error.json" in files else None
        if "record.json" in files:
            try:
                record = self.record(run_id)
            except UserError as problem:
                return RunState("failed", error=Failure(kind="unreadable record", message=str(problem)))
            if record is not None:
                return RunState("diverged" if record.result.status == "diverged" else "done", record, error)
        if error is not None:
            return RunState("failed", error=error)
        return RunState("half-done" if files & {"run.json", "metrics.jsonl"} else "pending")

    def recorded(self) -> set[str]:
        """Return the ids of all runs with a record, in this plan or not."""
        try:
            names = os.listdir(self.path / "runs")
        except (FileNotFoundError, NotADirectoryError):
            return set()
        runs = self.path / "runs"
        return {name for name in names if ID.fullmatch(name) and (runs / name / "record.json").exists()}


def _checked(name: str, field: str) -> str:
    if not ID.fullmatch(name):
        hint = "run `scaling plan` again"
        raise UserError(Complaint(f"{field} = {name!r}: must be 12 hex digits", hint=hint))
    return name


def is_recorded(folder: Path, lease: Lease) -> bool:
    """Tell whether the run in ``folder`` has a record. One that cannot be read is kept beside and made
    again."""
    path = folder / "record.json"
    try:
        record = read(Record, path)
        if record is None:
            return False
        if record.run_id == folder.name:
            return True
    except UserError:
        pass  # damaged
    lease.check()
    print(f"{path} is no record of this run; kept as record.json.damaged, trained again", flush=True)
    os.replace(path, path.with_name("record.json.damaged"))
    return False
