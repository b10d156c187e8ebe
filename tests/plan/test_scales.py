"""The quantities of a run, and batches that follow from them."""

import pytest

from scaling.counts.flops import training_flops
from scaling.counts.params import count_parameters
from scaling.errors import UserError
from scaling.plan.scales import horizon_scales, shape_scales
from tests.plan.studies import plan_of
from tests.train.runs import TINY

BY_SIZE = {"kind": "power", "coefficient": 3.2, "of": {"params": 0.5}}
BY_TOKENS = {"kind": "power", "coefficient": 0.5, "of": {"tokens": 0.5}}
TIMESCALE = {"kind": "timescale"}
NARROW = {"name": "a", "depth": 1, "width": 1, "heads": 1, "head_dim": 2}
GRID = {"kind": "grid", "tokens": [1e6, 4e6]}


def test_quantities():
    counts = count_parameters(TINY)
    assert shape_scales(TINY) == {
        "width": 16, "depth": 1, "params": counts.total, "params_body": counts.body,
    }  # fmt: skip
    known = horizon_scales(TINY, 10 * TINY.context)
    assert known["flops"] == training_flops(TINY, 10).flops
    assert known["tokens_per_param"] == 10 * TINY.context / counts.total
    deepseek = 6 * (counts.body - 3 * TINY.width) + 12 * TINY.depth * TINY.width * TINY.context
    assert known["flops_body"] == deepseek * 10 * TINY.context, "72 L d^2 + 12 L d T a token, gains aside"


def test_a_batch_by_size_is_whole_sequences_and_shares_trunks():
    plan = plan_of(recipe__batch_tokens=BY_SIZE)
    assert len(plan.jobs) == 2
    for run in plan.runs:
        assert run.run.batch_tokens == round(3.2 * run.params**0.5 / 64) * 64
    assert len({run.run.batch_tokens for run in plan.runs}) == 2


@pytest.mark.parametrize(
    "design", [GRID, {"kind": "isoflop", "budgets": [2e11, 8e11]}, {"kind": "ladder", "multiples": [40, 160]}]
)
def test_a_batch_by_horizon_is_of_the_tokens_asked_for(design):
    plan = plan_of(recipe__batch_tokens=BY_TOKENS, design=design)
    assert len(plan.jobs) == len(plan.runs), "nothing is shared"
    assert any("the horizon decides batch_tokens" in note for note in plan.notes)
    for run in plan.runs:
        assert run.run.batch_tokens == pytest.approx(0.5 * run.run.tokens**0.5, abs=34)


def test_equal_steps_of_other_batches_are_no_duplicates():
    linear = {"kind": "power", "coefficient": 64 / 1e5, "of": {"tokens": 1}}
    plan = plan_of(recipe__batch_tokens=linear, design={"kind": "grid", "tokens": [1e5, 2e5]})
    assert [(run.run.steps, run.run.batch_tokens) for run in plan.runs[:2]] == [(1563, 64), (1563, 128)]


def test_rounding_that_moves_a_batch_far_is_said():
    notes = plan_of(recipe__batch_tokens={"kind": "power", "coefficient": 3, "of": {"width": 1}}).notes
    (note,) = (note for note in notes if "whole sequences" in note)
    assert "batch of 4 runs" in note and "w16-500st-s0 has 64 tokens where 48 were asked for" in note
    assert not any("whole sequences" in note for note in plan_of(recipe__batch_tokens=BY_SIZE).notes)


@pytest.mark.parametrize(
    ("changes", "where", "message"),
    [
        ({"recipe__batch_tokens": BY_TOKENS}, "recipe.batch_tokens", "circular: the batch follows"),
        (
            {"recipe__batch_tokens": BY_TOKENS, "design": GRID, "holdout": [{"width": 64, "steps": 900}]},
            "recipe.batch_tokens",
            "circular",
        ),
        (
            {"recipe__batch_tokens": BY_SIZE | {"of": {"learning_rate": 1}}},
            "recipe.batch_tokens.of",
            "circular: learning_rate is not known before batch_tokens is",
        ),
        (
            {"recipe__optimizer__learning_rate": BY_SIZE | {"of": {"learning_rate": 1}}},
            "recipe.optimizer.learning_rate.of",
            "circular",
        ),
        (
            {"recipe__optimizer__learning_rates": {"head": 0.1}, "family__tied": True},
            "recipe.optimizer.learning_rates.head",
            "w16-500st-s0 has no head of its own",
        ),
        (
            {
                "recipe__optimizer__kind": "muon",
                "family": {"kind": "shapes", "shapes": [NARROW, NARROW | {"name": "b", "width": 2}]},
            },
            "recipe.optimizer.kind",
            "muon needs matrices, and those of a-500st-s0 have one row or one column",
        ),
        (
            {"recipe__optimizer__decay": "independent", "recipe__optimizer__weight_decay": TIMESCALE},
            "recipe.optimizer.weight_decay",
            "timescale is of a decay that multiplies the learning rate, for w16-500st-s0 (and 3 more runs)",
        ),
        ({"recipe__optimizer__b2": {"kind": "step-law"}}, "recipe.optimizer.b2.kind", "nothing to say of b2"),
        (
            {"recipe__batch_tokens": BY_SIZE | {"of": {"params": 9}}},
            "recipe.batch_tokens",
            "not between 1e-12 and 1e+15",
        ),
        (
            {"recipe__optimizer__b2": BY_SIZE},
            "recipe.optimizer.b2",
            "which must be < 1, for w16-500st-s0 (and 3 more runs)",
        ),
        (
            {"recipe__schedule__warmup": BY_SIZE | {"unit": "%"}},
            "recipe.schedule.warmup",
            "not between 1e-12 and 100, for w16-500st-s0",
        ),
    ],
)  # fmt: skip
def test_rules_that_are_refused(changes, where, message):
    with pytest.raises(UserError) as caught:
        plan_of(**changes)
    (problem,) = caught.value.problems
    assert problem.where == where and message in problem.message


def test_a_decay_by_rule_keeps_trunks_shared_and_a_warmup_by_horizon_does_not():
    rule = {"kind": "power", "coefficient": 0.1, "of": {"tokens": 1}, "unit": "tokens"}
    plan = plan_of(recipe__schedule={"kind": "wsd", "warmup": "8 %", "decay": rule})
    assert len(plan.jobs) == 2
    assert [run.run.schedule.warmup for run in plan.runs] == [40, 40, 40, 40], "of the shortest horizon"
    assert [run.run.schedule.decay for run in plan.runs] == [50, 100, 50, 100]
    plan = plan_of(recipe__schedule__warmup=rule)
    assert len(plan.jobs) == 4
    assert [run.run.schedule.warmup for run in plan.runs] == [50, 100, 50, 100]
