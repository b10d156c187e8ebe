"""Rules that give a number for each size or horizon, and unions of what is built in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import Discriminator, Field, Tag

from scaling.recipe.quantities import Described, Positive, Real

Scale = Literal["width", "depth", "params", "params_body", "tokens"]
SMALLEST, LARGEST = 1e-12, 1e6  # values of a rule; others are a mistake in its exponent


class PowerRule(Described):
    """value = coefficient x of^exponent."""

    kind: Literal["power"]
    of: Scale
    """What it scales with. With `tokens` (the run's horizon) runs of one size differ and share no trunk."""
    coefficient: Positive
    exponent: Annotated[Real, Field(ge=-10, le=10)]

    def value(self, scales: Mapping[Scale, int]) -> float:
        """Evaluate to 12 digits, so that ids do not depend on a machine's ``pow``.

        Raises:
            ValueError: the value is not between 1e-12 and 1e6.
        """
        try:
            value = self.coefficient * float(scales[self.of]) ** self.exponent
        except OverflowError:
            value = math.inf
        if not SMALLEST <= value <= LARGEST:
            raise ValueError(f"the rule gives {value:g}")
        return float(f"{value:.12g}")


def _tag(value: Any) -> str:
    return "power" if isinstance(value, dict | PowerRule) else "number"


NumberOrRule = Annotated[
    Annotated[Positive, Tag("number")] | Annotated[PowerRule, Tag("power")], Discriminator(_tag)
]


def any_of(*models: Any) -> Any:
    """Build the union of models told apart by ``kind``."""
    return Annotated[Union[models], Field(discriminator="kind")]  # noqa: UP007


def by_kind(union: Any) -> dict[str, Any]:
    """Return the models of a union by the one value of their ``kind``."""
    return {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(union)}
