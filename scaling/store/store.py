"""The results folder: paths, readers, and what state the files say a run is in.

State is what files exist: ``record.json`` = done, else ``error.json`` = failed, else ``run.json`` or
``metrics.jsonl`` = half-done, else pending. Nothing here is cached, so every answer is as fresh as the disk.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scaling.errors import Complaint, UserError
from scaling.store.records import is_record

State = Literal["done", "diverged", "running", "failed", "half-done", "pending"]
ID = re.compile(r"[0-9a-f]{12}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None when there is no such file.

    Raises:
        UserError: the file is there but is not a JSON object.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(Complaint(f"cannot be read: {error.strerror}", str(path))) from None
    try:
        value = json.loads(content)
    except ValueError as error:
        raise UserError(
            Complaint(f"is not JSON ({error})", str(path), "delete it to make it again")
        ) from None
    if not isinstance(value, dict):
        raise UserError(Complaint("must hold a JSON object", str(path), "delete it to make it again"))
    return value


@dataclass(frozen=True)
class Metrics:
    """Rows of one ``metrics.jsonl``, in file order; ``skipped`` lines were torn or damaged."""

    rows: tuple[dict[str, Any], ...]
    skipped: int


def read_metrics(path: Path) -> Metrics:
    """Every whole row of ``path``; a last line without its newline is still being written: skipped."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Metrics((), 0)
    skipped = 1 if lines.pop() else 0
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        if all(isinstance(row, dict) for row in rows) and len(rows) == len(lines):
            return Metrics(tuple(rows), skipped)
    except ValueError:
        pass  # some line is damaged: find out which
    rows = [row for line in lines if (row := _row(line)) is not None]
    return Metrics(tuple(rows), skipped + len(lines) - len(rows))


def last_row(path: Path, window: int = 4096) -> dict[str, Any] | None:
    """The last whole row of ``metrics.jsonl``, without reading the rest."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - window))
            lines = file.read().split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    return next((row for line in reversed(lines) if (row := _row(line)) is not None), None)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


@dataclass(frozen=True)
class RunState:
    """What the files of one run say. ``error`` is the last failure; a later success removes it."""

    state: State
    record: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        return self.record is not None


@dataclass(frozen=True)
class Store:
    """One study's folder, ``results/<study>``. Ids from files are checked before they become paths."""

    folder: Path

    @property
    def plan(self) -> Path:
        return self.folder / "plan.json"

    @property
    def spec(self) -> Path:
        return self.folder / "study.yaml"

    @property
    def table(self) -> Path:
        return self.folder / "runs.csv"

    @property
    def curves(self) -> Path:
        return self.folder / "curves.parquet"

    def run_dir(self, run_id: str) -> Path:
        return self.folder / "runs" / _checked(run_id, "run_id")

    def job_dir(self, job_id: str) -> Path:
        return self.folder / "jobs" / _checked(job_id, "job_id")

    def record(self, run_id: str) -> dict[str, Any] | None:
        """The run's record; None when it is not done.

        Raises:
            UserError: there is a record that cannot be this run's.
        """
        path = self.run_dir(run_id) / "record.json"
        record = read_json(path)
        if record is None:
            return None
        if not is_record(record, run_id):
            problem = f"is not a record of run {run_id}"
            raise UserError(Complaint(problem, str(path), "delete it to train the run again"))
        return record

    def error(self, run_id: str) -> dict[str, Any] | None:
        path = self.run_dir(run_id) / "error.json"
        try:
            return read_json(path)
        except UserError as problem:
            return {"kind": "unknown", "message": str(problem), "attempt": 1}

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
                return RunState("failed", error={"kind": "unreadable record", "message": str(problem)})
            if record is not None:
                state = "diverged" if record["result"]["status"] == "diverged" else "done"
                return RunState(state, record, error)
        if error is not None:
            return RunState("failed", error=error)
        return RunState("half-done" if files & {"run.json", "metrics.jsonl"} else "pending")

    def recorded(self) -> set[str]:
        """Ids of all runs with a record, in this plan or not."""
        try:
            names = os.listdir(self.folder / "runs")
        except FileNotFoundError:
            return set()
        runs = self.folder / "runs"
        return {name for name in names if ID.fullmatch(name) and (runs / name / "record.json").exists()}


def _checked(name: str, field: str) -> str:
    if not ID.fullmatch(name):
        hint = "run `scaling plan` again"
        raise UserError(Complaint(f"{field} = {name!r}: must be 12 hex digits", hint=hint))
    return name
