"""Jobs: branched = alone, killed and resumed = undisturbed, divergence, failures."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import pytest

from scaling.data.store import open_windows
from scaling.recipe.optimizers import SGD, Lion, RoleRates
from scaling.recipe.schedules import Constant
from scaling.run import run_id
from scaling.train.evaluate import make_evaluator
from scaling.train.lanes import Lanes
from scaling.train.loop import ChunkInput, advance
from scaling.train.program import Blueprint, make_program
from scaling.train.step import ChunkMetrics
from tests.train.jobs import (
    curve,
    evaluator_of,
    finish,
    results_of,
    start,
    steps_of,
    timeless,
    train,
    write_job,
)
from tests.train.runs import make_run


def test_results_are_whole(undisturbed, runs, index):
    for run, result in zip(runs, results_of(undisturbed, runs).values(), strict=True):
        assert result["status"] == "ok" and 2 < result["loss"] < 5
        assert len(result["document_losses"]) == 24
        record = json.loads((undisturbed / "runs" / run_id(run) / "record.json").read_text())
        execution = record["execution"]
        assert 0 < execution["input_wait_seconds"] < execution["wall_seconds"]
        assert 0 < execution["mfu"] < 1 and execution["peak_memory_bytes"] > 5e7
        assert execution["lowering"]["attention"] == "blocked" and execution["compile_seconds"] > 0
        assert result["tokens"] == run.steps * 64 and result["eval_tokens"] >= 4096
        steps = [row["step"] for row in curve(undisturbed, run) if "train/loss" in row]
        assert steps == sorted(set(steps)) and steps[-1] == run.steps
        assert set(range(8, run.branch_step, 8)) <= set(steps)


def test_branched_equals_alone(undisturbed, runs, index, program, tmp_path):
    for run in runs[:2]:
        train(tmp_path / run_id(run), [run], index, program)
        assert (
            results_of(tmp_path / run_id(run), [run])[run_id(run)]
            == results_of(undisturbed, runs)[run_id(run)]
        )


def test_the_seed_of_the_order_is_that_of_the_data_and_no_other(index, program, tmp_path):
    run = make_run(steps=8, schedule=Constant(kind="constant", warmup=1), batch_sequences=2)
    run = run.model_copy(update={"order": 1})
    rules = {"recipe.batch_tokens": "tuned basins.json sha256:0"}
    train(tmp_path, [run], index, program, asked=lambda run: {"rules": rules})
    record = json.loads((tmp_path / "runs" / run_id(run) / "record.json").read_text())
    assert record["execution"]["rules"] == rules
    windows = open_windows(index)
    chunk = ChunkInput(0, 8, windows.train_batches(1, 0, 8, 2))
    ((_, state, _),) = advance(program, program.start(0), run, [chunk])
    loss = make_evaluator(program, windows)(state.params).loss
    assert results_of(tmp_path, [run])[run_id(run)]["loss"] == loss


@pytest.mark.parametrize(
    "ends",
    [
        pytest.param((signal.SIGKILL, signal.SIGKILL), marks=pytest.mark.slow, id="killed twice"),
        pytest.param((signal.SIGKILL, signal.SIGTERM), id="killed, then asked to stop"),
    ],
)
def test_ended_and_resumed_equals_undisturbed(undisturbed, runs, index, program, tmp_path, ends):
    """Ended at random steps of a branch and of the later trunk, before the end of a long run that is left out
    afterwards; it saves every chunk where it is killed."""
    chance = random.Random()
    longest = runs[2].model_copy(update={"steps": 3000})
    at = (chance.randint(97, 120), chance.randint(104, 200))
    for in_branch, step, how in zip((True, False), at, ends, strict=True):
        often = {"checkpoint_seconds": 0.0} if how == signal.SIGKILL else {}
        folder = write_job(tmp_path, [*runs, longest], index, **often)
        saved, process = steps_saved(folder), start(folder)
        path = tmp_path / "runs" / run_id(runs[1]) / "metrics.jsonl" if in_branch else folder / "trunk.jsonl"
        while process.poll() is None and last_step(path) < step:
            time.sleep(0.001)
        process.send_signal(how)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == (130 if how == signal.SIGTERM else -how), (at, out)
        assert process.returncode != 130 or max(steps_saved(folder)) > max(saved)
    train(tmp_path, runs, index, program)  # no more checkpoints than are due
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs), at
    assert timeless(tmp_path, runs[2]) == timeless(undisturbed, runs[2]), at
    resumed = [json.loads(p.read_text())["execution"]["resumed"] for p in tmp_path.glob("runs/*/record.json")]
    assert max(resumed) >= 1
    # What is left serves an extension by a longer run; the branches' own are gone.
    assert {path.parent.name for path in (folder / "checkpoints").glob("*/*")} == {"trunk"}


def last_step(path):
    """0: no row is written, or not to its end."""
    rows = path.read_text().split("\n")[:-1] if path.exists() else []
    return json.loads(rows[-1])["step"] if rows else 0


def steps_saved(folder):
    return [int(path.name) for path in (folder / "checkpoints" / "trunk").glob("*") if path.name.isdigit()]


def test_stopped_in_a_branch_it_keeps_the_trunk_too(undisturbed, runs, index, program, tmp_path):
    """Chunks of 8 steps: 5 to step 40, 3 of the first branch, 7 to step 96, then the second branch."""
    job = train(tmp_path, runs, index, program, stop_after=16)
    assert steps_of(tmp_path, runs[1])[-1] > runs[1].branch_step
    assert (job.folder / "checkpoints" / "trunk" / str(runs[1].branch_step)).is_dir()
    again = train(tmp_path, runs, index, program)
    assert again.steps_done == 300 + runs[1].steps - runs[1].branch_step  # nothing of the trunk twice
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    assert steps_of(tmp_path, runs[2]) == steps_of(undisturbed, runs[2])


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(Lion(kind="lion", learning_rate=0.002), marks=pytest.mark.slow),
        SGD(kind="sgd", learning_rate=0.1, nesterov=True, learning_rates=RoleRates(gain=0.03, head=0.2)),
    ],
    ids=lambda optimizer: optimizer.kind,
)
def test_any_optimizer_is_trained_and_resumed_bit_for_bit(runs, index, tmp_path, optimizer):
    some = [run.model_copy(update={"optimizer": optimizer}) for run in runs[:2]]
    program = make_program(Blueprint.of(some[0], 8))
    train(tmp_path / "whole", some, index, program)
    stopped = train(tmp_path / "stopped", some, index, program, stop_after=9)  # in the first branch
    assert not (tmp_path / "stopped" / "runs" / run_id(some[1]) / "record.json").exists()
    assert list((stopped.folder / "checkpoints").glob("*/*"))
    assert train(tmp_path / "stopped", some, index, program).resumed >= 1
    results = results_of(tmp_path / "whole", some)
    assert results_of(tmp_path / "stopped", some) == results
    assert all(result["status"] == "ok" and 2 < result["loss"] < 5 for result in results.values())


def test_a_study_is_extended_by_shorter_and_longer_runs(undisturbed, runs, index, program, tmp_path):
    for extension in ([runs[1]], runs[:2], runs):
        job = train(tmp_path, extension, index, program)
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    assert steps_of(tmp_path, runs[2]) == steps_of(undisturbed, runs[2])
    assert job.resumed == 1  # the longest went on from where the trunk had come to


@pytest.mark.slow
def test_final_states_are_kept_when_asked_for(undisturbed, runs, index, program, tmp_path):
    job = train(tmp_path, runs, index, program, keep_final=True, checkpoint_seconds=0.0)
    assert job.failed == 0 and not list(tmp_path.glob("runs/*/error.json"))
    for run in runs:
        assert (job.folder / "checkpoints" / run_id(run) / str(run.steps)).is_dir()
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)


def test_a_failing_run_does_not_stop_the_others(undisturbed, runs, index, program, tmp_path):
    real, calls = evaluator_of(program, index), []

    def evaluate(params):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("made up")
        return real(params)

    job = train(tmp_path, runs, index, program, evaluate=evaluate)
    error = json.loads((tmp_path / "runs" / run_id(runs[1]) / "error.json").read_text())
    assert job.failed == 1 and error["kind"] == "exception" and error["attempt"] == 1
    train(tmp_path, runs, index, program)
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    assert not list(tmp_path.glob("runs/*/error.json"))


def test_killed_while_recording_it_goes_on(undisturbed, runs, index, program, tmp_path):
    """A checkpoint at the last step and an evaluation row, but no record."""
    train(tmp_path, runs[:1], index, program, checkpoint_seconds=0.0, keep_final=True)
    (tmp_path / "runs" / run_id(runs[0]) / "record.json").unlink()
    train(tmp_path, runs[:1], index, program, checkpoint_seconds=0.0)
    assert results_of(tmp_path, runs[:1]) == {run_id(runs[0]): results_of(undisturbed, runs)[run_id(runs[0])]}
    assert sum("eval/loss" in row for row in curve(tmp_path, runs[0])) == 1


@pytest.mark.parametrize("checkpoint_seconds", [1e9, 0.0])
def test_a_diverged_trunk_ends_all_its_runs(index, program, tmp_path, checkpoint_seconds):
    diverging = [
        make_run(learning_rate=1e30, fingerprint=index.fingerprint, batch_sequences=2, steps=steps)
        for steps in (200, 300)
    ]
    train(tmp_path, diverging, index, program, checkpoint_seconds=checkpoint_seconds)
    for run, result in zip(diverging, results_of(tmp_path, diverging).values(), strict=True):
        assert result["status"] == "diverged" and result["loss"] is None
        assert "not finite at step" in result["status_reason"]
        assert steps_of(tmp_path, run)[-1] <= 16  # no further than the chunk after the one that diverged


def test_an_evaluation_that_is_not_finite_is_divergence(index, program, tmp_path):
    run = make_run(
        learning_rate=1e30, fingerprint=index.fingerprint, batch_sequences=2, steps=1,
        schedule=Constant(kind="constant", warmup=0),
    )  # fmt: skip
    train(tmp_path, [run], index, program)
    result = results_of(tmp_path, [run])[run_id(run)]
    assert result["status"] == "diverged" and "evaluation not finite" in result["status_reason"]


@pytest.mark.slow
def test_divergence_is_a_record(index, tmp_path):
    run = make_run(learning_rate=1e30, fingerprint=index.fingerprint, batch_sequences=2, steps=300)
    folder = write_job(tmp_path, [run], index)
    finish(folder)
    result = results_of(tmp_path, [run])[run_id(run)]
    assert result["status"] == "diverged" and result["loss"] is None
    assert "not finite at step" in result["status_reason"]
    assert curve(tmp_path, run)[-1]["step"] < 60  # stopped by the end of the next chunk, not trained on


def test_dies_with_its_driver(runs, index, tmp_path):
    folder = write_job(tmp_path, runs, index)
    read, write = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "scaling.train", str(folder)], stdin=read, stdout=subprocess.DEVNULL
    )
    os.close(read)
    time.sleep(0.5)
    assert process.poll() is None
    os.close(write)
    assert process.wait(timeout=20) == 1


def test_metrics_are_read_one_chunk_late(index, program, tmp_path, monkeypatch):
    """The device has the next chunk when those of the one before are asked for, and nothing waits between."""
    run, events = make_run(fingerprint=index.fingerprint, batch_sequences=2, steps=32), list[str]()
    train_chunk, read = Lanes.train, jax.device_get

    def dispatched(lanes, asked):
        events.append("chunk")
        return train_chunk(lanes, asked)

    def waited(tree):
        if isinstance(tree, ChunkMetrics):
            events.append("metrics")
        return read(tree)

    monkeypatch.setattr(Lanes, "train", dispatched)
    monkeypatch.setattr("scaling.train.lanes.jax.device_get", waited)
    train(tmp_path, [run], index, program)
    branch = -(-run.branch_step // 8)
    for segment in (events[: 2 * branch], events[2 * branch :]):
        chunks = len(segment) // 2
        assert segment == ["chunk", *["chunk", "metrics"] * (chunks - 1), "metrics"] and chunks > 1
