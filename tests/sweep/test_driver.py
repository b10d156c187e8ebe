from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scaling.errors import UserError
from scaling.store import lease
from scaling.store.folder import ResultsFolder
from scaling.sweep.events import Event, JobStarted, PhaseStarted, Progress, RunFailed, RunFinished, Stopping
from scaling.sweep.executors import EXECUTORS
from scaling.sweep.guard import drivers
from scaling.sweep.progress import Snapshot
from tests.sweep.detached import Detached
from tests.sweep.plans import behave, by_label, make_plan, open_tiny, start_driver, trained, wait_until

CELLS = [(8, 50), (16, 50), (24, 50), (24, 100)]


@pytest.fixture(params=["local", "detached"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every executor passes the same tests."""
    if request.param == "detached":
        monkeypatch.setitem(EXECUTORS, "local", Detached)
    return request.param


def test_longest_jobs_first_and_done_runs_are_skipped(tmp_path: Path, kind: str) -> None:
    plan = make_plan(CELLS, holdout=[(16, 400)], workers=1)
    events: list[Event] = []
    with open_tiny(tmp_path, plan) as sweep:
        outcome = sweep.run_jobs({"fit", "noise"}, on_event=events.append)
        assert outcome.exit_code == 0 and len(outcome.done) == 4 and outcome.resume is None
        assert [one.roles for one in events if isinstance(one, PhaseStarted)] == [("fit",)], "no run is noise"
        assert trained(tmp_path) == ["w24-s50", "w24-s100", "w16-s50", "w8-s50"]
        assert sweep.run_jobs({"holdout"}).exit_code == 0
    assert trained(tmp_path)[4:] == ["w16-s400"]
    assert sum(isinstance(event, RunFinished) for event in events) == 4
    with open_tiny(tmp_path, make_plan([*CELLS, (32, 50)])) as sweep:  # an extended study
        sweep.run_jobs({"fit"}, on_event=events.append)
    assert trained(tmp_path)[5:] == ["w32-s50"]
    last = [event for event in events if isinstance(event, PhaseStarted)][-1]
    assert (last.runs, last.skipped, last.jobs, last.workers) == (1, 4, 1, 2)


def test_what_a_job_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # launch.json has what differs from the driver's
    plan = make_plan([(8, 50), (8, 100)], holdout=[(8, 200)], checkpoint_seconds=5.0, chunk_steps=10)
    with open_tiny(tmp_path, plan) as sweep:
        sweep.run_jobs({"fit"})
    (folder,) = (tmp_path / "jobs").iterdir()
    job = json.loads((folder / "job.json").read_text())
    assert [run["label"] for run in job["runs"]] == ["w8-s50", "w8-s100"]  # the held-out run is not there
    assert job["execution"] == {
        "checkpoint_seconds": 5.0,
        "chunk_steps": 10,
        "threads": 1,
        "lease_seconds": 30.0,
        "timeout_minutes": 60.0,
        "keep_final": False,
    }
    assert job["data"] == plan["data"] and job["study"] == "tiny"
    launch = json.loads((folder / "launch.json").read_text())
    assert launch["attempt"] == 1 and launch["environment"]["OMP_NUM_THREADS"] == "1"


def test_a_full_disk_that_the_log_does_not_tell_of_is_one(tmp_path: Path) -> None:
    behave(tmp_path, w8_s50="full")
    plan = make_plan([(8, 50)])
    with open_tiny(tmp_path, plan) as sweep:
        assert sweep.run_jobs({"fit"}).exit_code == 1
    error = ResultsFolder(tmp_path).error(plan["runs"][0]["run_id"])
    assert error and error.kind == "disk_full" and error.attempt == 0


@pytest.mark.parametrize("kind", ["local", pytest.param("detached", marks=pytest.mark.slow)], indirect=True)
def test_failures_are_recorded_retried_and_stop_nobody(tmp_path: Path, kind: str) -> None:
    behave(
        tmp_path, w8_s50="crash", w16_s50="kill", w24_s50="own error", w32_s50="crash once", w40_s50="leave"
    )
    cells = [*CELLS, (32, 50), (40, 50), (48, 50)]
    plan, events = make_plan(cells), list[Event]()
    with open_tiny(tmp_path, plan) as sweep:
        outcome = sweep.run_jobs({"fit"}, on_event=events.append)
    labels = {run["run_id"]: run["label"] for run in plan["runs"]}
    assert {labels[key] for key in outcome.done} == {"w24-s100", "w32-s50", "w48-s50"}
    assert {labels[key] for key in outcome.failed} == {"w8-s50", "w16-s50", "w24-s50", "w40-s50"}
    assert outcome.exit_code == 1 and outcome.resume and "4 failed, to be tried again" in outcome.resume
    errors = {
        label: error for run_id, label in labels.items() if (error := ResultsFolder(tmp_path).error(run_id))
    }
    assert errors["w8-s50"].kind == "exception" and "on fire" in errors["w8-s50"].message
    assert any("Traceback" in line for line in errors["w8-s50"].log_tail)
    assert errors["w8-s50"].step == 2
    assert errors["w16-s50"].kind == "killed" and "SIGKILL" in errors["w16-s50"].message
    assert errors["w24-s50"].kind == "data_error" and errors["w24-s50"].message == "no such text"
    assert "status 0 and no record" in errors["w40-s50"].message
    assert {errors[key].attempt for key in ("w8-s50", "w16-s50", "w24-s50", "w40-s50")} == {2}
    told = [e for e in events if isinstance(e, RunFailed) and e.label == "w8-s50"]
    assert [(e.attempt, e.will_retry) for e in told] == [(1, True), (2, False)]

    behave(tmp_path)  # the cause is gone: a relaunch trains exactly the failed ones
    before = len(trained(tmp_path))
    with open_tiny(tmp_path, plan) as sweep:
        assert sweep.run_jobs({"fit"}).exit_code == 0
    assert set(trained(tmp_path)[before:]) == {"w8-s50", "w16-s50", "w24-s50", "w40-s50"}


def test_a_job_that_cannot_be_started_is_a_failed_run(tmp_path: Path, kind: str) -> None:
    plan = make_plan(CELLS[:2])
    blocked = by_label(plan, "w8-s50")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / blocked["job_id"]).write_text("in the way")
    with open_tiny(tmp_path, plan) as sweep:
        outcome = sweep.run_jobs({"fit"})
    assert outcome.failed == (blocked["run_id"],) and len(outcome.done) == 1
    assert (error := ResultsFolder(tmp_path).error(blocked["run_id"])) and error.kind == "not_started"


@pytest.mark.parametrize(
    "behaviour, kinds", [("relieved", []), ("exhausted", ["out_of_memory", "out_of_memory"])]
)
def test_a_job_that_goes_on_in_smaller_pieces_has_not_failed(
    tmp_path: Path, behaviour: str, kinds: list[str]
) -> None:
    """One that says so, and has written none, has."""
    behave(tmp_path, w8_s50=behaviour)
    events: list[Event] = []
    with open_tiny(tmp_path, make_plan([(8, 50), (16, 50)], workers=1)) as sweep:
        outcome = sweep.run_jobs({"fit"}, on_event=events.append)
    assert len(outcome.failed) == bool(kinds) and trained(tmp_path).count("w8-s50") == 2
    assert [event.kind for event in events if isinstance(event, RunFailed)] == kinds


def interrupt(folder: Path, number: signal.Signals, *extra: str, times: int = 1) -> tuple[list[Event], float]:
    """Run two jobs, one of which hangs, and send this process a signal when it does and the other is done."""
    behave(folder, w8_s50="hang")
    events: list[Event] = []
    sent: list[Snapshot] = []

    def watch(event: Event) -> None:
        events.append(event)
        now = event.snapshot if isinstance(event, Progress) else None
        begun = {row.label for row in now.running if row.step} if now else set()
        if now and not sent and now.runs_done == 1 and "w8-s50" in begun:
            sent.append(now)
            os.kill(os.getpid(), number)
        if isinstance(event, Stopping) and times == 2:
            os.kill(os.getpid(), number)

    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with open_tiny(folder, make_plan([(8, 50), (16, 50)]), *extra) as sweep:
        outcome = sweep.run_jobs({"fit"}, on_event=watch, grace_seconds=0.5 if times == 1 else 30.0)
        assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert outcome.exit_code == 130 and outcome.interrupted == number.name
    assert len(outcome.done) == 1 and not outcome.failed and len(outcome.unfinished) == 1
    assert outcome.resume and "1 to resume or start" in outcome.resume
    assert not any(isinstance(event, RunFailed) for event in events)
    return events, outcome.seconds


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("local", signal.SIGINT),
        ("detached", signal.SIGTERM),
        pytest.param("local", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("detached", signal.SIGINT, marks=pytest.mark.slow),
    ],
    indirect=["kind"],
)
def test_a_signal_stops_cleanly_and_a_relaunch_resumes(
    tmp_path: Path, number: signal.Signals, kind: str
) -> None:
    interrupt(tmp_path, number)
    assert len(list(tmp_path.glob("jobs/*/checkpoint"))) == 1  # it was asked, before it was killed
    behave(tmp_path)
    events: list[Event] = []
    with open_tiny(tmp_path, make_plan([(8, 50), (16, 50)])) as sweep:
        assert sweep.run_jobs({"fit"}, on_event=events.append).exit_code == 0
    assert [e.resumed for e in events if isinstance(e, JobStarted)] == [True]


def test_a_job_deaf_to_signals_is_killed_after_the_grace_or_a_second_signal(
    tmp_path: Path, kind: str
) -> None:
    interrupt(tmp_path / "grace", signal.SIGINT, "deaf")
    _, seconds = interrupt(tmp_path / "twice", signal.SIGINT, "deaf", times=2)
    assert seconds < 10


def test_a_watcher_that_breaks_leaves_no_process_behind(tmp_path: Path, kind: str) -> None:
    behave(tmp_path, w8_s50="hang")

    def broken(event: Event) -> None:
        if isinstance(event, Progress) and event.snapshot.running:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError), open_tiny(tmp_path, make_plan([(8, 50)])) as sweep:
        sweep.run_jobs({"fit"}, on_event=broken)
    (job,) = (tmp_path / "jobs").iterdir()
    seen = lease.look(job)
    assert drivers(ResultsFolder(tmp_path)) == [] and (seen is None or seen.free)


@pytest.mark.parametrize("ear", ["hears", "deaf"])
def test_jobs_die_with_a_killed_driver(tmp_path: Path, ear: str) -> None:
    if ear == "deaf" and sys.platform != "linux":
        pytest.skip("only Linux kills a job that does not listen")
    behave(tmp_path, w8_s50="hang", w16_s50="hang")
    plan = make_plan([(8, 50), (16, 50)])
    driver = start_driver(tmp_path, plan, ear)
    jobs = [tmp_path / "jobs" / job["job_id"] for job in plan["jobs"]]
    try:
        wait_until(lambda: len(trained(tmp_path)) == 2)
        owners = [lease.look(job) for job in jobs]
        assert all(seen and not seen.free for seen in owners)
    finally:
        driver.kill()
        driver.wait()
    wait_until(lambda: all(seen is not None and seen.free for seen in map(lease.look, jobs)))
    behave(tmp_path)
    began = time.monotonic()
    with open_tiny(tmp_path, plan) as sweep:
        assert sweep.run_jobs({"fit"}).exit_code == 0
    assert time.monotonic() - began < 20  # who is dead on this machine is not waited for


def test_another_study_in_the_folder_is_refused(tmp_path: Path) -> None:
    plan = make_plan(CELLS[:1])
    with open_tiny(tmp_path, plan) as sweep:
        sweep.run_jobs({"fit"})
    with (
        pytest.raises(UserError, match="holds study 'tiny', not 'other'"),
        open_tiny(tmp_path, plan | {"study": "other"}),
    ):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "../out"}, "study"),
        ({"schema": 2}, "schema"),
        ({"jobs": []}, "runs and jobs disagree"),
        ({"execution": {"workers": 0}}, "workers"),
        ({"execution": {"kind": "abacus"}}, "abacus"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(tmp_path: Path, change: dict, message: str) -> None:
    plan = make_plan(CELLS[:1]) | change
    with pytest.raises(UserError, match=message), open_tiny(tmp_path / "study", plan):
        pass
    assert not (tmp_path / "study").exists()


def test_ids_cannot_leave_the_folder(tmp_path: Path) -> None:
    plan = json.loads(
        json.dumps(make_plan(CELLS[:1])).replace(make_plan(CELLS[:1])["jobs"][0]["job_id"], "../../x")
    )
    with pytest.raises(UserError, match="job_id"), open_tiny(tmp_path / "study", plan):
        pass
    for name in ("../../etc", "", "/etc/passwd", "0123456789ab/..", "0123456789ab\n", "0123456789AB"):
        with pytest.raises(UserError, match="12 hex digits"):
            ResultsFolder(tmp_path).run_dir(name)
        with pytest.raises(UserError, match="12 hex digits"):
            ResultsFolder(tmp_path).job_dir(name)


def test_only_runs_that_are_left_need_a_device_of_their_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, asked = make_plan(CELLS), list[int]()
    monkeypatch.setattr("scaling.sweep.driver.require_precision", lambda runs, _: asked.append(len(runs)))
    with open_tiny(tmp_path, plan) as sweep:
        sweep.run_jobs({"fit"})
        sweep.run_jobs({"fit"})
    assert asked == [len(CELLS), 0]


def rates_of_a_width(rates: Sequence[float], wide: Sequence[tuple[int, int]], **execution: Any) -> dict:
    """A plan of jobs of width 8 that differ in their learning rates, labelled by them, and of others."""
    plan = make_plan(wide, **execution)
    for rate in rates:
        one = make_plan([(8, 50)], rate=rate)
        one["runs"][0]["label"] = f"rate{rate}"
        plan["runs"] += one["runs"]
        plan["jobs"] += one["jobs"]
    return plan


def test_jobs_of_equal_shape_share_a_process_and_no_blame(tmp_path: Path) -> None:
    """One of them kills it each time: it is alone in the end, and the only one that has failed."""
    rates = [0.1, 0.2, 0.3, 0.4]
    tmp_path.joinpath("behaviour.json").write_text(
        json.dumps({"rate0.2": "kill all", "rate0.3": "wait for go"})
    )
    plan = rates_of_a_width(rates, [(16, 50)], workers=1, pack=3)
    started = list[str]()

    def watch(event: Event) -> None:
        if isinstance(event, JobStarted):
            started.extend(event.labels)
        if ResultsFolder(tmp_path).error(by_label(plan, "rate0.2")["run_id"]):
            (tmp_path / "go").touch()

    with open_tiny(tmp_path, plan) as sweep:
        outcome = sweep.run_jobs({"fit"}, on_event=watch, retries=0)
    assert started[0] == "w16-s50" and {*started[1:4]} == {"rate0.1", "rate0.2", "rate0.3"}
    assert started.count("rate0.2") == started.count("rate0.3") == 2
    assert outcome.failed == (by_label(plan, "rate0.2")["run_id"],) and len(outcome.done) == 4
    errors = [ResultsFolder(tmp_path).error(run["run_id"]) for run in plan["runs"]]
    assert [error.kind for error in errors if error] == ["killed"]
    jobs = [tmp_path / "jobs" / run["job_id"] / "job.json" for run in plan["runs"]]
    packs = [json.loads(path.read_text())["execution"].get("lowering", {}).get("pack") for path in jobs]
    assert packs[0] == 3 and packs[2] is None  # alone at last


def test_the_plan_of_a_folder_is_left_as_it_is(tmp_path):
    plan, longer = make_plan([(8, 50)]), make_plan([(8, 50), (16, 50)])
    with open_tiny(tmp_path, longer):
        pass
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.*")}
    with open_tiny(tmp_path, longer, spec=None):
        assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.*")} == before
    stale = open_tiny(tmp_path, plan, spec=None)  # read before the other launch wrote
    with pytest.raises(UserError, match="has just changed the plan of "), stale:
        pass
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.*")} == before
