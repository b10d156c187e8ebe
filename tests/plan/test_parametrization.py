"""Parametrizations in specs and plans: ids, the base, what a plan says of them."""

from __future__ import annotations

from typing import Any

import pytest

from scaling.canonical import canonical_json
from scaling.cli.plan_text import plan_text
from scaling.cli.words import count
from scaling.errors import UserError
from scaling.plan.bill import make_bill
from scaling.plan.chosen import JobDevices
from scaling.plan.lowering import lower
from scaling.plan.plan import Plan
from scaling.recipe.parametrization import CompleteP, MuP
from scaling.spec.load import load_study
from tests.plan.studies import PLAIN, plan_of

MUP = {"kind": "mup", "base_width": 16}
COMPLETEP = {"kind": "completep", "base_width": 16, "base_depth": 1}
SHAPES = {
    "kind": "shapes",
    "shapes": [
        {"name": "a", "depth": 1, "width": 16, "heads": 2},
        {"name": "b", "depth": 1, "width": 32, "heads": 2},
    ],
}


def planned(parametrization: Any = "standard", **changes: Any) -> Plan:
    return plan_of(recipe__parametrization=parametrization, **changes)


def test_ids_differ_between_parametrizations_and_bases_but_not_by_naming_the_standard_one():
    plain = [run.run_id for run in plan_of().runs]
    assert [run.run_id for run in planned("standard").runs] == plain
    others = [MUP, MUP | {"base_width": 32}, COMPLETEP, COMPLETEP | {"base_depth": 2}]
    ids = {run.run_id for other in others for run in planned(other).runs}
    assert len(ids | {*plain}) == 5 * len(plain)
    assert {run.trunk_id for run in planned(MUP).runs}.isdisjoint(run.trunk_id for run in plan_of().runs)


def test_runs_hold_what_was_written():
    assert planned(MUP).runs[0].run.parametrization == MuP(kind="mup", base_width=16)
    run = planned(COMPLETEP).runs[0].run
    assert run.parametrization == CompleteP(kind="completep", base_width=16, base_depth=1)
    assert '"parametrization":{"base_depth":1,"base_width":16,"kind":"completep"}' in canonical_json(run)


def test_heads_of_the_base_are_said_where_sizes_differ_in_theirs():
    with pytest.raises(UserError) as caught:
        planned(MUP, family=SHAPES)
    (problem,) = caught.value.problems
    assert problem.where == "recipe.parametrization"
    assert problem.message == "needs base_head_dim: heads of the family have 8 and 16 channels"
    assert "base_head_dim: 8" in problem.hint
    bases = [run.run.parametrization for run in planned(MUP | {"base_head_dim": 8}, family=SHAPES).runs]
    heads = {run.base_head_dim for run in bases if run is not None}
    assert heads == {None, 8}, "left out where the run's own heads are the base's"


def test_a_plan_says_which_parametrizations_runs_have():
    def text(plan: Plan) -> str:
        plan = plan.model_copy(update={"data": plan.data.model_copy(update={"content": None})})
        lowered = lower(plan, JobDevices("cpu"))
        return plan_text(plan, lowered, make_bill(plan, lowered, None, 1))

    assert "parametrization" not in text(plan_of())
    assert "parametrization completep, base width 16, base depth 1: 4 runs" in text(planned(COMPLETEP))
    assert "precision bfloat16: 4 runs" in text(plan_of(recipe__precision="bfloat16"))


def test_a_plan_says_how_much_of_a_model_a_token_uses():
    def text(plan: Plan) -> str:
        plan = plan.model_copy(update={"data": plan.data.model_copy(update={"content": None})})
        lowered = lower(plan, JobDevices("cpu"))
        return plan_text(plan, lowered, make_bill(plan, lowered, None, 1))

    assert "N active" not in text(plan_of())
    plan = plan_of(family__experts={"count": 4, "active": 1})
    shown = text(plan)
    assert "N active" in shown and f"{count(max(run.params_active for run in plan.runs))} active" in shown
    assert max(run.params_active for run in plan.runs) < max(run.params for run in plan.runs)


def test_a_rate_that_follows_the_width_twice_is_noted():
    (note,) = [note for note in planned(MUP).notes if "besides" in note]
    assert (
        note == "recipe.optimizer.learning_rate follows the width by its rule, and in matrices by mup besides"
    )
    constant = planned(MUP, recipe__optimizer__learning_rate=0.01)
    assert not [note for note in constant.notes if "besides" in note]


def test_variants_of_parametrizations_have_the_line_of_their_mistake(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text(PLAIN + "variants:\n  one: {}\n  two: {recipe.parametrization: completep}\n")
    with pytest.raises(UserError) as caught:
        load_study(spec)
    (problem,) = caught.value.problems
    assert problem.where == f"{spec}:11:33"
    assert "needs its base: write {kind: completep, base_width: 64, base_depth: 4}" in problem.message
