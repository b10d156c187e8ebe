"""What is sent, and when, to a tracker that keeps it in a list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scaling.plan.plan import Plan
from scaling.store.records import Record
from scaling.trackers import follow
from scaling.trackers.base import TrackedRun, summary_of
from scaling.trackers.cursor import Cursor
from scaling.trackers.follow import Sender
from tests.store.test_records import RECORD
from tests.supervisor.jobs import ID, RUN
from tests.trackers.studies import Study


class Held:
    """What a tracker has of one run. ``tells``: it knows its last step; ``forgets``: it can drop steps."""

    def __init__(self, *, tells: bool, forgets: bool):
        self.tells, self.forgets = tells, forgets
        self.steps: list[int] = []
        self.rows: list[dict[str, float]] = []
        self.summary: dict[str, Any] = {}
        self.calls: list[str] = []

    @property
    def last(self) -> int | None:
        return max(self.steps, default=-1) if self.tells else None

    def log(self, step: int, values: dict[str, float]) -> None:
        assert not self.steps or step > self.steps[-1], "a step was sent twice, or goes back"
        self.steps.append(step)
        self.rows.append(values)

    def drop(self) -> bool:
        if self.forgets:
            self.steps = []
        return self.forgets

    def flush(self) -> None:
        self.calls.append("flush")

    def end(self, summary: dict[str, Any]) -> None:
        self.calls.append("end")
        self.summary = summary

    def close(self) -> None:
        self.calls.append("close")


class Memory:
    """``broken`` are ids of runs that it does not take."""

    where = "here"

    def __init__(self, *, tells: bool = False, forgets: bool = False):
        self.destination = {"kind": "memory"}
        self.tells, self.forgets = tells, forgets
        self.held: dict[str, Held] = {}
        self.broken: set[str] = set()

    def open(self, run: TrackedRun) -> Held:
        if run.run_id in self.broken:
            raise ConnectionError("no")
        held = self.held.setdefault(run.run_id, Held(tells=self.tells, forgets=self.forgets))
        held.calls.append("open")
        return held


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    yield Study(tmp_path / "s", 100, 200, 300)


def follower(study: Study, tracker: Memory, *, again: bool = False) -> Sender:
    """A process that follows a folder."""
    return Sender(study.results, tracker, Cursor(study.results.path, tracker.destination, again=again), set())


def test_rows_are_sent_once_they_are_whole_and_the_result_at_the_end(study: Study) -> None:
    tracker, (run, other, _) = Memory(), study.ids
    follows = follower(study, tracker)
    assert not follows.visit() and not tracker.held
    study.train(run, 10, 20)
    with open(study.curve(run), "a") as file:
        file.write('{"step": 30, "train/lo')  # being written
    assert follows.visit()
    assert tracker.held[run].steps == [10], "an evaluation may belong to step 20"
    assert tracker.held[run].rows[0] == {"tokens": 640.0, "flops": 1e9, "train/loss": 2.0}
    assert not follows.visit()
    with open(study.curve(run), "a") as file:
        file.write('ss": NaN, "train/grad_norm": null, "eval_id": "abc", "eval/loss": 2.5}\n')
    study.train(other, 5, 6)
    assert follows.visit()
    assert tracker.held[run].steps == [10, 20] and tracker.held[other].steps == [5]
    assert "train/loss" not in follows.followed[run].points[30]
    study.end(run, 30)
    assert follows.visit()
    held = tracker.held[run]
    assert held.steps == [10, 20, 30] and held.rows[-1] == {"eval/loss": 2.03, "tokens": 1920.0}
    assert held.summary["loss"] == 2.03 and held.summary["status"] == "ok"
    assert held.calls == ["open", "flush", "flush", "end"]
    follows.close()
    assert tracker.held[other].calls[-1] == "close"


@pytest.mark.parametrize("tells", [True, False])
def test_another_process_continues(study: Study, tells: bool) -> None:
    tracker, (run, other, _) = Memory(tells=tells), study.ids
    study.train(run, 10, 20, 30)
    follower(study, tracker).visit()
    study.train(run, 40)
    study.train(other, 10)
    study.end(other, 20)
    follower(study, tracker).visit()
    assert tracker.held[run].steps == [10, 20, 30]
    follows = follower(study, tracker)
    assert not follows.visit(), "nothing is new"
    assert tracker.held[other].calls.count("open") == 1
    if tells:
        assert follower(study, tracker, again=True).visit()
        assert tracker.held[other].calls.count("end") == 2


def test_what_a_tracker_lost_with_its_process_is_sent_again(study: Study) -> None:
    tracker, run = Memory(tells=True), study.ids[0]
    study.train(run, 10, 20, 30, 40)
    follower(study, tracker).visit()
    del tracker.held[run].steps[1:]
    study.train(run, 50)
    follower(study, tracker).visit()
    assert tracker.held[run].steps == [10, 20, 30, 40]


def test_what_was_sent_and_not_noted_is_not_sent_again(study: Study) -> None:
    tracker, run = Memory(tells=True), study.ids[0]
    study.train(run, 10, 20, 30, 40)
    follower(study, tracker).visit()
    (study.results.path / "cursor.json").unlink()
    study.train(run, 50)
    follower(study, tracker).visit()
    assert tracker.held[run].steps == [10, 20, 30, 40]


@pytest.mark.parametrize("new_process", [True, False])
@pytest.mark.parametrize("forgets", [True, False])
def test_a_run_that_resumes_from_an_earlier_step(study: Study, forgets: bool, new_process: bool) -> None:
    tracker, run = Memory(forgets=forgets, tells=True), study.ids[0]
    follows = follower(study, tracker)
    study.train(run, 10, 20, 30, 40)
    follows.visit()
    study.resume(run, 10)
    if new_process:
        follows = follower(study, tracker)
    else:
        follows.visit()
    study.train(run, 15, 25)
    follows.visit()
    assert tracker.held[run].steps == ([10, 15] if forgets else [10, 20, 30])
    study.train(run, 35)
    study.end(run, 45)
    follows.visit()
    assert tracker.held[run].steps == ([10, 15, 25, 35, 45] if forgets else [10, 20, 30, 35, 45])


def test_a_run_that_fails_leaves_the_others(study: Study) -> None:
    tracker, (run, other, third) = Memory(), study.ids
    tracker.broken = {run}
    follows = follower(study, tracker)
    for run_id in study.ids:
        study.train(run_id, 1, 2)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            follows.visit()
    assert set(tracker.held) == {other, third}
    tracker.broken = set()
    assert follows.visit() and not follows.failing
    assert tracker.held[run].steps == [1]


def test_few_runs_are_open_at_a_time(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "MOST_OPEN", 2)
    tracker, follows = Memory(), None
    for run_id in study.ids:
        study.train(run_id, 1, 2)
    follows = follower(study, tracker)
    follows.visit()
    assert tracker.held[study.ids[0]].calls == ["open", "flush", "close"]
    study.train(study.ids[0], 3)
    follows.visit()
    assert tracker.held[study.ids[0]].steps == [1, 2]
    assert [held.calls.count("close") for held in tracker.held.values()] == [1, 1, 0]


def test_another_destination_has_a_cursor_of_its_own(study: Study) -> None:
    tracker, run = Memory(), study.ids[0]
    study.train(run, 10)
    study.end(run, 20)
    follower(study, tracker).visit()
    elsewhere = Memory()
    elsewhere.destination = {"kind": "elsewhere"}
    follower(study, elsewhere).visit()
    assert elsewhere.held[run].steps == [10, 20]


def test_a_run_and_its_result_as_trackers_are_told(study: Study) -> None:
    plan = Plan.from_json(study.plan)
    run = TrackedRun.of(plan, plan.runs[0])
    assert run.tags == ("tiny", "fit") and run.label == "w8-s100"
    assert run.name == f"w8-s100-{run.run_id}"
    assert run.config["shape"]["width"] == 8 and run.settings["shape.width"] == 8
    assert run.settings["params"] == plan.runs[0].params
    varied = plan.runs[0].model_copy(update={"variant": "muon", "label": "../../a b"})
    assert TrackedRun.of(plan, varied).tags == ("tiny", "fit", "muon")
    assert TrackedRun.of(plan, varied).name == f".._.._a_b-{run.run_id}"
    result = RECORD["result"] | {"set_losses": {"code": 1.5}, "average_losses": {"ema": 1.25}}
    result |= {"columns": {"accuracy": 0.5, "checkpoint": "last", "better": None}}
    summary = summary_of(Record.model_validate(RECORD | {"result": result}))
    assert summary["loss/code"] == 1.5 and summary["loss@ema"] == 1.25
    assert summary["accuracy"] == 0.5 and summary["checkpoint"] == "last" and "better" not in summary
    assert summary["loss"] == RECORD["result"]["loss"] and "document_losses" not in summary
    assert not {name for name in summary if name.startswith(("params", "steps", "document", "columns"))}


def test_a_run_of_a_trainer_of_ones_own(study: Study) -> None:
    plan = Plan.from_json(study.plan)
    planned = plan.runs[0].model_copy(update={"run": RUN, "run_id": ID})
    run = TrackedRun.of(plan, planned)
    assert run.settings["recipe.anything"] == "else" and run.settings["size.config.width"] == 4
    assert run.settings["params"] == 1000 and run.settings["trainer.version"] == 1
