"""Types that several sections of a spec share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from scaling.recipe.quantities import Count, Positive, Whole


def _distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = sorted({v for v in values if values.count(v) > 1}) if len(values) <= 1000 else []
    if twice:
        raise PydanticCustomError(
            "spec",
            "must not repeat a value: {values} more than once",
            {"values": ", ".join(f"{v:g}" for v in twice)},
        )
    return values


Several = Field(min_length=1, max_length=1000)
Counts = Annotated[tuple[Count, ...], Several, AfterValidator(_distinct)]
Seeds = Annotated[tuple[Annotated[Whole, Field(ge=0, lt=2**32)], ...], Several, AfterValidator(_distinct)]
Amounts = Annotated[tuple[Positive, ...], Several, AfterValidator(_distinct)]
