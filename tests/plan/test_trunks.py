"""Designs whose runs branch from runs that are trained first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaling.canonical import canonical_json
from scaling.errors import UserError
from scaling.files import write_json
from scaling.plan.plan import Plan, PlannedRun
from scaling.store.folder import MANIFEST, ResultsFolder
from scaling.sweep.opening import join_sweep
from scaling.sweep.tasks import job_spec, make_tasks
from tests.plan.studies import plan_of

DESIGN = {"kind": "critical-batch", "tokens": [256_000, 512_000], "batches": [256, 512]}
WITH = DESIGN | {"trunk_tokens": 128_000}


def planned(design: dict[str, Any] = WITH, **more: Any) -> Plan:
    return plan_of(design=design, family__widths=[16, 24], **more)


def by_role(plan: Plan, role: str) -> list[PlannedRun]:
    return [run for run in plan.runs if run.role == role]


def test_all_batches_of_a_size_and_seed_start_from_one_run() -> None:
    plan = planned(seeds=[0, 7])
    trunks, fitted = by_role(plan, "trunk"), by_role(plan, "fit")
    assert len(trunks) == 4 and len(fitted) == 16
    for trunk in trunks:
        branches = [run for run in fitted if run.built_in.init_from == trunk.run_id]
        assert {(run.run.batch_tokens, run.run.tokens) for run in branches} == {
            (batch, tokens) for batch in DESIGN["batches"] for tokens in DESIGN["tokens"]
        }
        same = {(run.built_in.shape, run.run.seed) for run in branches}
        assert same == {(trunk.built_in.shape, trunk.run.seed)}
        assert trunk.built_in.schedule.kind == "constant" and trunk.run.tokens == 128_000
        assert trunk.built_in.order_seed not in {run.built_in.order_seed for run in branches}
    alone = planned(DESIGN, seeds=[0, 7])
    assert plan.totals.flops == alone.totals.flops + sum(run.flops for run in trunks)
    assert not {run.run_id for run in alone.runs} & {run.run_id for run in plan.runs}


def test_a_plan_names_the_trunk_of_each_branch_and_says_what_is_not_counted() -> None:
    plan = planned(DESIGN | {"tokens": [256_000], "trunk_tokens": 128_000})
    labels = {run.run_id: run.label for run in plan.runs}
    for run in plan.runs:
        assert run.starts_from == labels.get(run.built_in.init_from or "")
    told = [note for note in plan.notes if "branch from a trunk" in note]
    assert told[0].startswith("4 of 6 runs branch from a trunk of 128,000 tokens")
    assert not any("nothing is shared" in note for note in plan.notes)
    alone = planned(DESIGN | {"tokens": [256_000]})
    assert any("nothing is shared" in note for note in alone.notes)
    assert {run.starts_from for run in alone.runs} == {None}


def test_each_value_on_an_axis_has_its_own() -> None:
    rates = {"cross": {"recipe.optimizer.weight_decay": [0.0, 0.1]}}
    plan = planned(axes=[rates])
    trunks = {run.run_id: run for run in by_role(plan, "trunk")}
    assert len(trunks) == 4
    for run in by_role(plan, "fit"):
        start = trunks[run.built_in.init_from or ""]
        assert start.built_in.optimizer.weight_decay == run.built_in.optimizer.weight_decay
    tuned = planned(axes=[rates | {"role": "tuning"}])
    starts = {run.built_in.init_from for run in by_role(tuned, "tuning")}
    assert starts == {run.run_id for run in by_role(tuned, "trunk")} and len(starts) == 2


def test_jobs_keep_what_others_branch_from_and_say_where_it_lies(tmp_path: Path) -> None:
    plan, results = planned(), ResultsFolder(tmp_path)
    for task in make_tasks(plan, plan.runs, ()):
        spec = job_spec(plan, task, task.runs, "train", results)
        assert spec.execution.keep_final == (task.runs[0].role == "trunk")
        assert not any(member.start for member in spec.runs)
    trunk = by_role(plan, "trunk")[0]
    kept = results.job_dir(trunk.job_id) / "checkpoints" / trunk.run_id / str(trunk.run.steps)
    kept.mkdir(parents=True)
    (kept / MANIFEST).write_text("{}")
    results.run_dir(trunk.run_id).mkdir(parents=True)
    (results.run_dir(trunk.run_id) / "run.json").write_text(canonical_json(trunk.run))
    for task in make_tasks(plan, by_role(plan, "fit"), ()):
        for run, member in zip(
            task.runs, job_spec(plan, task, task.runs, "train", results).runs, strict=True
        ):
            assert member.start == (str(kept) if run.built_in.init_from == trunk.run_id else None)
    write_json(results.plan, plan.to_json())
    branch = next(run for run in plan.runs if run.built_in.init_from == trunk.run_id)
    with join_sweep(tmp_path, jobs={branch.job_id}) as sweep:  # as a pilot does
        (task,) = make_tasks(sweep.plan, sweep.plan.runs, ())
        starts = {member.start for member in job_spec(sweep.plan, task, task.runs, "train", results).runs}
    assert starts == {str(kept)}


def test_other_initial_weights_are_no_noise_of_branches() -> None:
    with pytest.raises(UserError, match="repeats initial weights, and branches start from those of their"):
        planned(noise={"corners": ["largest-longest"]})
    plan = planned(noise={"corners": ["largest-longest"], "init": 0})
    trunks = {run.run_id for run in by_role(plan, "trunk")}
    starts = {run.built_in.init_from for run in by_role(plan, "noise")}
    assert starts and starts <= trunks


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"added": [{"width": 16, "tokens": 3e5}]}, r"added\[0\]: starts from no trunk: its tokens are not"),
        (
            {"holdout": [{"width": 32, "tokens": 4e5}]},
            r"holdout\[0\]: starts from no trunk: its tokens are not",
        ),
        (
            {"noise": {"width": 16, "tokens": 3e5, "seeds": [1, 2]}},
            "noise: starts from no trunk, and the runs",
        ),
    ],
)
def test_cells_that_start_from_no_trunk_are_refused(cells: dict[str, Any], message: str) -> None:
    assert planned(DESIGN, **cells).runs
    with pytest.raises(UserError, match=message):
        planned(**cells)
