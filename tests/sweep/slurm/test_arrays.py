"""Groups of jobs that are asked for alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scaling.plan.plan import Plan
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.sweep.queue import Phase, Queue
from scaling.sweep.slurm.arrays import Group, groups, progress
from scaling.sweep.tasks import make_tasks
from tests.sweep.fake_trainer import record
from tests.sweep.plans import by_label, make_plan

CELLS = [(8, 50), (16, 50), (24, 50), (24, 100)]


def execution(**fields: Any) -> SlurmExecution:
    return SlurmExecution.model_validate({"kind": "slurm", **fields})


def test_larger_models_have_an_array_of_their_own() -> None:
    plan = Plan.from_json(make_plan(CELLS))
    tasks = make_tasks(plan, plan.runs, ())
    sizes = sorted({run.params for run in plan.runs})
    larger = [{"params": sizes[1], "time": "1 h"}, {"params": sizes[2], "nodes": 2}]
    arrays = groups(execution(larger=larger), tasks)
    of = {plan.by_id[g.tasks[0].runs[0].run_id].label: (g.execution.time, g.execution.nodes) for g in arrays}
    assert of == {"w24-s50": (None, 2), "w16-s50": ("1 h", 1), "w8-s50": (None, 1)}
    (all_alike,) = groups(execution(), tasks)
    assert set(all_alike.job_ids) == {job.job_id for job in plan.jobs}


def test_pilots_as_many_as_have_work() -> None:
    plan = Plan.from_json(make_plan([(8 * k, 50) for k in range(1, 8)]))
    tasks = tuple(make_tasks(plan, plan.runs, ()))
    sizes = [Group(execution(**one), tasks).size for one in ({}, {"workers": 2}, {"concurrent": 3})]
    assert sizes == [7, 4, 3]
    assert Group(execution(), tasks * 200).size == 1000


def test_progress_is_what_need_not_be_done_again(tmp_path: Path) -> None:
    made = make_plan(CELLS)
    plan, results = Plan.from_json(made), ResultsFolder(tmp_path)
    queue = Queue(results, plan, Phase(("fit",), plan.runs), lambda event: None)
    jobs = [job.job_id for job in plan.jobs]
    queue.open()
    assert progress(queue, jobs) == 0
    short, long = (plan.named(name) for name in ("w24-s50", "w24-s100"))
    (results.job_dir(long.job_id) / "checkpoints" / "trunk" / "30").mkdir(parents=True)
    assert progress(queue, jobs) == 2 * 30 and progress(queue, [plan.named("w8-s50").job_id]) == 0
    folder = results.run_dir(short.run_id)
    folder.mkdir(parents=True)
    asked = by_label(made, "w24-s50") | {"flops_spent": 1}
    (folder / "record.json").write_text(json.dumps(record(asked, "ok")))
    queue.open()
    assert progress(queue, jobs) == 50 + 30
