"""Submissions of small plans, as a launch leaves them in the folder."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scaling.files import write_json
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.slurm.submission import Submission, note_file, write_submission


def make_submission(
    folder: Path, plan: dict[str, Any], *, execution: dict[str, Any] | None = None, **fields: Any
) -> Submission:
    """Write a plan, and a submission of the jobs of its fitted runs."""
    results, number = ResultsFolder(folder), len(list(folder.glob("slurm/*.json")))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(results.plan, plan)
    identity = f"{number:012x}"
    given = {"kind": "slurm", "device": "cpu", "workers": 1, **(execution or {})}
    submission = Submission(
        **{
            "id": identity,
            "name": f"scaling-tiny-{identity}",
            "kind": "pilots",
            "state": "submitted",
            "made": datetime(2026, 11, 30, tzinfo=UTC),
            "since": datetime(2026, 11, 30, tzinfo=UTC),
            "process": Process.here(),
            "job": f"{number + 1}00",
            "roles": ("fit",),
            "jobs": tuple({run["job_id"] for run in plan["runs"] if run["role"] == "fit"}),
            "execution": SlurmExecution(**given),
            **fields,
        }
    )
    note_file(results, identity, 0).parent.mkdir(parents=True)
    write_submission(results, submission)
    return submission
