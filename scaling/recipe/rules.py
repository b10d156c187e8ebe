"""Rules that give a number for each size or horizon, and unions of what is built in.

A rule is a product of powers of the quantities of a run (:data:`Scale`). These become known in stages: those
of the shape, the batch, the horizon, the learning rate, all others; a rule uses those of earlier stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from scaling.recipe.quantities import Described, Positive, Real, Unit

Scale = Literal[
    "width", "depth", "params", "params_body", "batch_tokens", "tokens", "tokens_per_param", "flops",
    "flops_body", "learning_rate",
]  # fmt: skip
SCALES: tuple[Scale, ...] = get_args(Scale)
OF_HORIZON: frozenset[Scale] = frozenset({"tokens", "tokens_per_param", "flops", "flops_body"})
Scales = Mapping[Scale, float]
Exponent = Annotated[Real, Field(ge=-10, le=10)]


@dataclass(frozen=True)
class Powers:
    """coefficient x product of scale^exponent."""

    coefficient: float
    exponents: Mapping[Scale, float]

    def at(self, scales: Scales) -> float:
        """Evaluate to 12 digits, so that ids do not depend on a machine's ``pow``; infinite on overflow."""
        value = self.coefficient
        try:
            for scale in SCALES:
                if scale in self.exponents:
                    value *= float(scales[scale]) ** self.exponents[scale]
        except OverflowError:
            return math.inf
        return float(f"{value:.12g}")


class Rule(Described):
    """What stands in a spec for a number that follows from others."""

    kind: str

    def powers(self, target: str) -> Powers:
        """Return the rule of the field ``target``, one of :meth:`targets`."""
        raise NotImplementedError

    def targets(self) -> tuple[str, ...]:
        """Return the fields that it has rules for; empty where that is any."""
        return ()

    def uses(self, target: str) -> frozenset[Scale]:
        """Return the quantities that the field ``target`` follows from."""
        return frozenset(self.powers(target).exponents)


def _powers_or_name(value: Any) -> str:
    return "powers" if isinstance(value, dict) else "name"


class PowerRule(Rule):
    """value = coefficient x of^exponent; or, where `of` maps quantities to exponents, a product of powers."""

    kind: Literal["power"]
    of: Annotated[
        Annotated[Scale, Tag("name")] | Annotated[dict[Scale, Exponent], Tag("powers"), Field(min_length=1)],
        Discriminator(_powers_or_name),
    ]
    """What it scales with: a quantity, or {width: -1, tokens: -0.1}. With a quantity of the horizon (tokens,
    tokens_per_param, flops, flops_body) runs of one size differ and share no trunk."""
    coefficient: Positive
    exponent: Exponent | None = None
    """Needed where `of` is one quantity."""

    @model_validator(mode="after")
    def _one_exponent(self) -> PowerRule:
        if isinstance(self.of, dict) != (self.exponent is None):
            message = (
                "needs an exponent where `of` is one quantity"
                if self.exponent is None
                else "has an exponent, and so have the quantities in `of`: keep one"
            )
            raise PydanticCustomError("fields", message)
        return self

    def powers(self, target: str) -> Powers:
        of: Any = self.of
        exponents: Any = of if isinstance(of, dict) else {of: self.exponent}
        return Powers(self.coefficient, exponents)


class DurationRule(PowerRule):
    """A duration that follows a rule: as PowerRule, in a unit."""

    unit: Unit
    """What the value is in: steps, tokens, or % of the horizon."""


def any_of(*models: Any) -> Any:
    """Build the union of models told apart by ``kind``."""
    return Annotated[Union[models], Field(discriminator="kind")]  # noqa: UP007


def by_kind(union: Any) -> dict[str, Any]:
    """Return the models of a union by the one value of their ``kind``."""
    return {get_args(model.model_fields["kind"].annotation)[0]: model for model in get_args(union)}
