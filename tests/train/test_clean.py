"""After `scaling clean` a study resumes, is evaluated again and is extended as if nothing were gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaling.corpora.evaluation import Evaluation
from scaling.data.store import open_windows
from scaling.files import write_json
from scaling.plan.data import plan_data
from scaling.plan.plan import Plan, PlannedRun, make_jobs
from scaling.run import run_id, trunk_id
from scaling.store.folder import ResultsFolder
from scaling.store.lease import acquire
from scaling.sweep.clean import clean
from scaling.train.evaluate import make_evaluator
from scaling.train.reevaluate import reevaluate
from tests.data.made_up import shipped_index
from tests.train.jobs import SIZES, members_of, results_of, steps_of, train


def plan_for(folder, runs, index):
    """Write the plan of these runs; returns its folder."""
    planned = [
        PlannedRun(
            run_id=run_id(run), label=f"x-{run.steps}", role="fit", job_id=trunk_id(run),
            trunk_id=trunk_id(run), run=run, unique_tokens=1, epochs=1.0,
        )
        for run in runs
    ]  # fmt: skip
    data = plan_data(index, Evaluation(documents=24, tokens=4096))
    plan = Plan(study="x", spec_sha="0", data=data, runs=tuple(planned), jobs=make_jobs(planned))
    write_json(folder / "plan.json", plan.to_json())
    return ResultsFolder(folder)


def checkpoints(results):
    return {f"{path.parent.name}/{path.name}" for path in results.path.glob("jobs/*/checkpoints/*/*")}


def test_it_is_extended_by_shorter_and_longer_runs(undisturbed, runs, index, program, tmp_path):
    train(tmp_path, [runs[1]], index, program)
    results = plan_for(tmp_path, [runs[1]], index)
    assert checkpoints(results) and clean(results).bytes > 10_000 and not checkpoints(results)
    train(tmp_path, runs, index, program)
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    assert steps_of(tmp_path, runs[2]) == steps_of(undisturbed, runs[2])


@pytest.mark.parametrize("everything", [False, True])
def test_it_resumes_where_it_was(undisturbed, runs, index, program, tmp_path, everything):
    """Stopped in the second branch, when the first run has a record."""
    train(tmp_path, runs, index, program, stop_after=16)
    results = plan_for(tmp_path, runs, index)
    kept = checkpoints(results)
    assert (results.recorded(), len(kept)) == ({run_id(runs[0])}, 2)
    clean(results, everything)
    assert checkpoints(results) == kept
    again = train(tmp_path, runs, index, program)
    assert again.steps_done == 300 + runs[1].steps - runs[1].branch_step, "nothing of the trunk twice"
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)


def test_it_is_evaluated_again_unless_all_was_asked_for(runs, index, program, tmp_path):
    other = shipped_index(**(SIZES | {"tokens": 8192}))
    job = train(tmp_path, runs[:1], index, program, keep_final=True)
    results, final = plan_for(tmp_path, runs[:1], index), f"{run_id(runs[0])}/{runs[0].steps}"
    clean(results)
    assert checkpoints(results) == {final}
    windows = open_windows(other)
    bench = replace(
        job.bench,
        lease=acquire(job.folder),
        windows=windows,
        evaluate=make_evaluator(program, windows),
        stop_asked=lambda: False,
    )
    before = results_of(tmp_path, runs[:1])
    assert reevaluate(bench, members_of(runs[:1])) == 0
    (after,) = results_of(tmp_path, runs[:1]).values()
    assert after["eval_id"] == other.eval_id and after["loss"] != before[run_id(runs[0])]["loss"]
    bench.lease.release()
    clean(results, everything=True)
    assert not checkpoints(results)
    assert results_of(tmp_path, runs[:1]) == {run_id(runs[0]): after}
