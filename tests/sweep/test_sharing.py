"""Several drivers in one folder, drivers and jobs that stall, failures that are not retried."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.store.folder import ResultsFolder
from scaling.store.lease import look
from scaling.sweep.clock import Clock
from scaling.sweep.collect import collect
from scaling.sweep.events import (
    Event,
    JobElsewhere,
    JobStarted,
    PhaseStarted,
    Progress,
    RunFailed,
    RunFinished,
)
from scaling.sweep.status import status
from scaling.sweep.stops import Reason
from tests.sweep.plans import behave, make_plan, open_tiny, start_driver, trained, wait_until

CELLS = [(8, 50), (16, 50), (24, 50), (32, 50), (32, 100)]
SHORT = {"lease_seconds": 1.0, "workers": 1}


def finish(folder: Path, plan: dict, **options) -> tuple[int, list[Event]]:
    seen: list[Event] = []
    with open_tiny(folder, plan, **options) as sweep:
        return sweep.run_jobs({"fit"}, on_event=seen.append).exit_code, seen


def test_drivers_share_the_work_and_each_sees_all_of_it(tmp_path: Path) -> None:
    plan = make_plan(CELLS, workers=1)
    behave(tmp_path, w32_s50="wait for go")  # of the longest job, which is the other's first
    other = start_driver(tmp_path, plan)
    wait_until(lambda: (tmp_path / "trained.txt").exists())
    events: list[Event] = []

    def act(event: Event) -> None:
        events.append(event)
        if isinstance(event, JobStarted):  # each has one now
            (tmp_path / "go").touch()

    with open_tiny(tmp_path, plan) as sweep:
        code = sweep.run_jobs({"fit"}, on_event=act).exit_code
    assert other.wait(60) == 0 and code == 0
    assert sorted(trained(tmp_path)) == sorted(f"w{width}-s{steps}" for width, steps in CELLS)
    first = next(event for event in events if isinstance(event, PhaseStarted))
    assert first.skipped + sum(isinstance(event, RunFinished) for event in events) == len(CELLS)
    assert any(isinstance(event, JobElsewhere) for event in events)
    started = [label for e in events if isinstance(e, JobStarted) for label in e.labels]
    assert 0 < len(started) < len(CELLS)


@pytest.mark.parametrize("who", [pytest.param("job", marks=pytest.mark.slow), "driver and job"])
def test_work_of_a_process_that_stalls_is_taken_over(tmp_path: Path, who: str) -> None:
    """And when it wakes it leaves without writing."""
    plan = make_plan(CELLS[:1], **SHORT)
    behave(tmp_path, w8_s50="wait for go")
    other = start_driver(tmp_path, plan)
    job = tmp_path / "jobs" / plan["jobs"][0]["job_id"]
    run = tmp_path / "runs" / plan["runs"][0]["run_id"]
    wait_until(lambda: (run / "metrics.jsonl").exists())
    seen = look(job)
    assert seen is not None and seen.owner is not None
    stopped = [seen.owner.pid, *([other.pid] if "driver" in who else [])]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    (tmp_path / "go").touch()
    began = time.monotonic()
    code, events = finish(tmp_path, plan)
    assert code == 0 and time.monotonic() - began > 0.8
    assert [e.taken_over for e in events if isinstance(e, JobStarted)] == [True]
    record = (run / "record.json").read_bytes()
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    assert other.wait(60) == 0
    assert (run / "record.json").read_bytes() == record
    assert trained(tmp_path) == ["w8-s50"] * 2 and not (run / "error.json").exists()
    after = look(job)
    assert after is not None and after.token == 2 and after.released


def test_a_driver_that_dies_leaves_its_jobs_to_the_others(tmp_path: Path) -> None:
    plan = make_plan(CELLS[:2], workers=2)
    behave(tmp_path, w8_s50="wait for go", w16_s50="wait for go")
    other = start_driver(tmp_path, plan)
    wait_until(lambda: len(trained(tmp_path)) == 2)

    def act(event: Event) -> None:
        if isinstance(event, JobElsewhere) and other.poll() is None:
            (tmp_path / "go").touch()
            other.kill()

    with open_tiny(tmp_path, plan) as sweep:
        assert sweep.run_jobs({"fit"}, on_event=act).exit_code == 0
    other.wait()


def test_runs_that_fail_too_often_are_left_alone_until_asked_for(tmp_path: Path) -> None:
    behave(tmp_path, w32_s50="crash", w8_s50="crash")
    plan = make_plan(CELLS, attempts=3)
    codes = [finish(tmp_path, plan)[0] for _ in range(2)]
    before, (code, events) = len(trained(tmp_path)), finish(tmp_path, plan)
    assert [*codes, code] == [1, 1, 1] and len(trained(tmp_path)) == before
    first = next(event for event in events if isinstance(event, PhaseStarted))
    assert (first.runs, first.given_up, first.skipped) == (0, 2, 3)
    now = status(tmp_path)
    assert now.kinds == {"exception": 2} and now.given_up == 2
    assert "not retried: 3 failures in a row" in now.failures[0].reason
    with open_tiny(tmp_path, plan) as sweep:
        outcome = sweep.run_jobs({"fit"})
    assert len(outcome.given_up) == 2 and outcome.resume and "execution.attempts=N" in outcome.resume
    behave(tmp_path)
    assert finish(tmp_path, make_plan(CELLS, attempts=4))[0] == 0


def test_getting_further_starts_the_count_of_failures_anew(tmp_path: Path) -> None:
    """Further is who has a newer checkpoint; where exactly a process died says little."""
    plan = make_plan(CELLS[:1], attempts=2)
    run = plan["runs"][0]
    behave(tmp_path, w8_s50="kill")
    assert finish(tmp_path, plan)[0] == 1
    path = ResultsFolder(tmp_path).run_dir(run["run_id"]) / "error.json"
    error = json.loads(path.read_text())
    assert (error["kind"], error["step"], error["attempt"], error["reached"]) == ("killed", 2, 2, 0)
    path.write_text(json.dumps(error | {"attempt": 1, "step": 1}))
    (tmp_path / "jobs" / run["job_id"] / "checkpoints" / "trunk" / "40").mkdir(parents=True)
    assert finish(tmp_path, plan)[0] == 1
    error = json.loads(path.read_text())
    assert (error["attempt"], error["reached"]) == (2, 40)  # 1 for the newer checkpoint, 2 for none after it


def test_a_job_without_progress_is_killed_and_says_timeout(tmp_path: Path) -> None:
    behave(tmp_path, w8_s50="hang")
    plan = make_plan(CELLS[:1], timeout_minutes=0.03, attempts=1)  # others might start more slowly than that
    code, events = finish(tmp_path, plan)
    failed = [event for event in events if isinstance(event, RunFailed)]
    assert code == 1 and [(e.kind, e.label) for e in failed] == [("timeout", "w8-s50")]
    assert "execution.timeout_minutes" in failed[0].message
    assert status(tmp_path).kinds == {"timeout": 1}


def test_max_hours_stops_like_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While jobs are at work, however slowly they start."""
    behave(tmp_path, w8_s50="hang")
    plan, at_work, is_over = make_plan(CELLS[:2]), list[str](), Clock.is_over

    def wait_for_training(event: Event) -> None:
        if isinstance(event, JobStarted):
            wait_until(lambda: {*event.labels} <= {*trained(tmp_path)})
            at_work.extend(event.labels)

    over = property(lambda clock: "w8-s50" in at_work and is_over.__get__(clock))
    monkeypatch.setattr(Clock, "is_over", over)
    with open_tiny(tmp_path, plan, max_hours=0.1 / 3600) as sweep:
        outcome = sweep.run_jobs({"fit"}, on_event=wait_for_training)
    assert (outcome.exit_code, outcome.interrupted) == (130, Reason.OUT_OF_TIME)
    assert outcome.resume and list(tmp_path.glob("jobs/*/checkpoint"))  # it was asked, not killed
    behave(tmp_path)
    assert finish(tmp_path, plan)[0] == 0


def test_files_of_display_that_are_damaged_stop_nothing(tmp_path: Path) -> None:
    plan = make_plan(CELLS[:2])
    behave(tmp_path, w8_s50="crash")
    assert finish(tmp_path, plan)[0] == 1
    for path in tmp_path.glob("jobs/*/*.json"):
        path.write_text('{"schema"')
    behave(tmp_path)
    assert finish(tmp_path, plan)[0] == 0


@pytest.mark.slow
def test_a_job_that_was_done_by_another_is_not_waited_for(tmp_path: Path) -> None:
    """Its own process, stopped and never continued."""
    plan = make_plan(CELLS[:1], **SHORT)
    behave(tmp_path, w8_s50="wait for go")
    other = start_driver(tmp_path, plan)
    wait_until(lambda: list(tmp_path.glob("runs/*/metrics.jsonl")))
    seen = look(tmp_path / "jobs" / plan["jobs"][0]["job_id"])
    assert seen is not None and seen.owner is not None
    os.kill(seen.owner.pid, signal.SIGSTOP)
    (tmp_path / "go").touch()
    assert finish(tmp_path, plan)[0] == 0
    assert other.wait(60) == 0 and seen.owner.gone


@pytest.mark.slow
def test_the_owner_says_for_how_long_it_may_stall(tmp_path: Path) -> None:
    """A driver with less patience must not take over what beats more slowly."""
    behave(tmp_path, w8_s50="wait for go")
    other = start_driver(tmp_path, make_plan(CELLS[:1], lease_seconds=30.0))
    wait_until(lambda: list(tmp_path.glob("runs/*/metrics.jsonl")))
    timer = threading.Timer(2.5, (tmp_path / "go").touch)
    timer.start()
    code, events = finish(tmp_path, make_plan(CELLS[:1], lease_seconds=0.5))
    assert code == 0 and other.wait(60) == 0 and trained(tmp_path) == ["w8-s50"]
    assert not any(isinstance(event, JobStarted) for event in events)


def test_another_plan_in_the_folder_stops_a_driver(tmp_path: Path) -> None:
    behave(tmp_path, w32_s50="hang")
    old, new = make_plan(CELLS[:4]), make_plan(CELLS)

    def extend(event: Event) -> None:
        if isinstance(event, Progress) and event.snapshot.running:
            (tmp_path / "plan.json").write_text(json.dumps(new))

    with open_tiny(tmp_path, old) as sweep:
        outcome = sweep.run_jobs({"fit"}, on_event=extend, grace_seconds=1.0)
        assert (outcome.exit_code, outcome.interrupted) == (130, Reason.PLAN_CHANGED)
        with pytest.raises(UserError, match="changed the plan"), sweep.turn():
            pass
    behave(tmp_path)
    assert finish(tmp_path, new)[0] == 0


def test_a_folder_that_is_removed_meanwhile_is_said_to_be(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    behave(folder, w8_s50="hang")

    def remove(event: Event) -> None:
        if isinstance(event, Progress) and event.snapshot.running and (folder / "plan.json").exists():
            os.rename(folder, tmp_path / "gone")

    with (
        pytest.raises(UserError, match="was removed while the study ran"),
        open_tiny(folder, make_plan(CELLS[:1])) as sweep,
    ):
        sweep.run_jobs({"fit"}, on_event=remove)
    assert not folder.exists()


def test_a_changed_recipe_is_shown_and_needs_force(tmp_path: Path) -> None:
    old, new = make_plan(CELLS[:2]), make_plan(CELLS[:2], rate=0.02)
    spec = "study: tiny\nrecipe: {{optimizer: {{learning_rate: {}}}}}\nexecution: {{workers: {}}}\n"
    with open_tiny(tmp_path, old, spec=spec.format(0.01, 1)) as sweep:
        with open_tiny(tmp_path, new, spec=spec.format(0.02, 2)):
            pass  # nothing was begun
        with open_tiny(tmp_path, old, spec=spec.format(0.01, 1)):
            sweep.run_jobs({"fit"})
    (tmp_path / "forecasts").mkdir()
    with (
        pytest.raises(UserError, match="2 of its begun runs") as caught,
        open_tiny(tmp_path, new, spec=spec.format(0.02, 2)),
    ):
        pass
    text = str(caught.value)
    assert "\n  recipe.optimizer.learning_rate: 0.01 -> 0.02" in text and "--force" in text
    assert "workers" not in text
    assert json.loads((tmp_path / "plan.json").read_text())["runs"] == old["runs"]
    with (
        pytest.raises(UserError, match=r"w8-s50: optimizer.learning_rate: 0.01 -> 0.02"),
        open_tiny(tmp_path, new),
    ):
        pass  # a study planned in Python has no spec
    with open_tiny(tmp_path, new, spec=spec.format(0.02, 2), force=True) as sweep:
        assert sweep.run_jobs({"fit"}).exit_code == 0
    assert (tmp_path / "forecasts-of-another-recipe").is_dir() and not (tmp_path / "forecasts").exists()
    assert len(ResultsFolder(tmp_path).recorded()) == 4
    with open_tiny(tmp_path, make_plan(CELLS, rate=0.02)):
        pass  # more of the same is no change


def test_a_changed_evaluation_is_refused_and_says_what_can_be_done(tmp_path: Path) -> None:
    plan = make_plan(CELLS[:2], data={"eval_tokens": 1000})
    finish(tmp_path, plan)
    changed = make_plan(CELLS[:2], data={"eval_tokens": 500, "eval_id": "a" * 12})
    with pytest.raises(UserError) as caught:
        open_tiny(tmp_path, changed).__enter__()
    text = str(caught.value)
    assert "evaluation.tokens: 1000 -> 500" in text and "--reevaluate" in text
    assert "0 of 2 runs have one" in text
    with pytest.raises(UserError, match="2 of 2 runs have no final checkpoint"):
        open_tiny(tmp_path, changed, reevaluate=True).__enter__()
    assert json.loads((tmp_path / "plan.json").read_text())["data"] == plan["data"]  # nothing was done
    keep_final(tmp_path, changed["runs"][:1])
    with pytest.raises(UserError, match="1 of 2 runs have one"):
        open_tiny(tmp_path, changed).__enter__()


def keep_final(folder: Path, runs: list[dict]) -> None:
    for run in runs:
        steps = str(run["run"]["steps"])
        (folder / "jobs" / run["job_id"] / "checkpoints" / run["run_id"] / steps).mkdir(parents=True)


def test_runs_are_evaluated_again_and_never_mixed(tmp_path: Path) -> None:
    plan = make_plan(CELLS)
    finish(tmp_path, plan)
    changed = make_plan(CELLS, data={"eval_id": "a" * 12})
    keep_final(tmp_path, changed["runs"])
    (tmp_path / "forecasts").mkdir()
    with open_tiny(tmp_path, changed, reevaluate=True) as sweep:
        assert [row.state for row in status(tmp_path).rows] == ["failed"] * 5
        assert status(tmp_path).kinds == {"evaluated otherwise": 5}
        assert collect(tmp_path).rows == 0  # not of this evaluation
        with pytest.raises(UserError, match="were evaluated otherwise"):
            sweep.run_jobs({"fit"})
        with pytest.raises(UserError, match="a driver is running"):
            open_tiny(tmp_path, changed, reevaluate=True).__enter__()
        outcome = sweep.reevaluate()
        assert outcome.exit_code == 0 and len(outcome.done) == 5
        assert sweep.run_jobs({"fit"}).exit_code == 0
    assert len(trained(tmp_path)) == 5 and collect(tmp_path).rows == 5
    assert (tmp_path / "forecasts-of-another-evaluation").is_dir()
    assert {row.loss for row in status(tmp_path).rows} == {2.25}
