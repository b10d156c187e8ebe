"""A trainer of one's own on a real Slurm: jobs are preempted, requeued, and resume from its checkpoints."""

import re
import shutil
import uuid

import pandas as pd
import pytest

import scaling.external
from tests.slurm.jobs import preempt, queue, start_held
from tests.supervisor.jobs import rows, wait_for
from tests.supervisor.test_study import PROGRAM, SPEC, scale

PROFILE = "{kind: slurm, partition: main, time: 10 min, cpus: 1, memory: 500 MB}"


@pytest.mark.slurm
def test_a_preempted_trainer_resumes_and_the_study_ends(cluster, tmp_path):
    name, results = f"own-{uuid.uuid4().hex[:8]}", tmp_path / "results"
    slow = results / "slow"
    slow.mkdir(parents=True)
    shutil.copy(scaling.external.__file__, tmp_path / "external.py")
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "cluster.yaml").write_text(PROFILE)
    spec = SPEC.replace("study: mine", f"study: {name}").replace("[1e7, 3e7, 1e8]", "[1e7]")
    (tmp_path / "own.yaml").write_text(re.sub(r"execution: .*", "", spec))
    words = ["run", tmp_path / "own.yaml", "--on", tmp_path / "cluster.yaml", "--results", results]
    driver = scale(*words)
    wait_for(lambda: len(list(slow.glob("[!.]*"))) == 3, 120)
    taken = next(job for job in queue(f"scaling-{name}") if job.state == "RUNNING")
    preempt(taken)
    shutil.rmtree(slow)
    held = wait_for(lambda: [job for job in queue(f"scaling-{name}") if job.reason == "BeginTime"], 60)
    for job in held:
        start_held(job)
    out, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, out
    assert len(pd.read_csv(results / "runs.csv")) == 3  # one budget: no law, so no held-out run
    went_on = list(results.glob("jobs/*/external/went_on"))
    assert went_on and all(int(one.read_text()) >= 5 for one in went_on)  # saved as it was asked to stop
    for curve in results.glob("runs/*/metrics.jsonl"):
        steps = [row["step"] for row in rows(curve) if "train/loss" in row]
        assert steps == list(range(1, len(steps) + 1))
