"""A plan beside what its folder has: new, done, changed in which field, left, gone."""

from __future__ import annotations

from pathlib import Path

from scaling.cli.plan_changes import asked_otherwise, difference_text
from scaling.files import write_json
from scaling.plan.bill import make_bill
from scaling.plan.chosen import JobDevices
from scaling.plan.lowering import lower
from scaling.plan.plan import Plan
from scaling.spec.load import study_from_dict
from scaling.store.folder import ResultsFolder
from scaling.sweep.differences import PlanDifference, plan_difference
from tests.plan.studies import changed, plan_of, record_run

SCHEDULE = {"kind": "wsd", "warmup": "80 steps"}


def folder_of(plan: Plan, path: Path) -> ResultsFolder:
    write_json(path / "plan.json", plan.to_json())
    return ResultsFolder(path)


def text_of(found: PlanDifference, plan: Plan) -> str:
    return difference_text("results/s", found, plan, make_bill(plan, lower(plan, JobDevices("cpu")), None, 1))


def test_runs_are_new_done_left_and_gone(tmp_path: Path) -> None:
    before, plan = plan_of(), plan_of(family__widths=[32, 48])
    results = folder_of(before, tmp_path)
    (done,) = (run for run in before.runs if run.label == "w32-500st-s0")
    record_run(tmp_path, done)
    found = plan_difference(results, plan)
    assert found.done == ("w32-500st-s0",) and found.left == ("w32-1000st-s0",)
    assert found.new == ("w48-500st-s0", "w48-1000st-s0") and not found.changed
    assert found.gone == (("w16-500st-s0", "pending"), ("w16-1000st-s0", "pending"))
    assert not found.evaluated_otherwise
    text = text_of(found, plan)
    assert "2 runs new: w48-500st-s0, w48-1000st-s0" in text
    assert text.endswith("left to train: 3 runs of 4")


def test_a_changed_run_says_in_which_field(tmp_path: Path) -> None:
    results = folder_of(before := plan_of(), tmp_path)
    record_run(tmp_path, before.runs[0])
    plan = plan_of(recipe__schedule=SCHEDULE | {"decay": "40 %"})
    found = plan_difference(results, plan)
    assert not (found.new or found.done or found.left or found.gone)
    assert [set(run.fields) for run in found.changed] == [{"schedule.decay_steps"}] * 4
    first = next(run for run in found.changed if run.label == before.runs[0].label)
    steps = before.runs[0].run.steps
    assert first.was == "done" and first.fields["schedule.decay_steps"] == (steps // 5, 2 * steps // 5)
    text = text_of(found, plan)
    assert "4 runs changed in schedule.decay_steps, would be trained anew (old: 1 done, 3 pending)" in text
    assert "schedule.decay_steps: 100 -> 200 (w16-500st-s0; 2 different changes)" in text


def test_what_is_asked_otherwise_of_a_design_that_grows_is_said() -> None:
    """Its rounds stand as they were decided."""
    basis = {"law": "chinchilla", "source": "a fit", "params": {}, "noise": 0.01, "runs": 0, "spent": 0.0}
    rounds = [{"cells": [{"width": 16, "flops": 1e10}], "basis": basis}]
    design = {"kind": "adaptive", "budget": 6e10, "compute": 1e11}
    kept = study_from_dict(changed(design=design | {"rounds": rounds, "ended": "all is spent"}))
    more = study_from_dict(changed(design=design | {"budget": 9e10, "rounds": rounds}, seeds=[1]))
    budget, seeds = asked_otherwise(more, kept)
    assert budget == "design.budget: 6e+10 -> 9e+10" and "by runs of seed 0" in seeds
    assert [*asked_otherwise(kept, kept), *asked_otherwise(study_from_dict(changed()), kept)] == []


def test_done_runs_may_have_been_evaluated_otherwise(tmp_path: Path) -> None:
    plan = plan_of()
    results = folder_of(plan, tmp_path)
    record_run(tmp_path, plan.runs[0], eval_id="d" * 12)
    found = plan_difference(results, plan)
    assert found.evaluated_otherwise == found.done == (plan.runs[0].label,)
