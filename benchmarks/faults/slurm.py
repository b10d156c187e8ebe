"""On a real Slurm, at random moments: a step, a job, the driver or a node of the cluster dies.

The cluster is the one of the tests (``tests/slurm/cluster.py``): Debian, root.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random

from benchmarks.faults.kills import rewritten, wait_for_progress
from benchmarks.faults.study import Row, Trial, cleared, differences, trained_twice
from tests.slurm import cluster, jobs

KINDS = {
    "step": "all processes of a step killed",
    "job": "a job cancelled or requeued behind the driver's back",
    "driver": "the driver killed",
    "node": "a node killed: its daemon and all that runs there",
}
KILLS, PER_STUDY = 20, 10
PROFILE = "kind: slurm\npartition: main\ntime: 10 min\ncpus: 1\nconcurrent: 3\n"


def section(calm: Path, place: Path, chance: Random, *, short: bool) -> list[Row]:
    rows = {kind: Row(f"Slurm: {text}") for kind, text in KINDS.items()}
    try:
        cluster.start()
    except (cluster.CannotSetUp, PermissionError) as reason:
        return [Row("Slurm", note=f"skipped: {reason}")]
    profile, number, kills = place / "cluster.yaml", 0, 4 if short else KILLS
    profile.write_text(PROFILE)
    while (done := sum(row.tried for row in rows.values())) < kills:
        number += 1
        trial = Trial(place / f"slurm-{number}", options=("--on", str(profile)))
        with cleared(trial), ExitStack() as nodes:
            nodes.callback(_clean, trial)
            found, problems = _study(trial, chance, min(PER_STUDY, kills - done))
            problems = problems or differences(calm, trial) + trained_twice(trial)
        for kind, row in rows.items():
            row.add(problems if found[kind] else [], found[kind])
    rows["node"].note = f"{number} studies on three nodes"
    return list(rows.values())


def _study(trial: Trial, chance: Random, budget: int) -> tuple[Counter[str], list[str]]:
    """Launch again and again until the study is complete; kills by kind, problems."""
    found: Counter[str] = Counter()
    problems, launches, records = [], 0, {}
    while launches < 10 * budget:
        launches += 1
        process = trial.start()
        while process.poll() is None:
            wait_for_progress(trial, chance, process.poll)
            if process.poll() is not None:
                break
            _mend(trial)
            if found.total() < budget and (kind := _break(trial, process.pid, chance)):
                found[kind] += 1
                problems += rewritten(trial, records)
        code = process.wait()
        problems += rewritten(trial, records)
        if code == 0:
            return found, problems
        if code not in (1, -signal.SIGKILL):
            return found, [f"exit code {code}: {trial.heard()[-300:]}"]
    return found, [f"not complete after {launches} launches"]


def _break(trial: Trial, driver: int, chance: Random) -> str | None:
    """Do one kind of harm that can be done now; which it was."""
    running = [job for job in jobs.of_study(trial.folder) if job.state == "RUNNING"]
    kind = chance.choice(list(KINDS)) if running else "driver"
    if kind == "driver":
        os.kill(driver, signal.SIGKILL)
        return kind
    job = chance.choice(running)
    match kind:
        case "step":
            jobs.kill_step(job)
        case "job":
            command = chance.choice((["scancel"], ["scontrol", "requeue"]))
            subprocess.run([*command, job.id], capture_output=True, timeout=60)
        case "node":
            jobs.kill_node(job.node)
    return kind


def _mend(trial: Trial) -> None:
    """Start nodes that Slurm has given up, and jobs that it holds after a requeue: waiting shows nothing."""
    for node, state in cluster.node_states().items():
        if state.startswith("down"):
            cluster.start_node(node)
    for job in jobs.of_study(trial.folder):
        if job.state == "PENDING" and job.reason == "BeginTime":
            jobs.start_held(job)


def _clean(trial: Trial) -> None:
    """Leave no job of the study and no dead node behind."""
    for node in cluster.NODES:
        cluster.start_node(node)
    for job in jobs.of_study(trial.folder):
        if not job.ended:
            subprocess.run(["scancel", "--full", job.id], capture_output=True, timeout=60)
