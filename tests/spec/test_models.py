from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from scaling.recipe import auxiliary, optimizers, parametrization, published, rules, schedules, tuned
from scaling.recipe.quantities import Count, Duration, Fraction, Frozen, Real
from scaling.spec import axes, designs, external, families, models, trainer
from scaling.spec.models import json_schema

ROOMS = (
    *(auxiliary, optimizers, parametrization, published, rules, schedules, tuned),
    *(axes, designs, external, families, models, trainer),
)


def specs() -> list[type[BaseModel]]:
    found = {m for room in ROOMS for m in vars(room).values() if isinstance(m, type)}
    return sorted((m for m in found if issubclass(m, Frozen)), key=lambda m: m.__name__)


@pytest.mark.parametrize("model", specs())
def test_models_are_strict_frozen_and_made_of_values(model: type[BaseModel]) -> None:
    assert model.model_config.get("frozen")
    # names in a variant are field paths, checked where they are applied; a trainer of one's own has its own
    free = (axes.Variant, external.ExternalRecipe)
    assert model.model_config.get("extra") == ("allow" if model in free else "forbid")
    assert "list[" not in str([field.annotation for field in model.model_fields.values()])


def test_the_schema_is_json_and_describes_every_choice() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["properties"]["family"]["discriminator"]["propertyName"] == "kind"
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"study", "data", "family", "recipe", "design"}
    warmup = schema["$defs"]["WSD"]["properties"]["warmup"]
    duration, rule = warmup["oneOf"]
    assert duration["type"] == "string" and rule == {"$ref": "#/$defs/DurationRule"}
    assert warmup["default"] == "80 steps"
    assert warmup["description"]
    names = {ref.rpartition("/")[2] for ref in _references(schema)}
    assert names <= set(schema["$defs"])


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for value in node for ref in _references(value)] if isinstance(node, list) else []


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("80 steps", 80, "steps"),
        ("1 step", 1, "steps"),
        ("1e6 tokens", 1e6, "tokens"),
        ("20 %", 20, "%"),
        ("2.5%", 2.5, "%"),
        (" .5 % ", 0.5, "%"),
        ("0 steps", 0, "steps"),
        ("12.34567891234567 tokens", 12.34567891234567, "tokens"),
        ("1e15 tokens", 1e15, "tokens"),
    ],
)
def test_durations(text: str, value: float, unit: str) -> None:
    duration = Duration.parse(text)
    assert (duration.value, duration.unit) == (value, unit)
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    "bad", [80, True, None, "80", "steps", "-1 steps", "101 %", "1e16 steps", "nan %", "8 epochs"]
)
def test_bad_durations(bad: object) -> None:
    with pytest.raises(PydanticCustomError):
        Duration.parse(bad)


@pytest.mark.parametrize(
    ("text", "steps"),
    [("80 steps", 80), ("20 %", 202), ("1e4 tokens", 39), ("0 %", 0), ("0.001 %", 1), ("0.4 steps", 1)],
)
def test_durations_in_steps(text: str, steps: int) -> None:
    assert Duration.parse(text).in_steps(1009, 256) == steps


@pytest.mark.parametrize(
    "value", [True, False, "1", None, [1], 1.5, float("nan"), float("inf"), 0, -1, 10**16]
)
def test_what_is_no_count(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Count).validate_python(value)


@pytest.mark.parametrize("value", [True, "1", None, float("nan"), float("inf"), 10**400])
def test_what_is_no_number(value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Real).validate_python(value)


@pytest.mark.parametrize(("written", "value"), [("2 %", 0.02), ("0.3%", 0.003), ("100 %", 1.0), (0.02, 0.02)])
def test_shares_may_be_percentages(written: object, value: float) -> None:
    assert TypeAdapter(Fraction).validate_python(written) == value


@pytest.mark.parametrize("written", ["101 %", "-1 %", "two", "0.02", "", True])
def test_what_is_no_share(written: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Fraction).validate_python(written)


def test_numbers_have_one_spelling() -> None:
    assert TypeAdapter(Count).validate_python(1e3) == 1000
    assert isinstance(TypeAdapter(Count).validate_python(1e3), int)
    assert str(TypeAdapter(Real).validate_python(-0.0)) == "0.0"
