"""Jobs: branched = alone, killed and resumed = undisturbed, divergence, failures."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from scaling.data.index import resolve
from scaling.data.store import open_store
from scaling.lease import acquire
from scaling.plan.run import WSD, Constant, canonical_json, run_id, trunk_id
from scaling.train.environment import use_compilation_cache
from scaling.train.evaluate import make_evaluator
from scaling.train.job import Job, Member, Stopped
from scaling.train.loop import make_program
from tests.train.runs import TINY, make_run

DATA = dict(corpus="state-of-the-union", tokenizer="bytes", context=32, eval_documents=24, eval_tokens=4096)


@pytest.fixture(scope="module")
def index():
    return resolve(**DATA)


@pytest.fixture(scope="module")
def runs(index):
    """Three horizons of one trunk."""

    def horizon(steps, decay, shape):
        schedule = WSD(warmup_steps=10, decay_steps=decay, shape=shape)
        return make_run(steps=steps, schedule=schedule, fingerprint=index.fingerprint, batch_sequences=2)

    return [horizon(60, 20, "1-sqrt"), horizon(120, 24, "linear"), horizon(300, 60, "1-sqrt")]


def write_job(results, runs, index, **execution):
    folder = results / "jobs" / trunk_id(runs[0])
    folder.mkdir(parents=True, exist_ok=True)
    job = {
        "schema": 1,
        "study": "test",
        "job_id": folder.name,
        "data": DATA | {"fingerprint": index.fingerprint, "eval_id": index.eval_id},
        "runs": [
            {"run_id": run_id(r), "label": "x", "run": json.loads(canonical_json(r)), "flops_spent": 1}
            for r in runs
        ],
        "execution": {"checkpoint_seconds": 1e9, "chunk_steps": 8, "keep_final": False} | execution,
    }
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "scaling.train", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(folder, code=0):
    process = start(folder)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == code, out
    return out


def results_of(results, runs):
    return {
        run_id(r): json.loads((results / "runs" / run_id(r) / "record.json").read_text())["result"]
        for r in runs
    }


def curve(results, run):
    lines = (results / "runs" / run_id(run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, runs, index):
    results = tmp_path_factory.mktemp("undisturbed")
    finish(write_job(results, runs, index))
    return results


def test_results_are_whole(undisturbed, runs, index):
    for run, result in zip(runs, results_of(undisturbed, runs).values(), strict=True):
        assert result["status"] == "ok" and 2 < result["loss"] < 5
        assert len(result["document_losses"]) == 24
        assert result["tokens"] == run.steps * 64 and result["eval_tokens"] >= 4096
        steps = [row["step"] for row in curve(undisturbed, run) if "train/loss" in row]
        assert steps == sorted(set(steps)) and steps[-1] == run.steps
        assert set(range(8, run.branch_step, 8)) <= set(steps)


def test_branched_equals_alone(undisturbed, runs, index, tmp_path):
    for run in runs[:2]:
        finish(write_job(tmp_path / run_id(run), [run], index))
        assert (
            results_of(tmp_path / run_id(run), [run])[run_id(run)]
            == results_of(undisturbed, runs)[run_id(run)]
        )


def test_killed_and_resumed_equals_undisturbed(undisturbed, runs, index, tmp_path):
    """Killed at random steps of the trunk, of a branch and of the later trunk; a checkpoint a chunk."""
    chance = random.Random()
    folder = write_job(tmp_path, runs, index, checkpoint_seconds=0.0)
    watched = [
        folder / "trunk.jsonl",
        tmp_path / "runs" / run_id(runs[1]) / "metrics.jsonl",
        folder / "trunk.jsonl",
    ]
    kills, at = 0, (chance.randint(1, 4), chance.randint(13, 15), chance.randint(16, 24))
    for path, rows in zip(watched, at, strict=True):
        process = start(folder)
        while process.poll() is None:
            if path.exists() and path.read_text().count("\n") >= rows:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        process.communicate()
    finish(folder)
    assert kills >= 2, at
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs), at
    timeless = [
        [{k: v for k, v in row.items() if k != "wall_time"} for row in curve(r, runs[2])]
        for r in (tmp_path, undisturbed)
    ]
    assert timeless[0] == timeless[1], at
    resumed = [json.loads(p.read_text())["execution"]["resumed"] for p in tmp_path.glob("runs/*/record.json")]
    assert max(resumed) >= 1
    # What is left serves an extension by a longer run; the branches' own are gone.
    assert {path.parent.name for path in (folder / "checkpoints").glob("*/*")} == {"trunk"}


def test_asked_to_stop_it_checkpoints_and_goes_on(undisturbed, runs, index, tmp_path):
    folder = write_job(tmp_path, runs[2:], index)
    process = start(folder)
    while not (folder / "trunk.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert list((folder / "checkpoints").glob("*/*"))
    finish(folder)
    assert results_of(tmp_path, runs[2:]) == {run_id(runs[2]): results_of(undisturbed, runs)[run_id(runs[2])]}


@pytest.fixture(scope="module")
def program():
    use_compilation_cache()
    return make_program(TINY, 2, chunk_steps=8)


def train(folder, runs, index, program, *, stop_after=None, evaluate=None, **execution):
    """The job of these runs in this process, without those that have a record; returns the Job.

    It is asked to stop after ``stop_after`` chunks.
    """
    chunks = 0

    def stop():
        nonlocal chunks
        chunks += 1
        return stop_after is not None and chunks > stop_after

    store = open_store(index)
    members = [
        Member(run_id(r), r, 1) for r in runs if not (folder / "runs" / run_id(r) / "record.json").exists()
    ]
    place = folder / "jobs" / trunk_id(runs[0])
    place.mkdir(parents=True, exist_ok=True)
    lease = acquire(place)
    job = Job(
        folder=place,
        members=members,
        program=program,
        store=store,
        index=index,
        evaluate=evaluate or make_evaluator(program, store),
        stop_asked=stop,
        execution={"checkpoint_seconds": 1e9, "keep_final": False} | execution,
        environment={},
        lease=lease,
    )
    with contextlib.suppress(Stopped):
        job.failed = job.run()
    lease.release()
    return job


def steps_of(results, run):
    return [row["step"] for row in curve(results, run) if "train/loss" in row]


def test_stopped_in_a_branch_it_keeps_the_trunk_too(undisturbed, runs, index, program, tmp_path):
    """Chunks of 8 steps: 5 to step 40, 3 of the first branch, 7 to step 96, then the second branch."""
    job = train(tmp_path, runs, index, program, stop_after=16)
    assert steps_of(tmp_path, runs[1])[-1] > runs[1].branch_step
    assert (job.folder / "checkpoints" / "trunk" / str(runs[1].branch_step)).is_dir()
    again = train(tmp_path, runs, index, program)
    assert again.steps_done == 300 + runs[1].steps - runs[1].branch_step  # nothing of the trunk twice
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    assert steps_of(tmp_path, runs[2]) == steps_of(undisturbed, runs[2])


def test_a_study_is_extended_by_shorter_and_longer_runs(undisturbed, runs, index, program, tmp_path):
    for extension in ([runs[1]], runs[:2], runs):
        job = train(tmp_path, extension, index, program)
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    assert steps_of(tmp_path, runs[2]) == steps_of(undisturbed, runs[2])
    assert job.resumed == 1  # the longest went on from where the trunk had come to


def test_final_states_are_kept_when_asked_for(undisturbed, runs, index, program, tmp_path):
    job = train(tmp_path, runs, index, program, keep_final=True, checkpoint_seconds=0.0)
    assert job.failed == 0 and not list(tmp_path.glob("runs/*/error.json"))
    for run in runs:
        assert (job.folder / "checkpoints" / run_id(run) / str(run.steps)).is_dir()
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)


def test_a_failing_run_does_not_stop_the_others(undisturbed, runs, index, program, tmp_path):
    real, calls = make_evaluator(program, open_store(index)), []

    def evaluate(params):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("made up")
        return real(params)

    job = train(tmp_path, runs, index, program, evaluate=evaluate)
    error = json.loads((tmp_path / "runs" / run_id(runs[1]) / "error.json").read_text())
    assert job.failed == 1 and error["kind"] == "out_of_memory" and error["attempt"] == 1
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
        assert steps_of(tmp_path, run)[-1] <= 16  # no further than the chunk after the one that diverged


def test_an_evaluation_that_is_not_finite_is_divergence(index, program, tmp_path):
    run = make_run(
        learning_rate=3e38, fingerprint=index.fingerprint, batch_sequences=2, steps=1,
        schedule=Constant(warmup_steps=0),
    )  # fmt: skip
    train(tmp_path, [run], index, program)
    result = results_of(tmp_path, [run])[run_id(run)]
    assert result["status"] == "diverged" and "evaluation not finite" in result["status_reason"]


def test_divergence_is_a_record(index, tmp_path):
    run = make_run(learning_rate=1e30, fingerprint=index.fingerprint, batch_sequences=2, steps=300)
    folder = write_job(tmp_path, [run], index)
    finish(folder)
    result = results_of(tmp_path, [run])[run_id(run)]
    assert result["status"] == "diverged" and result["loss"] is None
    assert "not finite at step" in result["status_reason"]
    assert curve(tmp_path, run)[-1]["step"] < 60  # stopped by the end of the next chunk, not trained on


def test_other_data_than_planned_is_refused(runs, index, tmp_path):
    folder = write_job(tmp_path, runs, index)
    job = json.loads((folder / "job.json").read_text())
    job["data"]["fingerprint"] = "f" * 12
    (folder / "job.json").write_text(json.dumps(job))
    assert "planned with ffffffffffff" in finish(folder, code=1)


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
