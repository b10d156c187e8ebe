"""Axes and variants as runs: which are trained, under which names, and what is refused."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scaling.data.index import DataIndex
from scaling.errors import UserError
from scaling.plan.expand import make_plan
from scaling.plan.labels import value_text
from scaling.plan.plan import Plan
from scaling.plan.written import study_text
from scaling.spec.load import load_study, study_from_dict
from scaling.spec.sections import Data
from tests.plan.studies import changed, fake_index, fake_index_of, plan_of

RATE, BATCH, B2 = "recipe.optimizer.learning_rate", "recipe.batch_tokens", "recipe.optimizer.b2"
LION = {"recipe.optimizer": {"kind": "lion", "learning_rate": 0.001}}


def labels(plan: Plan, role: str = "fit") -> list[str]:
    return [run.label for run in plan.runs if run.role == role]


def refused(**changes: Any) -> dict[str, str]:
    with pytest.raises(UserError) as caught:
        plan_of(**changes)
    return {problem.where: problem.message for problem in caught.value.problems}


def test_a_tuning_axis_adds_runs_at_its_cells_and_leaves_the_design_as_it_was() -> None:
    axis = {"cross": {RATE: [0.001, 0.002]}, "at": [{"width": 32, "steps": 500}], "role": "tuning"}
    plan = plan_of(axes=[axis])
    assert [run.run_id for run in plan.runs if run.role == "fit"] == [run.run_id for run in plan_of().runs]
    assert labels(plan, "tuning") == ["w32-500st-lr1e-3-s0", "w32-500st-lr2e-3-s0"]
    assert [r.run.optimizer.learning_rate for r in plan.with_roles({"tuning"})] == [0.001, 0.002]


def test_an_axis_without_a_role_multiplies_the_design_where_it_holds() -> None:
    plan = plan_of(axes=[{"zip": {BATCH: [256, 512], B2: [0.98, 0.95]}, "at": [{"width": 16}]}])
    assert labels(plan) == [
        "w16-500st-b256-b2=0.98-s0",
        "w16-500st-b512-b2=0.95-s0",
        "w16-1000st-b256-b2=0.98-s0",
        "w16-1000st-b512-b2=0.95-s0",
        "w32-500st-s0",
        "w32-1000st-s0",
    ]
    assert [(r.run.batch_tokens, r.values) for r in plan.runs[1:5]] == [
        (512, {"b2": 0.95}),
        (256, {"b2": 0.98}),
        (512, {"b2": 0.95}),
        (256, {"b2": 0.95}),  # where the axis does not hold, the column has the value of the recipe
    ]


def test_axes_cross_one_another_but_tuning_axes_do_not() -> None:
    tuned = [{"cross": {B2: [0.9]}, "role": "tuning"}, {"cross": {BATCH: [512, 1024]}, "role": "tuning"}]
    plan = plan_of(design__steps=[500], family__widths=[16], axes=[{"cross": {RATE: [0.01, 0.02]}}, *tuned])
    assert len(labels(plan)) == 2
    assert labels(plan, "tuning")[:3] == [
        "w16-500st-lr0.01-b2=0.9-s0",
        "w16-500st-lr0.01-b512-s0",
        "w16-500st-lr0.01-b1024-s0",
    ]
    assert len(labels(plan, "tuning")) == 2 * 3


def test_runs_that_are_the_same_are_one_with_the_first_of_their_roles() -> None:
    alone = plan_of(recipe__optimizer__learning_rate=0.01)
    axis = {"cross": {RATE: [0.01, 0.02]}, "role": "tuning"}
    plan = plan_of(recipe__optimizer__learning_rate=0.01, axes=[axis])
    assert plan.runs[:4] == alone.runs
    assert plan.totals.by_role == {"fit": 4, "tuning": 4}
    assert "4 of 12 runs asked for are the same as others" in " ".join(plan.notes)
    # a rule that gives the number of another value is the same run too
    rule = {"kind": "power", "of": "width", "coefficient": 0.01, "exponent": 0}
    assert plan_of(recipe__optimizer__learning_rate=rule, axes=[axis]).totals.by_role == plan.totals.by_role


def test_every_variant_trains_the_design_and_the_held_out_cells_that_do_not_name_another() -> None:
    held_out = [{"width": 64, "steps": 1000}, {"width": 72, "steps": 1000, "variant": "lion"}]
    plan = plan_of(variants={"adamw": {}, "lion": LION}, design__steps=[500], holdout=held_out)
    assert [(run.label, run.variant, run.role, run.run.optimizer.kind) for run in plan.runs] == [
        ("adamw/w16-500st-s0", "adamw", "fit", "adamw"),
        ("adamw/w32-500st-s0", "adamw", "fit", "adamw"),
        ("lion/w16-500st-s0", "lion", "fit", "lion"),
        ("lion/w32-500st-s0", "lion", "fit", "lion"),
        ("adamw/w64-1000st-s0", "adamw", "holdout", "adamw"),
        ("lion/w64-1000st-s0", "lion", "holdout", "lion"),
        ("lion/w72-1000st-s0", "lion", "holdout", "lion"),
    ]
    assert plan.runs[0].run_id == plan_of().runs[0].run_id, "a variant is no part of a run's id"


def test_a_variant_may_have_axes_and_sizes_of_its_own() -> None:
    own = {"family.widths": [24], "axes": [{"cross": {B2: [0.9, 0.99]}}]}
    plan = plan_of(variants={"a": {}, "b": own}, design__steps=[500])
    assert labels(plan) == [
        "a/w16-500st-s0",
        "a/w32-500st-s0",
        "b/w24-500st-b2=0.9-s0",
        "b/w24-500st-b2=0.99-s0",
    ]


def test_variants_that_share_some_runs_say_so_and_those_that_share_all_are_refused() -> None:
    plan = plan_of(variants={"a": {}, "b": {"family.widths": [32, 48]}}, design__steps=[500])
    assert labels(plan) == ["a/w16-500st-s0", "a/w32-500st-s0", "b/w48-500st-s0"]
    assert "1 of 2 runs of variant b are those of a too" in " ".join(plan.notes)
    assert refused(variants={"a": {}, "b": {B2: 0.95}}) == {"variants.b": "differs in nothing from a"}
    constant = {"kind": "power", "of": "width", "coefficient": 0.95, "exponent": 0}
    problems = refused(variants={"a": {}, "b": {B2: constant}})
    assert problems == {"variants.b": "differs in nothing from a: all 4 runs are the same"}


def test_cells_say_which_values_they_take() -> None:
    axes = [{"cross": {RATE: [0.01, 0.02]}}, {"cross": {BATCH: [256, 512]}, "at": [{"width": 16}]}]
    cells = {"noise": {"width": 16, "steps": 500, "seeds": [7]}, "holdout": [{"width": 64, "steps": 500}]}
    assert refused(axes=axes, **cells) == {
        "noise": f"an axis varies {RATE} and {BATCH} here, and this cell does not say which value it takes",
        "holdout[0]": f"an axis varies {RATE} here, and this cell does not say which value it takes",
    }
    cells["noise"]["values"] = {RATE: 0.01, BATCH: 512}
    cells["holdout"][0]["values"] = {RATE: 0.04}
    plan = plan_of(axes=axes, **cells)
    assert labels(plan, "noise") == ["w16-500st-lr0.01-b512-s7"]
    assert labels(plan, "holdout") == ["w64-500st-lr0.04-s0"]
    assert plan.runs[-1].run.optimizer.learning_rate == 0.04


def test_a_held_out_cell_is_inside_the_fitted_set_only_with_the_values_that_are_fitted() -> None:
    axes = [{"cross": {RATE: [0.01, 0.02]}}]
    outside = {"width": 16, "steps": 500, "values": {RATE: 0.03}}
    assert plan_of(axes=axes, holdout=[outside]).totals.by_role["holdout"] == 1
    inside = refused(axes=axes, holdout=[outside | {"values": {RATE: 0.02}, "seed": 9}])
    assert "is inside the fitted set" in inside["holdout[0]"]


def test_a_tuned_run_has_the_warmup_of_the_run_it_is_compared_with() -> None:
    schedule = {"kind": "wsd", "warmup": "10 %"}
    axis = {"cross": {RATE: [0.001]}, "at": [{"steps": 1000}], "role": "tuning"}
    plan = plan_of(recipe__schedule=schedule, axes=[axis])
    assert {run.run.schedule.warmup for run in plan.runs} == {50}, (
        "10 % of the shortest horizon of the design"
    )


def test_a_plan_of_a_million_is_refused_before_it_is_made() -> None:
    values = [i / 2000 for i in range(1, 1001)]
    began = time.process_time()
    problems = refused(axes=[{"cross": {B2: values, "recipe.optimizer.b1": values}}])
    assert problems == {"axes": "asks for 4,000,000 runs, at most 1,000,000 are planned"}
    assert time.process_time() - began < 1


def test_data_on_an_axis_are_indexed_each_by_itself_and_reach_their_jobs() -> None:
    def index(data: Data) -> DataIndex:
        return replace(fake_index_of(data), eval_id=f"{data.unique_tokens or 0:012}")

    study = study_from_dict(changed(axes=[{"cross": {"data.unique_tokens": [6400, 12800, None]}}]))
    plan = make_plan(study, index)
    assert labels(plan)[:3] == ["w16-500st-u6400-s0", "w16-500st-u1.28e4-s0", "w16-500st-u=default-s0"]
    assert [run.run.data.unique_tokens for run in plan.runs[:3]] == [6400, 12800, None]
    assert [plan.data_of(run).eval_id for run in plan.runs[:3]] == ["000000006400", "000000012800", "0" * 12]
    assert len(plan.other_data) == 2
    assert plan.identity != make_plan(study, fake_index()).identity
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_the_resolved_spec_plans_the_same_runs(tmp_path: Path) -> None:
    variants = {"a": {}, "b": {"data.unique_tokens": None, "axes": [{"cross": {B2: [0.9, 0.99]}}]}}
    axes = [{"cross": {RATE: [0.001, 0.002]}, "at": [{"width": 16}], "role": "tuning"}]
    study = study_from_dict(changed(axes=axes, variants=variants, data__unique_tokens=6400))
    spec = tmp_path / "study.yaml"
    spec.write_text(study_text(study))
    there = {"folder": str(tmp_path)}
    assert make_plan(load_study(spec), fake_index()) == make_plan(study, fake_index()).model_copy(
        update=there
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.002, "2e-3"), (0.95, "0.95"), (512, "512"), (1.25e5, "1.25e5"), ("20 %", "20%"), (True, "true"),
     (None, "none"), ({"kind": "lion"}, "lion")],
)  # fmt: skip
def test_values_in_labels_are_short(value: Any, text: str) -> None:
    assert value_text(value) == text


def test_labels_differ_although_two_values_are_of_one_kind() -> None:
    optimizers = [{"kind": "adamw", "learning_rate": rate} for rate in (0.01, 0.02)]
    plan = plan_of(
        design__steps=[500], family__widths=[16], axes=[{"cross": {"recipe.optimizer": optimizers}}]
    )
    assert labels(plan) == ["w16-500st-adamw-s0", "w16-500st-adamw.2-s0"]
    assert [run.values for run in plan.runs] == [
        {"recipe.optimizer": "adamw"},
        {"recipe.optimizer": "adamw.2"},
    ]


def test_two_tuning_axes_may_sweep_one_field_at_cells_of_their_own() -> None:
    axes = [
        {"cross": {RATE: [rate]}, "at": [{"width": 8 * i}], "role": "tuning"}
        for i, rate in ((2, 0.1), (4, 0.2))
    ]
    tuned = labels(plan_of(design__steps=[500], axes=axes), "tuning")
    assert tuned == ["w16-500st-lr0.1-s0", "w32-500st-lr0.2-s0"]
    fitted = [axis | {"role": None} for axis in axes]
    assert f"changes the same as '{RATE}'" in " ".join(refused(axes=fitted).values())


def test_a_run_that_one_variant_tunes_and_another_fits_is_fitted() -> None:
    tuned = {"axes": [{"cross": {BATCH: [512]}, "role": "tuning"}]}
    plan = plan_of(design__steps=[500], family__widths=[16], variants={"a": tuned, "b": {BATCH: 512}})
    assert [(run.label, run.role) for run in plan.runs] == [
        ("a/w16-500st-s0", "fit"),
        ("b/w16-500st-s0", "fit"),
    ]


def test_rates_by_role_on_an_axis() -> None:
    rates = "recipe.optimizer.learning_rates"
    plan = plan_of(axes=[{"cross": {f"{rates}.embedding": [0.05, 0.1]}}])
    assert all(run.values == {} for run in plan.runs), "they have columns of their own"
    whole = plan_of(axes=[{"cross": {rates: [{"embedding": 0.05}, {"gain": 0.05}]}}])
    assert {json.dumps(run.values) for run in whole.runs} == {
        '{"learning_rates": "mapping"}',
        '{"learning_rates": "mapping.2"}',
    }


def test_cells_count_in_every_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling.plan.check.MOST_RUNS", 50)
    variants = {f"v{i}": {B2: 0.9 + i / 1000} for i in range(6)}
    holdout = [{"width": 8 * i, "steps": 900} for i in range(8, 18)]
    noise = {"width": 16, "steps": 700, "seeds": [1, 2, 3, 4, 5]}
    assert len(plan_of(variants=variants).runs) == 24
    for cells in ({"holdout": holdout}, {"noise": noise}):
        assert "at most 50 are planned" in refused(variants=variants, **cells)["variants"]
