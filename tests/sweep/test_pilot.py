"""Pilots without a Slurm around them: what they are told by files, environment and signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scaling.plan.plan import Plan
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.store.lease import acquire
from scaling.store.records import JobCommand
from scaling.sweep import pilot
from scaling.sweep.guard import drivers
from scaling.sweep.opening import join_sweep
from scaling.sweep.pilot import can_resume, in_allocation, main
from scaling.sweep.slurm.cluster import SlurmError
from scaling.sweep.slurm.submission import PilotNote, pilot_notes, write_submission
from tests.sweep.plans import FAKE, behave, by_label, make_plan, trained, wait_until
from tests.sweep.slurm.submitted import make_submission

CELLS = [(8, 50), (16, 50), (24, 50)]
PILOT = "import sys; from scaling.sweep.pilot import *; sys.exit(main(Path(sys.argv[1]), sys.argv[2], {!r}))"
ALLOCATION = {
    "SLURM_JOB_ID": "102",
    "SLURM_ARRAY_JOB_ID": "100",
    "SLURM_ARRAY_TASK_ID": "1",
    "SLURM_RESTART_COUNT": "2",
    "SLURMD_NODENAME": "n1",
}


@pytest.fixture(autouse=True)
def allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ALLOCATION.items():
        monkeypatch.setenv(name, value)


def note_of(folder: Path, submission: str = "0" * 12) -> PilotNote:
    (note,) = pilot_notes(ResultsFolder(folder), submission)
    return note


def start(folder: Path, submission: str, tools: Path) -> subprocess.Popen[bytes]:
    """A pilot in a process of its own, which finds the commands in ``tools`` alone."""
    tools.mkdir(exist_ok=True)
    argv = [sys.executable, "-c", PILOT.format(FAKE), str(folder), submission]
    return subprocess.Popen(argv, env=os.environ | {"PATH": str(tools)}, stderr=subprocess.DEVNULL)


def test_it_does_the_jobs_of_its_submission_and_writes_no_plan(tmp_path: Path) -> None:
    plan = make_plan(CELLS, holdout=[(32, 50)])
    jobs = [by_label(plan, label)["job_id"] for label in ("w8-s50", "w24-s50")]
    submission = make_submission(tmp_path, plan, jobs=(*jobs, by_label(plan, "w32-s50")["job_id"]))
    before = (tmp_path / "plan.json").stat()
    assert main(tmp_path, submission.id, FAKE) == 0
    assert trained(tmp_path) == ["w8-s50", "w24-s50"], "task 1 begins with the second longest"
    assert (tmp_path / "plan.json").stat().st_ino == before.st_ino and not drivers(ResultsFolder(tmp_path))
    note = note_of(tmp_path)
    assert (note.task, note.job, note.slurm_id, note.node, note.restarts) == (1, "100", "102", "n1", 2)
    assert (note.state, note.exit_code, note.message) == ("ended", 0, None)


def test_it_is_a_driver_in_its_allocation(tmp_path: Path) -> None:
    make_submission(tmp_path, make_plan(CELLS))
    with join_sweep(tmp_path, command=FAKE):
        (driver,) = drivers(ResultsFolder(tmp_path))
    assert (driver.slurm_job, driver.node) == ("102", "n1")


@pytest.mark.parametrize("state", ["cancelled", "refused"])
def test_a_submission_that_was_dropped_is_left_alone(tmp_path: Path, state: str) -> None:
    submission = make_submission(tmp_path, make_plan(CELLS), state=state)
    assert main(tmp_path, submission.id, FAKE) == 0
    assert trained(tmp_path) == [] and state in (note_of(tmp_path).message or "")


def test_a_plan_without_its_jobs_is_said_to_be(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, make_plan(CELLS), jobs=("f" * 12,))
    assert main(tmp_path, submission.id, FAKE) == 0
    assert "none of its jobs" in (note_of(tmp_path).message or "")


def test_what_is_given_up_is_said(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, make_plan(CELLS), execution={"attempts": 2})
    behave(tmp_path, w8_s50="crash")
    assert main(tmp_path, submission.id, FAKE) == 0
    assert "given up, as they failed 2 times in a row: 1 run" in (note_of(tmp_path).message or "")
    assert main(tmp_path, submission.id, FAKE) == 0 and len(trained(tmp_path)) == 4


def test_no_submission_and_no_plan_are_errors_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(tmp_path, "f" * 12) == 2
    assert "has no submission 'ffffffffffff'" in capsys.readouterr().err
    submission = make_submission(tmp_path, make_plan(CELLS))
    (tmp_path / "plan.json").unlink()
    assert main(tmp_path, submission.id) == 2
    assert "holds no study" in (note_of(tmp_path).message or "") and note_of(tmp_path).exit_code == 2


def test_it_goes_when_others_are_at_work_on_what_is_left(tmp_path: Path) -> None:
    """And not before that is certain."""
    plan = make_plan(CELLS[:1])
    submission = make_submission(tmp_path, plan, execution={"lease_seconds": 60.0})
    job = tmp_path / "jobs" / plan["jobs"][0]["job_id"]
    job.mkdir(parents=True)
    lease, began = acquire(job), time.monotonic()
    beat = threading.Timer(1.0, lease.beat)
    beat.start()
    assert main(tmp_path, submission.id, FAKE) == 0
    assert 0.9 < time.monotonic() - began < 20 and trained(tmp_path) == []
    lease.release()


def test_a_job_of_a_node_that_is_gone_is_taken_over(tmp_path: Path) -> None:
    plan = make_plan(CELLS[:1])
    submission = make_submission(tmp_path, plan, execution={"lease_seconds": 1.0})
    job = tmp_path / "jobs" / plan["jobs"][0]["job_id"]
    job.mkdir(parents=True)
    lease = acquire(job)  # which never beats
    assert main(tmp_path, submission.id, FAKE) == 0
    assert trained(tmp_path) == ["w8-s50"]
    lease.release()


def test_near_its_time_limit_it_stops_with_checkpoints_and_is_queued_again(tmp_path: Path) -> None:
    plan, tools = make_plan(CELLS[:1]), tmp_path / "tools"
    submission = make_submission(tmp_path, plan)
    behave(tmp_path, w8_s50="wait for go")
    process = start(tmp_path, submission.id, tools)
    (tools / "scontrol").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    (tools / "scontrol").chmod(0o755)
    wait_until(lambda: drivers_see_a_step(tmp_path), 30)
    process.send_signal(signal.SIGUSR2)
    assert process.wait(30) == 130
    assert (tmp_path / "jobs" / plan["jobs"][0]["job_id"] / "checkpoint").exists()
    note = note_of(tmp_path)
    assert (note.state, note.exit_code) == ("requeued", 130)
    assert (tmp_path / "asked").read_text() == "requeue 102\n"


def test_a_preempted_one_stops_with_checkpoints_and_leaves_the_rest_to_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = list[str]()
    monkeypatch.setattr(pilot, "requeue", again.append)
    plan = make_plan(CELLS[:1])
    submission = make_submission(tmp_path, plan)
    behave(tmp_path, w8_s50="wait for go")

    def preempt() -> None:
        wait_until(lambda: drivers_see_a_step(tmp_path), 30)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=preempt)
    thread.start()
    assert main(tmp_path, submission.id, FAKE) == 130
    thread.join()
    assert (tmp_path / "jobs" / plan["jobs"][0]["job_id"] / "checkpoint").exists()
    assert note_of(tmp_path).message == "stopped: SIGTERM" and again == []


def drivers_see_a_step(folder: Path) -> bool:
    notes = [json.loads(path.read_text()) for path in folder.glob("drivers/*.json")]
    return any(row["step"] for note in notes if "snapshot" in note for row in note["snapshot"]["running"])


def interrupted_pilot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trains: bool) -> list[str]:
    """Let SIGUSR2 come to a pilot that has or has not trained a step; return what was queued again."""
    again = list[str]()
    monkeypatch.setattr(pilot, "requeue", again.append)
    plan = make_plan(CELLS[:1])
    submission = make_submission(tmp_path, plan)
    stops = ["SIGUSR2"]
    one = pilot.make_pilot(tmp_path, submission.id, stops)
    one.trained = trains
    assert one.run(FAKE) == 130
    return again


def test_it_is_queued_again_only_where_it_came_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert interrupted_pilot(tmp_path / "a", monkeypatch, trains=True) == ["102"]
    assert interrupted_pilot(tmp_path / "b", monkeypatch, trains=False) == []
    assert "a longer execution.time" in (note_of(tmp_path / "b").message or "")


def test_steps_that_cannot_be_resumed_do_not_queue_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again, plan = list[str](), make_plan(CELLS[:1])
    monkeypatch.setattr(pilot, "requeue", again.append)
    monkeypatch.setattr(pilot, "can_resume", lambda plan: False)
    submission = make_submission(tmp_path, plan)
    behave(tmp_path, w8_s50="wait for go")

    def end_its_time() -> None:
        wait_until(lambda: drivers_see_a_step(tmp_path), 30)
        os.kill(os.getpid(), signal.SIGUSR2)

    thread = threading.Thread(target=end_its_time)
    thread.start()
    assert main(tmp_path, submission.id, FAKE) == 130
    thread.join()
    assert again == [] and "its trainer cannot resume: a longer" in (note_of(tmp_path).message or "")


def test_a_trainer_of_ones_own_says_whether_it_resumes() -> None:
    plan = Plan.from_json(make_plan(CELLS[:1]))
    assert can_resume(plan)
    for resume in (True, False):
        command = JobCommand(argv=("train",), directory="/", resume=resume, grace_seconds=1.0)
        assert can_resume(plan.model_copy(update={"command": command})) is resume


def test_it_stops_when_the_study_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pilot, "TELL_SECONDS", 0.1)
    submission = make_submission(tmp_path, make_plan(CELLS[:1]))
    behave(tmp_path, w8_s50="wait for go")
    cancelled = submission.model_copy(update={"state": "cancelled"})
    timer = threading.Timer(1.0, lambda: write_submission(ResultsFolder(tmp_path), cancelled))
    timer.start()
    assert main(tmp_path, submission.id, FAKE) == 130
    assert note_of(tmp_path).message == "stopped: `scaling cancel`"


def test_a_refused_requeue_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(slurm_id: str) -> None:
        raise SlurmError(f"scontrol failed: job {slurm_id} may not be requeued")

    submission = make_submission(tmp_path, make_plan(CELLS[:1]))
    monkeypatch.setattr(pilot, "requeue", refuse)
    one = pilot.make_pilot(tmp_path, submission.id, ["SIGUSR2"])
    one.trained = True
    assert one.run(FAKE) == 130
    note = note_of(tmp_path)
    assert note.state == "ended" and "not queued again: scontrol failed: job 102" in (note.message or "")


def test_nodes_are_hosts_that_srun_starts_processes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    one = in_allocation(SlurmExecution(kind="slurm", attempts=7, partition="main"))
    assert (one.kind, one.hosts, one.launcher, one.attempts) == ("local", 1, None, 7)
    two = in_allocation(SlurmExecution(kind="slurm", nodes=2))
    assert two.hosts == 2
    assert two.launcher == "srun --nodes=2 --ntasks-per-node=1 --cpus-per-task=4"
