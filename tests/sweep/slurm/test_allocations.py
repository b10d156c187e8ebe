"""What files and Slurm say of allocations, merged."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scaling.cli.status_slurm import allocations_text
from scaling.errors import UserError
from scaling.files import write_json
from scaling.store.folder import ResultsFolder
from scaling.store.process import Process
from scaling.sweep.collect import collect
from scaling.sweep.slurm import allocations as module
from scaling.sweep.slurm.allocations import Allocation, Allocations, allocations
from scaling.sweep.slurm.cluster import QueueRow, SlurmMissing
from scaling.sweep.slurm.submission import PilotNote, Submission, log_file, note_file
from scaling.sweep.status import logs, status
from tests.sweep.plans import make_plan
from tests.sweep.slurm.submitted import make_submission

NOW = datetime(2026, 11, 30, 3, 0, tzinfo=UTC)
EARLIER = NOW - timedelta(minutes=12)
PLAN = make_plan([(8, 50), (16, 50)])


def write_note(folder: Path, submission: Submission, task: int = 0, **fields: Any) -> None:
    given = {
        "submission": submission.id,
        "task": task,
        "job": submission.job or "",
        "slurm_id": str(int(submission.job or 0) + 1 + task),
        "node": "n1",
        "restarts": 0,
        "process": Process("n1", "other", 1, ""),
        "began": EARLIER,
        "updated": datetime.now(UTC),
        "state": "running",
        **fields,
    }
    note = PilotNote(**given)
    write_json(note_file(ResultsFolder(folder), submission.id, task), note.to_json())


def row_of(submission: Submission, task: int | None, state: str, **fields: Any) -> QueueRow:
    job = submission.job or ""
    own = str(int(job) + 1 + (task or 0))
    return QueueRow(job, task, own, submission.name, state, submitted=EARLIER, **fields)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let Slurm say these rows, and nothing of what has ended."""

    def tell(*rows: QueueRow, accounts: list[QueueRow] | None = None) -> None:
        monkeypatch.setattr(module, "queue_rows", lambda names: [*rows])
        monkeypatch.setattr(module, "accounted_rows", lambda names: accounts)

    return tell


def known(folder: Path) -> Allocations:
    found = allocations(ResultsFolder(folder))
    assert found is not None
    return found


def test_a_study_of_one_machine_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "queue_rows", None)
    write_json(ResultsFolder(tmp_path).plan, PLAN)
    assert allocations(ResultsFolder(tmp_path)) is None
    assert status(tmp_path).slurm is None and "slurm" not in status(tmp_path).to_json()


def test_the_queue_has_the_say_and_files_the_rest(tmp_path: Path, say: Any) -> None:
    one = make_submission(tmp_path, PLAN, tasks=6)
    write_note(tmp_path, one, 0, restarts=1)
    write_note(tmp_path, one, 1, state="requeued", message="its time is up: queued again")
    write_note(tmp_path, one, 4)
    write_note(tmp_path, one, 5, state="ended", exit_code=2, message="needs more memory")
    hold = {"reason": "BeginTime", "start": NOW + timedelta(seconds=90), "held": True}
    say(
        row_of(one, 0, "RUNNING", node="n2", left=250.0, start=EARLIER),
        row_of(one, 1, "PENDING", **hold),
        row_of(one, 2, "PENDING", reason="Resources"),
        row_of(one, 3, "PENDING", reason="Resources"),
        row_of(one, 4, "NODE_FAIL"),
        row_of(one, None, "CANCELLED"),
    )
    found = known(tmp_path)
    assert [row.state for row in found.rows] == ["running", "held", "pending", "pending", "lost", "ended"]
    running, again, *_, lost, ended = found.rows
    assert (running.job, running.node, running.left, running.restarts) == ("100_0", "n2", 250.0, 1)
    assert again.requeued and again.start and not found.rows[2].requeued
    assert lost.reason == "NODE_FAIL" and ended.message == "needs more memory"
    assert allocations_text(found, NOW).splitlines() == [
        "Slurm (squeue): 6 allocations: 2 pending, 1 held, 1 running, 1 ended, 1 lost",
        "  100_0 running on n2, for 12 min 00 s, 4 min 10 s left, start 2",
        "  100_1 queued again, held, pending for 12 min 00 s: BeginTime (Slurm lets a job that was queued "
        "again wait a while); may start in 1 min 30 s",
        "  100_2 and 1 more pending for 12 min 00 s: Resources (waits for free nodes)",
        "  100_4 lost (NODE_FAIL): it could not say why; another one takes its jobs over",
        "  100_5 ended: needs more memory",
    ]
    json.dumps(found.to_json())


def test_holds_are_told_apart(tmp_path: Path, say: Any) -> None:
    one, two = make_submission(tmp_path, PLAN), make_submission(tmp_path, PLAN)
    later = NOW + timedelta(minutes=1)  # which Slurm says of held ones too
    say(
        row_of(one, 0, "PENDING", reason="JobHeldUser", held=True, start=later),
        row_of(two, 0, "PENDING", reason="JobHeldAdmin", held=True),
    )
    text = allocations_text(known(tmp_path), NOW)
    assert "may start" not in text
    assert "100_0 held, pending for 12 min 00 s: JobHeldUser (`scontrol release`" in text
    assert "200_0 held, pending for 12 min 00 s: JobHeldAdmin (an administrator" in text


def test_accounting_tells_of_those_that_the_queue_forgot(tmp_path: Path, say: Any) -> None:
    one = make_submission(tmp_path, PLAN, tasks=2)
    write_note(tmp_path, one, 0)
    say(accounts=[row_of(one, 0, "OUT_OF_MEMORY"), row_of(one, 1, "CANCELLED")])
    found = known(tmp_path)
    assert found.source == "squeue and sacct"
    assert [(row.state, row.reason) for row in found.rows] == [
        ("lost", "OUT_OF_MEMORY"),
        ("ended", "CANCELLED"),
    ]


def test_an_intended_submission_and_a_dependent_analysis(tmp_path: Path, say: Any) -> None:
    make_submission(tmp_path, PLAN, state="intended", job=None)
    analysis = make_submission(tmp_path, PLAN, kind="analysis")
    say(row_of(analysis, None, "PENDING", reason="Dependency"))
    text = allocations_text(known(tmp_path), NOW)
    assert "000000000000 submitting pending" not in text and "000000000000 submitting" in text
    assert "analysis 200 pending for 12 min 00 s: Dependency (waits for other jobs to end)" in text


def test_without_commands_files_tell_what_they_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = make_submission(tmp_path, PLAN, tasks=4)
    write_note(tmp_path, one, 0)
    write_note(tmp_path, one, 1, state="requeued")
    write_note(tmp_path, one, 2, updated=EARLIER)

    def missing(names: list[str]) -> list[QueueRow]:
        raise SlurmMissing("this machine has no squeue")

    monkeypatch.setattr(module, "queue_rows", missing)
    found = known(tmp_path)
    assert [row.state for row in found.rows] == ["running", "pending", "lost", "pending"]
    text = allocations_text(found)
    assert text.startswith("Slurm (files): 4 allocations")
    assert "this machine has no squeue: what follows is by the files alone" in text


def test_only_the_last_that_ended_are_named_and_those_alike_in_one_line() -> None:
    messages = [*map(str, range(7)), "no memory", "no memory", "no memory"]
    rows = [Allocation("0" * 12, "pilots", f"{n}_0", n, "ended", message=m) for n, m in enumerate(messages)]
    lines = allocations_text(Allocations("squeue", "", tuple(rows))).splitlines()
    assert lines[1] == "  3_0 ended: 3" and lines[-1] == "  7_0 and 2 more ended: no memory"
    assert len(lines) == 6


def test_logs_of_allocations(tmp_path: Path) -> None:
    one = make_submission(tmp_path, PLAN, tasks=2)
    write_note(tmp_path, one, 1)
    path = log_file(ResultsFolder(tmp_path), one.id, 1)
    path.write_text("what it printed")
    assert logs(tmp_path, "100_1") == path == logs(tmp_path, "102")
    for name in ("100_0", "100"):  # has printed nothing; is an array of two
        with pytest.raises(UserError, match="names no run or job"):
            logs(tmp_path, name)


def test_a_table_is_made_without_asking_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_submission(tmp_path, PLAN)
    asked = list[Any]()
    monkeypatch.setattr(module, "queue_rows", lambda names: asked.append(names) or [])
    monkeypatch.setattr(module, "accounted_rows", lambda names: None)
    assert len(collect(tmp_path).missing) == 2 and not asked
    assert status(tmp_path).slurm and asked
