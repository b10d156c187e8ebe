"""The fields of an optimizer, as a run has them; in a spec each number may be a rule.

To add one: a class here and its entry in :data:`OPTIMIZERS`; its optax transformation in
``scaling/train/optimizers.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, TypeAdapter

from scaling.recipe.quantities import Described, Positive, Real
from scaling.recipe.rules import Rule, Scales, any_of
from scaling.recipe.written import checked, number, with_numbers, with_rules

Average = Annotated[Real, Field(ge=0, lt=1)]
"""Share that an exponential average keeps at each step."""


class Optimizer(Described):
    """What all optimizers have. Weight decay is decoupled and acts on parameters of role ``matrix`` only:
    update = -rate x (direction + decay x weight).
    """

    moments: ClassVar[int]
    """Arrays of the size of the parameters that the optimizer keeps."""

    kind: str
    learning_rate: Positive
    """Peak rate: a number, or a rule such as {kind: power, of: width, coefficient: 0.2, exponent: -1}."""
    weight_decay: Annotated[Real, Field(ge=0)] = 0.1
    """Multiplies the learning rate."""
    clip_norm: Positive = 1.0
    """Gradients with a larger global norm are scaled down to it."""

    def peak(self, scales: Scales) -> float:
        """Return the learning rate of a run with these quantities.

        Raises:
            RuleError: its rule gives none that is plausible.
        """
        rate: float | Rule = self.learning_rate
        return number(rate, scales, ("learning_rate",)) if isinstance(rate, Rule) else rate

    def resolved(self, scales: Scales) -> Optimizer:
        """Return the run's optimizer: rules made numbers, that of the learning rate first.

        Raises:
            RuleError: a rule gives a number that its field cannot have.
        """
        return checked(_RUN_OPTIMIZER, with_numbers(self, {**scales, "learning_rate": self.peak(scales)}))

    @property
    def numbers(self) -> dict[str, float]:
        """All numbers but the learning rate: what may differ between runs of one compiled program."""
        return {name: value for name, value in self if isinstance(value, float) and name != "learning_rate"}

    @property
    def structure(self) -> tuple[tuple[str, Any], ...]:
        """What decides the program itself: the kind, switches and counts."""
        return tuple((name, value) for name, value in self if not isinstance(value, float))


class AdamW(Optimizer):
    """AdamW (arXiv:1711.05101); weight decay acts on matrices only."""

    moments = 2

    kind: Literal["adamw"]
    b1: Average = 0.9
    b2: Average = 0.95
    eps: Positive = 1e-8


class Lion(Optimizer):
    """Lion (arXiv:2302.06675): the sign of an average. Its rate is a third to a tenth of AdamW's, its weight
    decay that much larger; weight decay acts on matrices only."""

    moments = 1

    kind: Literal["lion"]
    weight_decay: Annotated[Real, Field(ge=0)] = 1.0
    """Multiplies the learning rate."""
    b1: Average = 0.9
    """Of the average whose sign is the step."""
    b2: Average = 0.99
    """Of the average that is kept."""


class SGD(Optimizer):
    """Gradient descent with momentum; weight decay acts on matrices only."""

    moments = 1

    kind: Literal["sgd"]
    weight_decay: Annotated[Real, Field(ge=0)] = 0.0
    """Multiplies the learning rate."""
    momentum: Average = 0.9
    """Share of the sum of gradients that is kept at each step."""
    nesterov: StrictBool = False
    """Look ahead along the momentum (Sutskever et al., 2013)."""


OPTIMIZERS: dict[str, type[Optimizer]] = {"adamw": AdamW, "lion": Lion, "sgd": SGD}

WRITTEN_OPTIMIZERS = {kind: with_rules(model) for kind, model in OPTIMIZERS.items()}

if TYPE_CHECKING:
    WrittenOptimizer = Optimizer
    RunOptimizer = Optimizer
else:
    WrittenOptimizer = any_of(*WRITTEN_OPTIMIZERS.values())
    RunOptimizer = any_of(*OPTIMIZERS.values())

_RUN_OPTIMIZER: TypeAdapter[Optimizer] = TypeAdapter(RunOptimizer)
