"""Products of powers."""

import math

import pytest
from pydantic import ValidationError

from scaling.recipe.rules import PowerRule, Powers


def rule(**fields):
    return PowerRule.model_validate({"kind": "power", **fields})


def test_a_power_is_the_float_it_was():
    """The bits of rules of one quantity are part of ids."""
    for x in (3, 16, 120, 123_457, 10**12):
        value = rule(of="tokens", coefficient=0.2, exponent=-0.37).powers("b2").at({"tokens": x})
        assert value == float(f"{0.2 * float(x) ** -0.37:.12g}")


def test_powers_are_multiplied_in_one_order():
    one = rule(of={"width": -1, "tokens": -0.1, "depth": 0.5}, coefficient=0.3).powers("b2")
    other = rule(of={"depth": 0.5, "tokens": -0.1, "width": -1}, coefficient=0.3).powers("b2")
    for tokens in range(123_456_789, 123_496_789):  # 12 digits hide most of what the order would change
        scales = {"width": 48, "tokens": tokens, "depth": 3}
        assert one.at(scales) == other.at(scales)
    scales["tokens"] = 123_456_789
    assert one.at(scales) == pytest.approx(0.3 / 48 * 123_456_789**-0.1 * 3**0.5, rel=1e-11)


def test_what_overflows_is_infinite():
    assert (
        Powers(1.0, {"tokens": 10.0, "params": 10.0, "flops": 10.0}).at(
            {"tokens": 1e15, "params": 1e15, "flops": 1e30}
        )
        == math.inf
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"of": "width"},
        {"of": {"width": 1}, "exponent": 1},
        {"of": {}},
        {"of": {"widht": 1}},
        {"of": {"width": 11}},
        {"of": "width", "exponent": True},
    ],
)
def test_rules_that_are_none(fields):
    with pytest.raises(ValidationError):
        rule(coefficient=1.0, **fields)
