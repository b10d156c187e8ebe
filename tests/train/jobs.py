"""Jobs of a few hundred steps: as processes, or in this process with a shared compiled program."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

from scaling.corpora.evaluation import Evaluation
from scaling.counts.lowering import Lowering
from scaling.data.store import open_windows
from scaling.plan.expand import plan_data
from scaling.run import run_id, trunk_id
from scaling.store.lease import acquire
from scaling.store.records import Environment, JobExecution, JobRun, JobSpec
from scaling.train.evaluate import make_evaluator
from scaling.train.job import Stopped, TrunkTrainer
from scaling.train.relief import Relief
from scaling.train.workbench import Workbench

SIZES = dict(context=32, documents=24, tokens=4096)
EVALUATORS = {}  # compiled once for each program and its windows

EXECUTION = {"checkpoint_seconds": 1e9, "keep_final": False, "lease_seconds": 30.0, "threads": 1}


def members_of(runs, asked=lambda run: {}):
    return [JobRun(run_id=run_id(r), label="x", run=r, flops_spent=1, **asked(r)) for r in runs]


def write_job(results, runs, index, asked=lambda run: {}, **execution):
    folder = results / "jobs" / trunk_id(runs[0])
    folder.mkdir(parents=True, exist_ok=True)
    job = JobSpec.model_validate(
        {
            "study": "test",
            "job_id": folder.name,
            "task": "train",
            "branch_steps": [r.branch_step for r in runs],
            "data": plan_data(index, Evaluation(documents=24, tokens=4096)),
            "runs": members_of(runs, asked),
            "execution": EXECUTION | {"chunk_steps": 8} | execution,
        }
    )
    (folder / "job.json").write_text(json.dumps(job.to_json()))
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


def evaluator_of(program, index):
    key = id(program), id(index)
    if key not in EVALUATORS:
        EVALUATORS[key] = program, index, make_evaluator(program, open_windows(index))
    return EVALUATORS[key][-1]


def train(folder, runs, index, program, *, stop_after=None, evaluate=None, asked=lambda run: {}, **execution):
    """The job of these runs in this process, without those that have a record; returns the Job.
    ``asked`` of a run: fields of its JobRun.

    It is asked to stop after ``stop_after`` chunks. The lease is given back whatever happens.
    """
    chunks = 0

    def stop():
        nonlocal chunks
        chunks += 1
        return stop_after is not None and chunks > stop_after

    windows = open_windows(index)
    left = [r for r in runs if not (folder / "runs" / run_id(r) / "record.json").exists()]
    members = members_of(left, asked)
    place = folder / "jobs" / trunk_id(runs[0])
    place.mkdir(parents=True, exist_ok=True)
    lease = acquire(place)
    bench = Workbench(
        folder=place,
        lease=lease,
        relief=Relief(place, Lowering(), runs[0], lease),
        program=program,
        windows=windows,
        evaluate=evaluate or evaluator_of(program, index),
        stop_asked=stop,
        execution=JobExecution.model_validate(EXECUTION | execution),
        environment=Environment(),
    )
    job = TrunkTrainer(bench, members, [run.branch_step for run in runs])
    try:
        with contextlib.suppress(Stopped):
            job.failed = job.run()
    finally:
        lease.release()
    return job


def timeless(results, run, *, training=True):
    """The curve without times; or its evaluations alone."""
    rows = [{k: v for k, v in row.items() if k != "wall_time"} for row in curve(results, run)]
    return [row for row in rows if training or "eval/loss" in row]


def steps_of(results, run):
    return [row["step"] for row in curve(results, run) if "train/loss" in row]
