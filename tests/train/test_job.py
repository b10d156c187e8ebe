"""Jobs: branched = alone, killed and resumed = undisturbed, divergence, failures."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from scaling.data.index import resolve
from scaling.plan.run import WSD, canonical_json, run_id, trunk_id
from tests.train.runs import make_run

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
    """Killed in the trunk, in a branch and in the later trunk, with a checkpoint after every chunk."""
    folder = write_job(tmp_path, runs, index, checkpoint_seconds=0.0)
    watched = [
        folder / "trunk.jsonl",
        tmp_path / "runs" / run_id(runs[1]) / "metrics.jsonl",
        folder / "trunk.jsonl",
    ]
    kills = 0
    for path, rows in zip(watched, (3, 14, 18), strict=True):
        process = start(folder)
        while process.poll() is None:
            if path.exists() and path.read_text().count("\n") >= rows:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.001)
        process.communicate()
    finish(folder)
    assert kills >= 2
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    timeless = [
        [{k: v for k, v in row.items() if k != "wall_time"} for row in curve(r, runs[2])]
        for r in (tmp_path, undisturbed)
    ]
    assert timeless[0] == timeless[1]
    resumed = [json.loads(p.read_text())["execution"]["resumed"] for p in tmp_path.glob("runs/*/record.json")]
    assert max(resumed) >= 1
    assert not list((folder / "checkpoints").glob("*/*"))


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
