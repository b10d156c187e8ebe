"""A study by a trainer of one's own, from the spec to the law, as a user runs it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import scaling.external
from scaling.plan.expand import plan_spec
from tests.supervisor.jobs import alive, kill, rows, wait_for

SPEC = f"""
study: mine
trainer: {{kind: command, version: 1, argv: ["{sys.executable}", train.py, --run, "{{run}}"], resume: true}}
data: {{corpus: {{kind: external, tokens: 1e9}}, context: 8}}
family:
  kind: external
  sizes:
    - {{name: s, params: 1000, flops_per_token: 6000, config: {{width: 4}}}}
    - {{name: m, params: 2000, flops_per_token: 12000, config: {{width: 8}}}}
    - {{name: l, params: 4000, flops_per_token: 24000, config: {{width: 16}}}}
recipe:
  kind: external
  learning_rate: {{kind: power, coefficient: 0.2, of: width, exponent: -1}}
  batch_tokens: 16
design: {{kind: isoflop, budgets: [1e7, 3e7, 1e8], min_steps: 5}}
holdout: [{{name: l, flops: 2e8}}]
execution: {{workers: 2, lease_seconds: 2}}
"""
PROGRAM = """
import os, sys, time
from pathlib import Path
from external import External
run = External()
params = run.asked["size"]["params"]
def loss(step): return 1 + params ** -0.3 + (step * run.batch_tokens) ** -0.3
assert run.learning_rate == 0.2 / run.config["width"]
slow = Path(run.asked["paths"]["out"]).parents[2] / "slow"
step = 0
if saved := run.latest():
    step = saved[0]
    (saved[1].parents[1] / "went_on").write_text(str(step))
while step < run.steps:
    step += 1
    run.log(step, loss(step))
    if step == 5 and slow.exists():
        (slow / f".{run.run_id}").write_text(str(os.getpid()))
        (slow / f".{run.run_id}").rename(slow / run.run_id)
        while slow.exists() and not run.stop_asked:
            time.sleep(0.01)
    if step == 3 or run.save_due(step):
        run.save(step, lambda folder: None)
    run.exit_if_asked()
run.finish(loss=loss(run.steps), accuracy=1 - loss(run.steps) / 10)
"""


@pytest.fixture
def spec(tmp_path) -> Path:
    folder = tmp_path / "spec"
    folder.mkdir()
    shutil.copy(scaling.external.__file__, folder / "external.py")
    (folder / "train.py").write_text(PROGRAM)
    (folder / "mine.yaml").write_text(SPEC)
    return folder / "mine.yaml"


def scale(*words: object, **more) -> subprocess.Popen[str]:
    """Start the command line, away from the spec."""
    command = [sys.executable, "-m", "scaling", *map(str, words)]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )


def printed(*words: object) -> str:
    process = scale(*words)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0, out
    return out


def test_the_spec_of_the_page_is_one(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own_trainer.md").read_text("utf-8")
    [text] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    _, plan = plan_spec(tmp_path / "mine.yaml")
    assert {run.role for run in plan.runs} == {"fit", "holdout"} and len(plan.runs) == 10


@pytest.mark.slow
def test_a_study_is_planned_trained_fitted_and_tested(spec, tmp_path):
    results = tmp_path / "results"
    assert "train.py" in printed("plan", spec)
    printed("run", spec, "--results", results)
    frame = pd.read_csv(results / "runs.csv")
    assert len(frame) == 10 and set(frame["status"]) == {"ok"}
    assert (frame["accuracy"] - (1 - frame["loss"] / 10)).abs().max() < 1e-12
    status = printed("status", results)
    assert "10 done" in status or "done" in status
    label = frame["label"].iloc[0]
    assert "loss" in printed("logs", results, label)
    assert "alpha" in printed("fit", results / "runs.csv", "--law", "chinchilla")
    assert len(list((results / "forecasts").glob("*.score.json"))) == 1
    curves = sorted((results / "runs").glob("*/metrics.jsonl"))
    assert len(curves) == 10 and all(rows(curve)[-1]["eval/loss"] for curve in curves)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["driver killed", "command killed", "Ctrl-C"])
def test_kills_cost_no_run_and_no_checkpoint(how, spec, tmp_path):
    results = tmp_path / "results"
    slow = results / "slow"
    slow.mkdir(parents=True)
    driver = scale("run", spec, "--results", results, start_new_session=True)
    pids = wait_for(
        lambda: len(at := list(slow.glob("[!.]*"))) == 2 and [int(path.read_text()) for path in at], 90
    )
    match how:
        case "driver killed":
            kill(driver.pid)
        case "command killed":
            shutil.rmtree(slow)
            kill(pids[0])
        case "Ctrl-C":
            os.kill(driver.pid, signal.SIGINT)
    out, _ = driver.communicate(timeout=240)
    wait_for(lambda: not any(map(alive, pids)))
    assert driver.returncode == {"driver killed": -9, "command killed": 0, "Ctrl-C": 130}[how], out
    if how != "command killed":
        shutil.rmtree(slow)
        printed("run", spec, "--results", results)
    assert len(pd.read_csv(results / "runs.csv")) == 10
    went_on = list(results.glob("jobs/*/external/went_on"))
    assert went_on and all(int(one.read_text()) >= 3 for one in went_on)
    for curve in results.glob("runs/*/metrics.jsonl"):
        steps = [row["step"] for row in rows(curve) if "train/loss" in row]
        assert steps == list(range(1, len(steps) + 1))


BAD = {
    "contract": ("print('no idea')", "without result.json"),
    "timeout": ("import time; time.sleep(600)", "no progress for execution.timeout_minutes"),
    "exception": ("raise ValueError('it is me')", "exited with status 1: ValueError: it is me"),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_trainer_is_told_in_status(kind, spec, tmp_path):
    program, said = BAD[kind]
    (spec.parent / "train.py").write_text(program)
    limits = ["--set", "execution.timeout_minutes=0.05", "--set", "design.budgets=[1e7]"]
    process = scale("run", spec, "--results", tmp_path / "results", *limits)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 1 and said in out
    states = json.loads(scale("status", tmp_path / "results", "--json").communicate(timeout=240)[0])
    assert states["counts"]["failed"] == 3 and states["kinds"] == {kind: 3}
    assert all(said in row["reason"] for row in states["rows"] if row["state"] == "failed")
    assert all(row["failures"] == 2 for row in states["rows"] if row["state"] == "failed")  # tried again
