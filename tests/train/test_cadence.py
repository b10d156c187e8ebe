"""Evaluation along the way: nothing of training changes, and a curve does not depend on who trained what."""

from __future__ import annotations

import json

import pytest

from scaling.run import run_id
from scaling.store.metrics import CurveLog
from scaling.train.cadence import Cadence
from tests.train.jobs import curve, evaluator_of, results_of, steps_of, timeless, train

EVERY = {60: (16, 32, 48), 120: (40, 80), 300: (24, 48, 96, 200, 296)}
BRANCHES = (40, 96, 240)


def every(run):
    return {"evaluate_at": EVERY[run.steps]}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, runs, index, program):
    results = tmp_path_factory.mktemp("evaluated")
    train(results, runs, index, program, asked=every)
    return results


def test_training_is_the_same_and_each_run_has_its_own_evaluations(evaluated, undisturbed, runs):
    assert [run.branch_step for run in runs] == [*BRANCHES]
    assert results_of(evaluated, runs) == results_of(undisturbed, runs)
    for run in runs:
        rows, plain = timeless(evaluated, run), timeless(undisturbed, run)
        assert [row for row in rows if "train/loss" in row] == [row for row in plain if "train/loss" in row]
        measured = [row for row in rows if "eval/loss" in row]
        assert [row["step"] for row in measured] == [*EVERY[run.steps], run.steps]
        assert measured[-1] == plain[-1] and measured[0]["tokens"] == measured[0]["step"] * 64
        losses = [row["eval/loss"] for row in measured]
        assert losses[0] > losses[-1] + 0.1 and len(set(losses)) == len(losses)
        order = [(row["step"], "eval/loss" in row) for row in rows]
        assert order == sorted(order)


def test_the_loss_along_the_way_is_that_of_a_run_that_ends_there(evaluated, runs, index, program, tmp_path):
    """Before the decay, where the rate does not depend on the horizon."""
    run = runs[2].model_copy(
        update={"steps": 48, "schedule": runs[2].schedule.model_copy(update={"decay": 0})}
    )
    train(tmp_path, [run], index, program)
    there = next(row for row in curve(evaluated, runs[2]) if row["step"] == 48 and "eval/loss" in row)
    assert there["eval/loss"] == results_of(tmp_path, [run])[run_id(run)]["loss"]


def test_a_chunk_ends_where_a_run_is_evaluated_off_its_grid(undisturbed, runs, index, program, tmp_path):
    """As on an accelerator, where chunks have another size than evaluations go by."""
    run, stops = runs[0], (21, 45)
    train(tmp_path, [run], index, program, asked=lambda run: {"evaluate_at": stops}, stops=stops)
    assert results_of(tmp_path, [run])[run_id(run)] == results_of(undisturbed, [run])[run_id(run)]
    measured = [row["step"] for row in curve(tmp_path, run) if "eval/loss" in row]
    assert measured == [*stops, run.steps]
    assert steps_of(tmp_path, run) == sorted({*steps_of(undisturbed, run), *stops})


@pytest.mark.parametrize("stop_after", [pytest.param(7, marks=pytest.mark.slow), 16])
def test_stopped_and_resumed_it_has_the_same_curves(evaluated, runs, index, program, tmp_path, stop_after):
    train(tmp_path, runs, index, program, asked=every, stop_after=stop_after)
    train(tmp_path, runs, index, program, asked=every)
    assert results_of(tmp_path, runs) == results_of(evaluated, runs)
    for run in runs:
        assert timeless(tmp_path, run) == timeless(evaluated, run)


def test_a_run_added_later_has_the_evaluations_of_one_that_was_there(
    evaluated, runs, index, program, tmp_path, capsys
):
    """The trunk had been trained without the longest run's evaluations at 24 and 48: it is trained again."""
    train(tmp_path, runs[:2], index, program, asked=every)
    job = train(tmp_path, runs, index, program, asked=every)
    assert "trunk/96 passed over" in capsys.readouterr().out and job.resumed == 0
    assert results_of(tmp_path, runs) == results_of(evaluated, runs)
    assert timeless(tmp_path, runs[2], training=False) == timeless(evaluated, runs[2], training=False)


def test_a_killed_process_leaves_an_evaluation_out_and_it_is_made_again(
    evaluated, runs, index, program, tmp_path
):
    """Its row is lost though the checkpoint of that step is whole."""
    job = train(tmp_path, runs[2:], index, program, asked=every, stop_after=8)
    log = job.folder / "trunk.jsonl"
    lines = log.read_text().splitlines()
    kept = [line for line in lines if not ('"eval/loss"' in line and json.loads(line)["step"] == 48)]
    assert len(kept) == len(lines) - 1
    log.write_text("\n".join(kept) + "\n")
    train(tmp_path, runs[2:], index, program, asked=every)
    assert timeless(tmp_path, runs[2], training=False) == timeless(evaluated, runs[2], training=False)


def test_rows_of_another_evaluation_are_made_again(evaluated, runs, index, program, tmp_path):
    real = evaluator_of(program, index)
    job = train(tmp_path, runs[:1], index, program, asked=every, stop_after=3)
    log = job.folder / "trunk.jsonl"
    log.write_text(log.read_text().replace(index.eval_id, "0" * 12))
    calls = []
    train(tmp_path, runs[:1], index, program, asked=every, evaluate=lambda p: calls.append(1) or real(p))
    assert len(calls) == 4
    assert timeless(tmp_path, runs[0], training=False) == timeless(evaluated, runs[0], training=False)


def test_evaluation_takes_no_training_time(runs, index, program, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("scaling.train.job.time.monotonic", lambda: now[0])
    real = evaluator_of(program, index)

    def slow(params):
        now[0] += 1000.0
        return real(params)

    train(tmp_path, runs[:1], index, program, asked=every, evaluate=slow)
    assert max(row.get("wall_time", 0) for row in curve(tmp_path, runs[0])) == 0


def test_where_training_may_resume():
    rows = [{"step": s, "train/loss": 1.0} for s in (8, 16, 24)] + [
        {"step": 16, "eval/loss": 1.0, "eval_id": "a"}
    ]
    assert Cadence("a", frozenset()).whole_steps(rows, {16}) == {8, 16, 24}
    assert Cadence("a", frozenset()).whole_steps(rows, {16, 24}) == {8, 16}
    assert Cadence("a", frozenset()).whole_steps(rows, {8, 16}) == set()
    assert Cadence("b", frozenset()).whole_steps(rows, {16}) == {8}


def test_a_row_is_put_where_it_belongs(tmp_path):
    log = CurveLog(tmp_path / "metrics.jsonl", lambda: None)
    log.restart([{"step": 8}, {"step": 16}, {"step": 16, "eval/loss": 2.0}])
    log.put({"step": 24})
    log.put({"step": 12})
    log.put({"step": 16, "eval/loss": 1.0})
    log.put({"step": 24, "eval/loss": 0.5})
    assert log.rows() == [
        {"step": 8}, {"step": 12}, {"step": 16}, {"step": 16, "eval/loss": 1.0}, {"step": 24},
        {"step": 24, "eval/loss": 0.5},
    ]  # fmt: skip
