"""Optimizers as a spec and a run have them."""

import json

import pytest
from pydantic import ValidationError

from scaling.canonical import canonical_json
from scaling.recipe.optimizers import OPTIMIZERS, SGD, WRITTEN_OPTIMIZERS, AdamW, RoleRates
from scaling.recipe.written import RuleError
from scaling.run import Run, run_id
from tests.plan.studies import plan_of
from tests.train.runs import make_run

RULE = {"kind": "power", "of": "width", "coefficient": 0.2, "exponent": -1}


def test_rules_become_numbers():
    written = WRITTEN_OPTIMIZERS["adamw"](kind="adamw", learning_rate=RULE)
    run = written.resolved({"width": 64})
    assert type(run) is AdamW and run.learning_rate == 0.003125
    assert run == AdamW(kind="adamw", learning_rate=0.003125)
    assert WRITTEN_OPTIMIZERS["adamw"](kind="adamw", learning_rate=1e-30).resolved({}).learning_rate == 1e-30


@pytest.mark.parametrize("exponent", [-9, 9, -10.0])
def test_absurd_rules_give_no_number(exponent):
    written = WRITTEN_OPTIMIZERS["adamw"](kind="adamw", learning_rate=RULE | {"exponent": exponent})
    with pytest.raises(RuleError, match="the rule gives"):
        written.resolved({"width": 10**12})


def test_a_run_holds_no_rule():
    with pytest.raises(ValidationError):
        AdamW(kind="adamw", learning_rate=RULE)


def test_numbers_and_structure_share_the_fields():
    sgd = SGD(kind="sgd", learning_rate=0.1, nesterov=True)
    assert sgd.numbers == {"weight_decay": 0.0, "clip_norm": 1.0, "momentum": 0.9}
    assert dict(sgd.structure) == {"kind": "sgd", "nesterov": True}


def test_rates_by_role_are_numbers_that_differ_from_the_rate():
    rates = {"embedding": {"kind": "power", "of": {"learning_rate": 1}, "coefficient": 3}, "gain": 0.003125}
    written = WRITTEN_OPTIMIZERS["sgd"](kind="sgd", learning_rate=RULE, learning_rates=rates)
    run = written.resolved({"width": 64})
    assert run.learning_rates == RoleRates(embedding=0.009375), "gains have the rate of all"
    assert (
        run.numbers["learning_rates.embedding"] == pytest.approx(3)
        and "learning_rates.gain" not in run.numbers
    )
    assert dict(run.structure)["roles"] == ("embedding",)
    plain = written.model_copy(update={"learning_rates": None}).resolved({"width": 64})
    same = written.model_copy(update={"learning_rates": RoleRates(gain=0.003125)}).resolved({"width": 64})
    assert run_id(make_run(optimizer=plain)) == run_id(make_run(optimizer=same))
    assert run_id(make_run(optimizer=plain)) != run_id(make_run(optimizer=run))
    assert Run.model_validate(json.loads(canonical_json(make_run(optimizer=run)))).optimizer == run


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_run_comes_back_from_its_json_with_its_id(kind):
    plan = plan_of(recipe__optimizer={"kind": kind, "learning_rate": RULE})
    run = plan.runs[0].run
    text = canonical_json(run)
    assert Run.model_validate(json.loads(text)) == run
    assert run_id(run) == plan.runs[0].run_id
    assert json.loads(text)["schedule"].keys() == {"kind", "warmup_steps", "decay_steps", "shape"}


def test_the_id_of_an_adamw_run_is_that_of_before():
    """Golden: raise SEMANTICS in scaling/run.py when it must change."""
    assert run_id(make_run()) == "05e08ac0b491"


def test_a_rule_of_the_decay_goes_by_the_rate_of_what_decays():
    decay = {"kind": "timescale", "coefficient": 0.5, "exponent": 0}
    scales = {"width": 64, "batch_tokens": 256, "tokens": 1e6, "tokens_per_param": 20}
    written = WRITTEN_OPTIMIZERS["adamw"](kind="adamw", learning_rate=0.01, weight_decay=decay)
    assert written.resolved(scales).weight_decay == pytest.approx(256 / (0.5 * 0.01 * 1e6))
    rates = {"embedding": 0.1, "matrix": 0.002}
    by_role = WRITTEN_OPTIMIZERS["adamw"](**(dict(written) | {"learning_rates": rates}))
    assert by_role.resolved(scales).weight_decay == pytest.approx(256 / (0.5 * 0.002 * 1e6))
