"""Studies on a real Slurm: whatever happens to their jobs, they end as if nothing had happened."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.faults.study import Trial, cleared, curves, differences, results, trained_twice
from scaling.plan.plan import load_plan
from scaling.run import ExternalRun
from scaling.store.folder import ResultsFolder
from scaling.sweep.slurm.submission import PilotNote, Submission, pilot_notes, submissions
from tests.slurm import jobs
from tests.slurm.jobs import QueuedJob, wait_for
from tests.slurm.trainer import expected

pytestmark = pytest.mark.slurm

FOUR = ("--set", "design.steps=[60]", "--set", "holdout=[]")
LONG = ("--set", "design.steps=[200]", "--set", "holdout=[]")
LIMIT = 300  # seconds, on a machine that does much else
TOGETHER = "concurrent: 1\nworkers: 4\ncpus: 2\n"
"""Four runs at the same time in one allocation, which has its node for itself: what happens to the node
happens to no other test."""


def live(trial: Trial) -> list[QueuedJob]:
    return [job for job in jobs.of_study(trial.folder) if not job.ended]


def running(trial: Trial) -> list[QueuedJob]:
    return [job for job in jobs.of_study(trial.folder) if job.state == "RUNNING"]


def made(trial: Trial) -> list[Submission]:
    return submissions(ResultsFolder(trial.folder))


def notes(trial: Trial) -> list[PilotNote]:
    """What the pilots of the study say of themselves."""
    return [note for one in made(trial) for note in pilot_notes(ResultsFolder(trial.folder), one.id)]


def went_on(trial: Trial) -> list[bool]:
    """Whether the last start of each run went on from a checkpoint."""
    folder = ResultsFolder(trial.folder)
    records = [folder.record(run.run_id) for run in load_plan(folder).runs]
    return [bool(record and record.execution.resumed) for record in records]


def check_complete(trial: Trial) -> None:
    """Every run of the plan has the loss of all its steps, each in its curve once, and ended once."""
    plan, found, rows = load_plan(ResultsFolder(trial.folder)), results(trial.folder), curves(trial.folder)
    assert {run.run_id for run in plan.runs} == found.keys()
    for run in plan.runs:
        assert isinstance(run.run, ExternalRun)
        loss = expected(run.run.size.params, run.run.tokens, run.run.steps, run.run.seed)
        assert found[run.run_id]["loss"] == loss, run.label
        steps = [row["step"] for row in rows[run.run_id] if "train/loss" in row]
        assert steps == list(range(1, run.run.steps + 1)), run.label
    ends = (trial.folder.parent / "ends").read_text().split()
    assert sorted(ends) == sorted(found)


def test_before_its_time_limit_a_job_saves_and_is_queued_again(trial: Trial):
    """Slurm counts in minutes and half ones: of two, the signal comes after 60 to 90 seconds."""
    ask(trial, f"{TOGETHER}time: 2 min\n")
    begun(trial, *LONG, "--set", "recipe.pause=0.5")
    finish(trial)
    check_complete(trial)
    assert [note.restarts >= 1 for note in notes(trial)] == [True]
    assert all(went_on(trial))


def test_twelve_runs_are_an_array_of_twelve(trial: Trial):
    assert trial.run()[0] == 0
    check_complete(trial)
    arrays = [one for one in made(trial) if one.kind == "pilots"]
    assert [one.tasks for one in arrays] == [12, 1]  # the held-out run when its forecast was frozen
    wait_for(lambda: not live(trial), LIMIT, "an empty queue")
    assert {job.state for job in jobs.of_study(trial.folder)} <= {"COMPLETED", "CANCELLED"}


def ask(trial: Trial, lines: str) -> None:
    """Add fields to the profile of the cluster."""
    with Path(trial.options[1]).open("a") as profile:
        profile.write(lines)


def begun(trial: Trial, *options: str) -> QueuedJob:
    """Start the study; return a job that trains, once a run has saved a checkpoint."""
    process = trial.start(*options)
    wait_for(lambda: process.poll() is not None or saved(trial), LIMIT, "a checkpoint")
    assert process.poll() is None, trial.heard()
    return running(trial)[0]


def saved(trial: Trial) -> bool:
    return any(trial.folder.glob("jobs/**/state"))


def held(trial: Trial) -> list[QueuedJob]:
    return [job for job in live(trial) if job.reason == "BeginTime"]


def finish(trial: Trial) -> None:
    """Let the driver end well, without Slurm's waiting after a requeue."""
    process = trial.launched[-1]
    while process.poll() is None:
        for job in held(trial):
            jobs.start_held(job)
        wait_for(lambda: process.poll() is not None or held(trial), LIMIT, "the end of the study")
    assert process.returncode == 0, trial.heard()


def test_a_killed_step_is_submitted_again(trial: Trial):
    ask(trial, TOGETHER)
    job = begun(trial, *FOUR)
    jobs.kill_step(job)
    finish(trial)
    check_complete(trial)
    assert [one.tasks for one in made(trial)] == [1, 1]


@pytest.mark.parametrize("requeue", [jobs.preempt, jobs.requeue])
def test_a_requeued_job_is_shown_as_held_and_resumes(trial: Trial, requeue: Callable[[QueuedJob], None]):
    ask(trial, TOGETHER)
    job = begun(trial, *LONG)
    requeue(job)
    wait_for(lambda: held(trial), LIMIT, "a requeued job")
    shown = trial.status()["slurm"]["rows"]
    assert [(one["state"], one["requeued"]) for one in shown] == [("held", True)]
    finish(trial)
    check_complete(trial)
    assert [note.restarts for note in notes(trial)] == [1]
    assert any(went_on(trial))


def test_a_dead_node_is_found_by_its_leases(trial: Trial):
    ask(trial, "concurrent: 2\nworkers: 2\ncpus: 2\n")
    job = begun(trial, *FOUR)
    with jobs.dead_node(job.node):
        finish(trial)
    check_complete(trial)


@pytest.mark.parametrize(
    "operations, submitted",
    [("run sbatch", [False, True]), ("run sbatch\nrename .*/slurm/", [True])],
    ids=["before sbatch", "after it"],
)
def test_a_driver_killed_at_a_submission_submits_once(trial: Trial, operations: str, submitted: list[bool]):
    options = (*LONG, "--set", "recipe.pause=0.1")  # there is work left for the second driver
    code, _ = trial.run(*options, CHAOS_DIE=operations)
    assert code == -signal.SIGKILL
    assert [one.state for one in made(trial)] == ["intended"]
    assert bool(live(trial)) == submitted[0]
    assert trial.run(*options)[0] == 0
    check_complete(trial)
    assert [one.job is not None for one in made(trial)] == submitted
    assert len({job.name for job in jobs.of_study(trial.folder)}) == 1


def test_two_drivers_submit_once(trial: Trial):
    drivers = [trial.start(*FOUR), trial.start(*FOUR)]
    assert [driver.wait(LIMIT) for driver in drivers] == [0, 0]
    check_complete(trial)
    assert [one.tasks for one in made(trial)] == [4]


def test_cancel_ends_jobs_and_driver(trial: Trial):
    begun(trial, *LONG, "--set", "recipe.pause=1")
    cancel = [sys.executable, "-m", "scaling", "cancel", str(trial.folder)]
    subprocess.run(cancel, check=True, timeout=LIMIT)
    wait_for(lambda: not live(trial), LIMIT, "an empty queue")
    assert trial.launched[0].wait(LIMIT) == 130


def test_detached_it_goes_on_alone(trial: Trial):
    assert trial.run("--detach")[0] == 0
    wait_for(lambda: (trial.folder / "summary.txt").exists() and not live(trial), LIMIT, "the report")
    check_complete(trial)


def test_detached_a_growing_study_is_decided_by_the_job_that_follows(trial: Trial):
    design = "design={kind: isoflop, budgets: [4e9, 8e9], window: {center: auto, sizes: 2}}"
    assert trial.run("--detach", "--set", design, "--set", "holdout=[]")[0] == 0
    wait_for(lambda: (trial.folder / "summary.txt").exists() and not live(trial), LIMIT, "the report")
    check_complete(trial)
    runs = load_plan(ResultsFolder(trial.folder)).runs
    assert [sum(run.budget == budget for run in runs) for budget in (4e9, 8e9)] == [4, 2]
    assert [(one.kind, one.tasks) for one in made(trial) if one.kind == "pilots"] == [
        ("pilots", 4),
        ("pilots", 2),
    ]


def test_records_of_two_nodes_are_those_of_one_machine(built_in: Trial):
    """Bit for bit, although one of its jobs is preempted while it trains."""
    calm = Trial(built_in.folder.with_name("calm"))
    with cleared(calm):
        here = calm.start()
        built_in.start()
        wait_for(lambda: built_in.progress() and running(built_in), LIMIT, "a job that trains")
        jobs.preempt(running(built_in)[0])
        assert here.wait(LIMIT) == 0
        finish(built_in)
    assert differences(calm.folder, built_in) + trained_twice(built_in) == []


def test_two_nodes_train_a_job_together(gang: Trial):
    """To rounding, the loss of one process: the sum over the batch goes over both."""
    small = ("--set", "family.widths=[16]", "--set", "design.budgets=[2e9]", "--set", "noise=null")
    small = (*small, "--set", "holdout=[]")
    alone = Trial(gang.folder.with_name("alone"))
    with cleared(alone):
        alone.run(*small)
        gang.run(*small)
    (run_id,), folder = results(alone.folder), ResultsFolder(gang.folder)
    record = folder.record(run_id)
    assert record and record.execution.lowering and record.execution.lowering.mesh
    assert record.execution.lowering.mesh.data == 2 and record.execution.devices == 2
    assert record.result.loss == pytest.approx(results(alone.folder)[run_id]["loss"], rel=1e-5)
    (job,) = load_plan(folder).jobs
    assert (folder.job_dir(job.job_id) / "log.1.txt").exists(), "that of the second node"
