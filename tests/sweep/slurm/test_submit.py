"""Submissions that are written down, handed over, and found again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scaling.files import write_json
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.slurm import submit as module
from scaling.sweep.slurm.cluster import QueueRow, SlurmError
from scaling.sweep.slurm.submission import (
    PilotNote,
    Submission,
    note_file,
    read_submission,
    script_file,
    submissions,
    write_submission,
)
from scaling.sweep.slurm.submit import intend, new_submission, reconcile, submit
from tests.sweep.slurm.stand_in import Slurm

EXECUTION = SlurmExecution(kind="slurm")
GONE = Process(Process.here().host, Process.here().machine, 2**22 + 1, "0")
ELSEWHERE = Process("other", "another machine", 1, "0")


def intended(folder: Path, **fields: object) -> Submission:
    now = datetime.now(UTC)
    new = new_submission("tiny", EXECUTION, since=now, kind="pilots", jobs=("0" * 12,))
    new = new.model_copy(update=fields)
    (folder / "slurm").mkdir(exist_ok=True)
    write_submission(ResultsFolder(folder), new)
    return new


def state_of(folder: Path, one: Submission) -> tuple[str, str | None]:
    now = read_submission(ResultsFolder(folder), one.id)
    assert now is not None
    return now.state, now.job


def test_it_is_written_down_before_it_is_handed_over(tmp_path: Path, slurm: Slurm, monkeypatch) -> None:
    results, seen = ResultsFolder(tmp_path), []
    monkeypatch.setattr(
        module, "sbatch", lambda script: seen.append(submissions(results)) or slurm.sbatch(script)
    )
    new = new_submission("tiny", EXECUTION, since=datetime.now(UTC), kind="pilots", jobs=("0" * 12,))
    intend(results, new)
    done = submit(results, new)
    assert [one.state for one in seen[0]] == ["intended"]
    assert (done.state, done.job) == ("submitted", "100") and submissions(results) == [done]
    assert script_file(results, new.id).read_text() == slurm.scripts[0]
    assert note_file(results, new.id, 0).parent.is_dir()  # Slurm makes no folder for what tasks print


def test_what_slurm_refuses_is_said_in_its_words(tmp_path: Path, slurm: Slurm) -> None:
    slurm.refuses = "sbatch: error: invalid partition specified: nope"
    new = new_submission("tiny", EXECUTION, since=datetime.now(UTC), kind="pilots")
    intend(ResultsFolder(tmp_path), new)
    with pytest.raises(SlurmError) as caught:
        submit(ResultsFolder(tmp_path), new)
    assert slurm.refuses in str(caught.value)
    assert str(script_file(ResultsFolder(tmp_path), new.id)) in str(caught.value)
    assert state_of(tmp_path, new) == ("refused", None)


def test_an_answer_that_was_lost_is_looked_for(tmp_path: Path, slurm: Slurm, monkeypatch) -> None:
    def takes_it_and_fails(script: str) -> str:
        slurm.sbatch(script)
        raise SlurmError("sbatch failed: Socket timed out on send/recv operation")

    monkeypatch.setattr(module, "sbatch", takes_it_and_fails)
    new = new_submission("tiny", EXECUTION, since=datetime.now(UTC), kind="pilots")
    intend(ResultsFolder(tmp_path), new)
    assert submit(ResultsFolder(tmp_path), new).job == "100"


def test_one_cancelled_while_it_was_handed_over_is_cancelled_in_slurm(
    tmp_path: Path, slurm: Slurm, monkeypatch
) -> None:
    results = ResultsFolder(tmp_path)

    def cancelled_meanwhile(script: str) -> str:
        (now,) = submissions(results)
        write_submission(results, now.model_copy(update={"state": "cancelled"}))
        return slurm.sbatch(script)

    monkeypatch.setattr(module, "sbatch", cancelled_meanwhile)
    new = new_submission("tiny", EXECUTION, since=datetime.now(UTC), kind="pilots")
    intend(results, new)
    assert submit(results, new).state == "cancelled"
    assert slurm.cancelled == [(new.name,)]


def test_one_that_slurm_has_is_adopted(tmp_path: Path, slurm: Slurm, monkeypatch) -> None:
    queued, noted, counted = (intended(tmp_path, process=GONE) for _ in range(3))
    slurm.add(queued.name)
    now = datetime.now(UTC)
    note = PilotNote(
        submission=noted.id, task=0, job="77", slurm_id="78", node="n1", restarts=0,
        process=GONE, began=now, updated=now, state="running",
    )  # fmt: skip
    note_file(ResultsFolder(tmp_path), noted.id, 0).parent.mkdir()
    write_json(note_file(ResultsFolder(tmp_path), noted.id, 0), note.to_json())
    row = QueueRow("55", 0, "55", counted.name, "COMPLETED")
    monkeypatch.setattr(module, "accounted_rows", lambda names: [row] if counted.name in names else None)
    reconcile(ResultsFolder(tmp_path))
    assert state_of(tmp_path, queued) == ("submitted", "100")
    assert state_of(tmp_path, noted) == ("submitted", "77")
    assert state_of(tmp_path, counted) == ("submitted", "55")
    reconcile(ResultsFolder(tmp_path))
    assert [state_of(tmp_path, one)[0] for one in (queued, noted, counted)] == ["submitted", "ended", "ended"]


@pytest.mark.parametrize(
    ("process", "seconds", "state"),
    [
        (GONE, 5, "intended"),  # sbatch may have outlived it
        (GONE, 15, "refused"),
        (ELSEWHERE, 15, "intended"),
        (ELSEWHERE, 400, "refused"),
        (Process.here(), 15, "intended"),
    ],
)
def test_one_that_is_nowhere_is_given_up_in_time(
    tmp_path: Path, slurm: Slurm, process: Process, seconds: float, state: str
) -> None:
    made = datetime.now(UTC) - timedelta(seconds=seconds)
    one = intended(tmp_path, process=process, made=made)
    reconcile(ResultsFolder(tmp_path))
    assert state_of(tmp_path, one) == (state, None)


def test_one_given_up_that_turns_up_is_cancelled(tmp_path: Path, slurm: Slurm) -> None:
    one = intended(tmp_path, state="refused")
    reconcile(ResultsFolder(tmp_path))
    assert slurm.cancelled == []
    slurm.add(one.name)
    reconcile(ResultsFolder(tmp_path))
    assert slurm.cancelled == [(one.name,)] and state_of(tmp_path, one)[0] == "refused"
