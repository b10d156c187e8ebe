"""Classes of a spec, made from those of a run, and back."""

import pytest
from pydantic import ValidationError

from scaling.recipe.optimizers import OPTIMIZERS, WRITTEN_OPTIMIZERS
from scaling.recipe.quantities import Duration
from scaling.recipe.schedules import WRITTEN_SCHEDULES, Cosine
from scaling.recipe.written import RuleError, known_to, rules_in, scales_of

SCALES = {"width": 16, "tokens": 1e6, "learning_rate": 0.1, "batch_tokens": 64}


def power(coefficient, **of):
    return {"kind": "power", "coefficient": coefficient, "of": of}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_number_of_an_optimizer_may_be_a_rule(kind):
    model = WRITTEN_OPTIMIZERS[kind]
    reals = [name for name, info in OPTIMIZERS[kind].model_fields.items() if info.annotation is float]
    assert {"learning_rate", "weight_decay", "clip_norm"} < {*reals}
    run = model(kind=kind, **dict.fromkeys(reals, power(0.05, width=0.5))).resolved(SCALES)
    assert type(run) is OPTIMIZERS[kind]
    assert {getattr(run, name) for name in reals} == {0.2}
    assert model.__name__ == OPTIMIZERS[kind].__name__ and model.__doc__ == OPTIMIZERS[kind].__doc__


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_bounds_and_defaults_are_those_of_the_run(kind):
    model, run = WRITTEN_OPTIMIZERS[kind], OPTIMIZERS[kind]
    assert model(kind=kind, learning_rate=1).resolved(SCALES) == run(kind=kind, learning_rate=1)
    for wrong in ({"learning_rate": 0}, {"learning_rate": "1"}, {"learning_rate": 1, "weight_decay": -1}):
        with pytest.raises(ValidationError):
            model(kind=kind, **wrong)


def test_a_value_of_a_rule_has_the_bounds_of_its_field():
    written = WRITTEN_OPTIMIZERS["adamw"](kind="adamw", learning_rate=1, b2=power(0.25, width=0.5))
    with pytest.raises(RuleError, match="gives 1, which must be < 1") as caught:
        written.resolved(SCALES)
    assert caught.value.place == ("b2",)


def test_the_learning_rate_is_known_to_the_others():
    written = WRITTEN_OPTIMIZERS["adamw"](
        kind="adamw", learning_rate=power(3.2, width=-1), weight_decay=power(2, learning_rate=-1)
    )
    run = written.resolved(SCALES)
    assert (run.learning_rate, run.weight_decay) == (0.2, 10)


def test_durations_and_fractions_by_rule():
    cosine = WRITTEN_SCHEDULES["cosine"](
        kind="cosine",
        warmup=power(2, width=1) | {"unit": "steps"},
        final_fraction=power(0.1, learning_rate=1),
    )
    assert cosine.resolved(100, 100, SCALES) == Cosine(kind="cosine", warmup=32, final_fraction=0.01)
    for unit, steps in (("tokens", 1e6 * 2e-3 / 64), ("%", 2000)):
        with_unit = WRITTEN_SCHEDULES["constant"](
            kind="constant", warmup=power(2e-3 if unit == "tokens" else 1e-3, tokens=1) | {"unit": unit}
        )
        if unit == "%":
            with pytest.raises(RuleError, match="not between 1e-12 and 100"):
                with_unit.resolved(100, 100, SCALES)
        else:
            assert with_unit.resolved(100, 100, SCALES).warmup == round(steps)
    assert WRITTEN_SCHEDULES["constant"](kind="constant").warmup == Duration(80, "steps")


def test_rules_are_found_with_their_places():
    written = WRITTEN_OPTIMIZERS["adamw"](
        kind="adamw", learning_rate={"kind": "step-law"}, b2=power(0.5, batch_tokens=0.01)
    )
    places = {place: scales_of(place, rule) for place, rule in rules_in(written, ("optimizer",))}
    assert places == {
        ("optimizer", "learning_rate"): {"params_body", "tokens"},
        ("optimizer", "b2"): {"batch_tokens"},
    }


def test_what_is_known_before():
    assert "batch_tokens" not in known_to(("batch_tokens",)) and "flops" in known_to(("batch_tokens",))
    assert "learning_rate" not in known_to(("optimizer", "learning_rate"))
    assert "learning_rate" in known_to(("optimizer", "weight_decay"))
