"""Types that several sections of a spec share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from scaling.recipe.quantities import Count, Described, Positive, Whole
from scaling.recipe.rules import Rule
from scaling.recipe.written import or_rule


def _plain(value: Any) -> Any:
    """Write a seed of both as the number that it is equal to."""
    return value.init if isinstance(value, SeedPair) and value.init == value.order else value


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    plain = [_plain(value) for value in values] if len(values) <= 1000 else []
    twice = dict.fromkeys(v for v in plain if plain.count(v) > 1)
    if twice:
        raise PydanticCustomError(
            "fields",
            "must not repeat a value: {values} more than once",
            {"values": ", ".join(str(v) if isinstance(v, SeedPair) else f"{v:g}" for v in twice)},
        )
    return values


def distinct_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a name that is listed twice."""
    twice = dict.fromkeys(name for name in values if values.count(name) > 1)
    if twice:
        raise PydanticCustomError("fields", "must not repeat {names}", {"names": " and ".join(twice)})
    return values


def _order(value: Any) -> Any:
    if value == "by-size":
        return value
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 <= value < SEEDS
        and value == int(value)
    ):
        return int(value)
    raise PydanticCustomError("spec", "must be by-size or a whole number from 0 to 2^32 - 1")


def _form(value: Any) -> str:
    return "apart" if isinstance(value, dict | SeedPair) else "number"


SEEDS = 2**32
SeedNumber = Annotated[Whole, Field(ge=0, lt=SEEDS)]


class SeedPair(Described):
    """One seed of the initial weights and one of the order of data, where a single number is both."""

    init: SeedNumber
    """Of the initial weights."""
    order: Annotated[Literal["by-size"] | int, BeforeValidator(_order)]
    """Of the order of data. by-size: another one for each shape, derived from init and shape."""

    def __str__(self) -> str:
        return f"{{init: {self.init}, order: {self.order}}}"


Seed = Annotated[
    Annotated[SeedNumber, Tag("number")] | Annotated[SeedPair, Tag("apart")], Discriminator(_form)
]
Several = Field(min_length=1, max_length=1000)
Counts = Annotated[tuple[Count, ...], Several, AfterValidator(_distinct)]
Seeds = Annotated[tuple[Seed, ...], Several, AfterValidator(_distinct)]
Amounts = Annotated[tuple[Positive, ...], Several, AfterValidator(_distinct)]

if TYPE_CHECKING:
    BatchOrRule = int | Rule
    RateOrRule = float | Rule
else:
    BatchOrRule = or_rule(Count)
    RateOrRule = or_rule(Positive)
