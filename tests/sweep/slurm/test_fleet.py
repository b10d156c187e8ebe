"""A phase carried out by pilots, with a stand-in for Slurm."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scaling.errors import UserError
from scaling.files import write_json
from scaling.store.failure import Failure
from scaling.store.folder import ResultsFolder
from scaling.store.lease import acquire
from scaling.store.process import Process
from scaling.sweep.driver import Sweep
from scaling.sweep.events import JobStarted, Outcome, PhaseStarted, Progress, RunFailed, RunFinished
from scaling.sweep.slurm import fleet
from scaling.sweep.slurm.cancel import cancel
from scaling.sweep.slurm.cluster import SlurmError
from scaling.sweep.slurm.submission import PilotNote, Submission, note_file, submissions
from scaling.sweep.stops import Reason
from tests.sweep.fake_trainer import record
from tests.sweep.plans import by_label, make_plan, open_tiny, trained, wait_until
from tests.sweep.slurm.stand_in import Slurm
from tests.sweep.slurm.submitted import make_submission

CELLS = [(8, 50), (16, 50), (24, 50)]


def plan_for(cells: list[tuple[int, int]] = CELLS, **execution: Any) -> dict[str, Any]:
    return make_plan(cells, kind="slurm", **{"workers": 1, "lease_seconds": 1, **execution})


def states(folder: Path) -> list[str]:
    return [one.state for one in submissions(ResultsFolder(folder))]


def of(events: list[Any], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def finish(folder: Path, plan: dict[str, Any], *labels: str) -> None:
    """Write the records of runs; of all, where none is named."""
    results = ResultsFolder(folder)
    for run in plan["runs"]:
        if not labels or run["label"] in labels:
            write_json(results.run_dir(run["run_id"]) / "record.json", record(run | {"flops_spent": 1}, "ok"))


def carry_out(
    folder: Path,
    plan: dict[str, Any],
    meanwhile: Callable[[Sweep], None] = lambda sweep: None,
    events: list[Any] | None = None,
    **options: Any,
) -> tuple[Outcome, list[Any], list[str]]:
    """Return the outcome of the fitted runs, the events and what was said."""
    events, said = [] if events is None else events, list[str]()
    with open_tiny(folder, plan, **options) as sweep:
        thread = threading.Thread(target=meanwhile, args=(sweep,))
        thread.start()
        outcome = sweep.run_jobs({"fit"}, on_event=events.append, say=said.append)
        thread.join()
    return outcome, events, said


def test_pilots_do_the_work_and_files_tell_of_it(tmp_path: Path, slurm: Slurm) -> None:
    slurm.works = True
    outcome, events, said = carry_out(tmp_path, plan_for(concurrent=1))
    assert outcome.exit_code == 0 and len(outcome.done) == 3
    assert isinstance(events[0], PhaseStarted) and events[0].where == "Slurm" and events[0].jobs == 3
    assert {event.label for event in events if isinstance(event, RunFinished)} == set(trained(tmp_path))
    assert any("submitted to Slurm: job 100, a task for 3 jobs" in text for text in said)
    assert len(slurm.scripts) == 1
    again, events, _ = carry_out(tmp_path, plan_for(concurrent=1))
    assert again.exit_code == 0 and events[0].skipped == 3 and len(slurm.scripts) == 1


def test_what_is_left_is_submitted_again_until_nothing_is_added(tmp_path: Path, slurm: Slurm) -> None:
    def end_each(sweep: Sweep) -> None:
        for number in range(1, 4):
            wait_until(lambda n=number: len(slurm.scripts) == n)
            slurm.end([*slurm.rows][-1])

    outcome, _, said = carry_out(tmp_path, plan_for(attempts=3), end_each)
    assert outcome.exit_code == 1 and len(outcome.unfinished) == 3 and outcome.interrupted is None
    assert len(slurm.scripts) == 3
    assert "3 submissions have added nothing to 3 jobs" in said[-1]
    assert any("ended before its pilot began (FAILED)" in text for text in said)


def test_a_submission_that_added_something_counts_for_nothing(tmp_path: Path, slurm: Slurm) -> None:
    def add_something_at_first(sweep: Sweep) -> None:
        wait_until(lambda: slurm.scripts)
        finish(tmp_path, plan, "w8-s50")
        slurm.end([*slurm.rows][-1])
        wait_until(lambda: len(slurm.scripts) == 2)
        slurm.end([*slurm.rows][-1])

    plan = plan_for(attempts=1)
    outcome, *_ = carry_out(tmp_path, plan, add_something_at_first)
    assert len(outcome.done) == 1 and len(outcome.unfinished) == 2 and len(slurm.scripts) == 2


def test_one_that_is_queued_is_not_submitted_again(tmp_path: Path, slurm: Slurm) -> None:
    plan = plan_for()
    before = make_submission(tmp_path, plan)
    slurm.add(before.name)
    outcome, *_ = carry_out(tmp_path, plan, detach=True)
    assert [script for script in slurm.scripts if "scaling.sweep.pilot" in script] == []
    assert outcome.submitted == ("100", "101") and "afterany:100" in slurm.scripts[0]
    outcome, *_ = carry_out(tmp_path, plan, detach=True)
    assert outcome.submitted == ("100", "101") and len(slurm.scripts) == 1


def test_one_that_will_not_start_is_not_waited_for(tmp_path: Path, slurm: Slurm) -> None:
    plan = plan_for()
    before = make_submission(tmp_path, plan)
    slurm.add(before.name)
    held = {"reason": "JobHeldAdmin", "held": True}
    slurm.rows[before.name] = [replace(row, **held) for row in slurm.rows[before.name]]
    carry_out(tmp_path, plan, detach=True)
    assert "scaling.sweep.pilot" in slurm.scripts[0]


def test_only_jobs_that_no_pilot_serves_are_submitted(tmp_path: Path, slurm: Slurm) -> None:
    plan = plan_for()
    served = plan["jobs"][0]["job_id"]
    slurm.add(make_submission(tmp_path, plan, jobs=(served,)).name)
    carry_out(tmp_path, plan, detach=True)
    new = submissions(ResultsFolder(tmp_path))[1]
    assert set(new.jobs) == {job["job_id"] for job in plan["jobs"]} - {served}


def test_detached_work_is_followed_by_itself(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(attempts=1)
    outcome, *_ = carry_out(tmp_path, plan, detach=True)
    assert outcome.exit_code == 0 and outcome.submitted == ("100", "101")
    pilots, analysis = submissions(ResultsFolder(tmp_path))
    assert (pilots.kind, analysis.kind, analysis.after) == ("pilots", "analysis", ("100",))
    slurm.end(pilots.name)
    monkeypatch.setenv("SLURM_JOB_NAME", analysis.name)
    outcome, _, said = carry_out(tmp_path, plan, detach=True)
    assert outcome.exit_code == 1 and "a submission has added nothing to 3 jobs, which are left" in said[-1]
    slurm.rows[analysis.name] = [replace(row, state="RUNNING") for row in slurm.rows[analysis.name]]
    outcome, *_ = carry_out(tmp_path, plan | {"execution": plan["execution"] | {"attempts": 2}}, detach=True)
    assert outcome.submitted == ("102", "103")  # another one follows it
    monkeypatch.delenv("SLURM_JOB_NAME")
    slurm.end([*slurm.rows][-2])
    outcome, *_ = carry_out(tmp_path, plan, detach=True)  # a launch of its own begins to count again
    assert outcome.exit_code == 0 and len(slurm.scripts) == 5


def test_what_is_refused_at_first_ends_the_launch(tmp_path: Path, slurm: Slurm) -> None:
    slurm.refuses = "sbatch: error: invalid account"
    with pytest.raises(SlurmError, match="invalid account"):
        carry_out(tmp_path, plan_for())
    assert states(tmp_path) == ["refused"]


def test_a_pilot_that_cannot_work_is_told(tmp_path: Path, slurm: Slurm) -> None:
    def cannot(sweep: Sweep) -> None:
        wait_until(lambda: slurm.scripts)
        (one,) = submissions(sweep.results)
        now = datetime.now(UTC)
        note = PilotNote(
            submission=one.id, task=0, job="100", slurm_id="100", node="n7", restarts=0,
            process=Process.here(), began=now, updated=now,
            state="ended", exit_code=2, message="jax is installed here without support for it",
        )  # fmt: skip
        write_json(note_file(sweep.results, one.id, 0), note.to_json())
        slurm.end(one.name)

    outcome, _, said = carry_out(tmp_path, plan_for(attempts=1), cannot)
    assert outcome.exit_code == 1
    assert "a pilot on n7 could not work: jax is installed here without support for it" in said
    assert not any("before its pilot began" in text for text in said)


def test_long_waits_are_explained(tmp_path: Path, slurm: Slurm) -> None:
    plan = plan_for()
    one = make_submission(tmp_path, plan)
    slurm.add(one.name)
    (row,) = slurm.rows[one.name]
    for minutes in (0, 5):
        since = datetime.now(UTC) - timedelta(minutes=minutes)
        slurm.rows[one.name] = [type(row)(**vars(row) | {"reason": "Resources", "submitted": since})]
        _, _, said = carry_out(tmp_path, plan, detach=True)
        told = [text for text in said if "Resources" in text]
        assert told == (
            ["Slurm job 100: 1 of 1 tasks wait (Resources: waits for free nodes)"] * (minutes > 0)
        )


def test_an_interrupt_leaves_what_is_submitted(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "last_cancel", lambda results: None)
    outcome, _, said = carry_out(tmp_path, plan_for(), max_hours=1e-4)
    assert outcome.interrupted == Reason.OUT_OF_TIME and outcome.exit_code == 130
    assert "Slurm goes on with job 100" in said[-1] and f"scaling cancel {tmp_path}" in said[-1]
    assert states(tmp_path) == ["submitted"] and slurm.cancelled == []


def test_a_cancellation_ends_whoever_watches(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "LEAST_PATIENCE", 100)  # before Slurm is asked again
    monkeypatch.setattr(fleet, "MOST_PATIENCE", 100)

    def end_all(sweep: Sweep) -> None:
        wait_until(lambda: slurm.scripts)
        cancel(sweep.results)

    outcome, _, _ = carry_out(tmp_path, plan_for(), end_all, max_hours=10 / 3600)
    assert outcome.interrupted == Reason.CANCELLED and len(slurm.scripts) == 1
    assert states(tmp_path) == ["cancelled"]
    outcome, *_ = carry_out(tmp_path, plan_for(), detach=True)
    assert outcome.exit_code == 0 and len(slurm.scripts) == 3


def test_a_cancellation_before_the_analysis_is_submitted_is_not_undone(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = fleet.Fleet._settled

    def cancelled_then(self: fleet.Fleet) -> list[Submission]:
        alive = settled(self)
        cancel(self.results)
        return alive

    monkeypatch.setattr(fleet.Fleet, "_settled", cancelled_then)
    outcome, *_ = carry_out(tmp_path, plan_for(), detach=True)
    assert outcome.interrupted == Reason.CANCELLED and outcome.submitted == ()
    assert states(tmp_path) == ["cancelled"] and len(slurm.scripts) == 1


def test_an_analysis_that_was_cancelled_does_nothing(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for()
    one = make_submission(tmp_path, plan, kind="analysis", state="cancelled")
    monkeypatch.setenv("SLURM_JOB_NAME", one.name)
    outcome, *_ = carry_out(tmp_path, plan, detach=True)
    assert outcome.interrupted == Reason.CANCELLED and slurm.scripts == []


def test_a_folder_that_was_removed_is_not_brought_back(tmp_path: Path, slurm: Slurm) -> None:
    def remove(sweep: Sweep) -> None:
        wait_until(lambda: slurm.scripts)
        sweep.results.plan.unlink()

    with pytest.raises(UserError, match="was removed while the study ran"):
        carry_out(tmp_path, plan_for(), remove)


def test_a_queue_that_does_not_answer_for_a_while_ends_nothing(
    tmp_path: Path, slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(results: ResultsFolder) -> None:
        asked.append(1)
        raise SlurmError("squeue failed: Unable to contact slurm controller")

    def be_silent(sweep: Sweep) -> None:
        wait_until(lambda: slurm.scripts)
        monkeypatch.setattr(fleet, "reconcile", fail)
        wait_until(lambda: len(asked) > 1)
        finish(tmp_path, plan)

    asked, plan = list[int](), plan_for()
    outcome, _, said = carry_out(tmp_path, plan, be_silent)
    assert outcome.exit_code == 0
    assert sum("Unable to contact slurm controller" in text for text in said) == 1


def test_starts_and_failures_are_told_from_files(tmp_path: Path, slurm: Slurm) -> None:
    plan = plan_for([(8, 50), (16, 50)], attempts=2)
    bad, events = by_label(plan, "w16-s50"), list[Any]()

    def work(sweep: Sweep) -> None:
        wait_until(lambda: slurm.scripts)
        job = sweep.results.job_dir(bad["job_id"])
        job.mkdir(parents=True)
        for attempt in (1, 2):
            lease = acquire(job)
            wait_until(lambda n=attempt: len(of(events, JobStarted)) == n)
            reports = len(of(events, Progress))
            wait_until(lambda n=reports: len(of(events, Progress)) > n + 1)  # which say nothing new
            failure = Failure(kind="exception", message="it broke", attempt=attempt, run_id=bad["run_id"])
            write_json(sweep.results.run_dir(bad["run_id"]) / "error.json", failure.to_json())
            lease.release()
            wait_until(lambda n=attempt: len(of(events, RunFailed)) == n)
        finish(tmp_path, plan, "w8-s50")

    outcome, *_ = carry_out(tmp_path, plan, work, events=events)
    assert outcome.exit_code == 1 and outcome.given_up == (bad["run_id"],)
    assert [event.resumed for event in of(events, JobStarted)] == [False, True]
    assert [event.will_retry for event in of(events, RunFailed)] == [True, False]
    assert [event.label for event in of(events, RunFinished)] == ["w8-s50"] and len(slurm.scripts) == 1


def test_tasks_that_would_find_nothing_leave_the_queue(tmp_path: Path, slurm: Slurm) -> None:
    plan = plan_for()
    slurm.add(make_submission(tmp_path, plan, jobs=("f" * 12,)).name)

    def work(sweep: Sweep) -> None:
        wait_until(lambda: slurm.scripts)
        finish(tmp_path, plan)

    carry_out(tmp_path, plan, work)
    mine = submissions(ResultsFolder(tmp_path))[-1]
    assert slurm.cancelled == [(mine.name, "--state=PENDING")]
