"""The fields of an optimizer, as a run has them; in a spec each number may be a rule.

To add one: a class here with the floats it keeps of an array, and its entry in :data:`OPTIMIZERS`; its optax
transformation in ``scaling/train/optimizers.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StrictBool, TypeAdapter

from scaling.counts.shape import Parameter, Shape, parameter_table
from scaling.recipe.published import PUBLISHED
from scaling.recipe.quantities import Count, Described, Positive, Real
from scaling.recipe.rules import Rule, Scales, any_of
from scaling.recipe.written import RuleError, checked, number, with_numbers, with_rules

Average = Annotated[Real, Field(ge=0, lt=1)]
"""Share that an exponential average keeps at each step."""


Updates = Literal["entrywise", "relative", "orthogonal", "spectral"]
"""What updates of matrices are like before the rate. entrywise: each entry is about 1, or as its gradient;
relative: about as large as the weights; orthogonal: of equal singular values and with entries about 1;
spectral: of singular values about sqrt(outputs / inputs)."""


class RoleRates(Described):
    """Peak learning rates by what a parameter is; left out: the optimizer's `learning_rate`."""

    embedding: Positive | None = Field(default=None, json_schema_extra={"neutral": None})
    head: Positive | None = Field(default=None, json_schema_extra={"neutral": None})
    gain: Positive | None = Field(default=None, json_schema_extra={"neutral": None})
    """Of gains, and of biases."""
    matrix: Positive | None = Field(default=None, json_schema_extra={"neutral": None})

    @property
    def given(self) -> dict[str, float]:
        """The rates that are not left out."""
        return {role: rate for role, rate in self if rate is not None}


class Optimizer(Described):
    """What all optimizers have. Weight decay is decoupled and acts on matrices, those of routers too, only:
    update = -rate x (direction + decay x weight).
    """

    kind: str
    learning_rate: Positive
    """Peak rate: a number, or a rule such as {kind: power, of: width, coefficient: 0.2, exponent: -1}."""
    weight_decay: Annotated[Real, Field(ge=0)] = 0.1
    """Share of a weight that a step takes off it, before it is multiplied as `decay` says."""
    decay: Literal["rate", "independent"] = Field(default="rate", json_schema_extra={"neutral": "rate"})
    """What `weight_decay` is multiplied by: the learning rate of the step (`rate`), or that over its peak
    (`independent`), so that decay does not change with the peak (arXiv:2309.14322)."""
    clip_norm: Positive = 1.0
    """Gradients with a larger global norm are scaled down to it."""
    learning_rates: RoleRates | None = Field(default=None, json_schema_extra={"neutral": None})
    """Peak rates of embedding, head, gain or matrix parameters, where they differ from `learning_rate`."""

    @property
    def updates(self) -> Updates:
        """What updates of matrices are like, by which a parametrization scales their rate."""
        return "entrywise"

    def peak(self, scales: Scales) -> float:
        """Return the learning rate of a run with these quantities.

        Raises:
            RuleError: its rule gives none that is plausible.
        """
        rate: float | Rule = self.learning_rate
        return number(rate, scales, ("learning_rate",)) if isinstance(rate, Rule) else rate

    def kept(self, parameter: Parameter) -> int:
        """Return the numbers that are kept of an array between steps."""
        raise NotImplementedError

    def moments(self, shape: Shape) -> int:
        """Return the numbers that are kept between steps, but for counters and constants."""
        return sum(self.kept(parameter) for parameter in parameter_table(shape).values())

    def resolved(self, scales: Scales) -> Optimizer:
        """Return the run's optimizer: rules made numbers, that of the learning rate first. A rule of the
        weight decay goes by the rate of matrices, the only parameters that decay.

        Raises:
            RuleError: a rule gives a number that its field cannot have.
        """
        decay: Any = self.weight_decay
        if self.decay == "independent" and isinstance(decay, PUBLISHED):
            message = f"{decay.kind} is of a decay that multiplies the learning rate"
            raise RuleError(("weight_decay",), message, "leave out decay: independent, or write a power")
        rate = self.peak(scales)
        fields = with_numbers(self, {**scales, "learning_rate": rate})
        if self.learning_rates is not None:
            rates: dict[str, float | None] = fields["learning_rates"]
            if isinstance(decay, Rule) and rates["matrix"] is not None:
                of_matrices: Scales = {**scales, "learning_rate": rates["matrix"]}
                fields["weight_decay"] = number(decay, of_matrices, ("weight_decay",))
            differing = {role: value for role, value in rates.items() if value not in (None, rate)}
            fields["learning_rates"] = differing or None
        return checked(_RUN_OPTIMIZER, fields)

    @property
    def numbers(self) -> dict[str, float]:
        """All numbers but the learning rate: what may differ between runs of one compiled program. Weight
        decay as it multiplies the rate; for each role that has a rate of its own, the ratio of that to the
        learning rate, by :func:`ratio_name`."""
        plain = {name: value for name, value in self if isinstance(value, float) and name != "learning_rate"}
        rates = {} if self.learning_rates is None else self.learning_rates.given
        if self.decay == "independent":  # programs multiply by the rate of the step
            plain["weight_decay"] /= rates.get("matrix", self.learning_rate)
        return plain | {ratio_name(role): rate / self.learning_rate for role, rate in rates.items()}

    @property
    def structure(self) -> tuple[tuple[str, Any], ...]:
        """What decides the program itself: the kind, switches and counts, and the roles that have a rate of
        their own."""
        static = {name: value for name, value in self if not isinstance(value, float)}
        rates = static.pop("learning_rates")
        del static["decay"]  # told by the number of weight decay
        roles = {} if rates is None else {"roles": tuple(rates.given)}
        return tuple((static | roles).items())


def ratio_name(role: str) -> str:
    """Return the name of a role's rate over the learning rate among the numbers of a program."""
    return f"learning_rates.{role}"


class AdamW(Optimizer):
    """AdamW (arXiv:1711.05101); weight decay acts on matrices only."""

    kind: Literal["adamw"]
    b1: Average = 0.9
    b2: Average = 0.95
    eps: Positive = 1e-8

    def kept(self, parameter: Parameter) -> int:
        return 2 * parameter.size


class Muon(Optimizer):
    """Muon (Jordan et al., 2024): the momentum of each matrix made orthogonal by Newton-Schulz iterations.
    Embeddings, head, routers, gains and biases are trained by Adam: give them rates of their own where
    `scale` is spectral."""

    kind: Literal["muon"]
    momentum: Average = 0.95
    """Share of the average of gradients that is kept at each step."""
    nesterov: StrictBool = True
    """Look ahead along the momentum."""
    ns_steps: Count = 5
    """Newton-Schulz iterations."""
    scale: Literal["rms", "spectral"] = "rms"
    """Size of a matrix's step: root mean square 0.2, as Adam's, so that its rates and decay serve
    (arXiv:2502.16982, equation 4), or spectral norm sqrt(max(1, outputs / inputs)) (Jordan's own)."""
    b1: Average = 0.9
    """Of Adam."""
    b2: Average = 0.95
    """Of Adam."""
    eps: Positive = 1e-8
    """Of Adam; also added to the norm that a matrix is divided by before it is made orthogonal."""

    @property
    def updates(self) -> Updates:
        return "orthogonal" if self.scale == "rms" else "spectral"

    def kept(self, parameter: Parameter) -> int:
        return parameter.size if parameter.role == "matrix" else 2 * parameter.size


class Lion(Optimizer):
    """Lion (arXiv:2302.06675): the sign of an average. Its rate is a third to a tenth of AdamW's, its weight
    decay that much larger; weight decay acts on matrices only."""

    kind: Literal["lion"]
    weight_decay: Annotated[Real, Field(ge=0)] = 1.0
    """Share of a weight that a step takes off it, before it is multiplied as `decay` says."""
    b1: Average = 0.9
    """Of the average whose sign is the step."""
    b2: Average = 0.99
    """Of the average that is kept."""

    def kept(self, parameter: Parameter) -> int:
        return parameter.size


class Adafactor(Optimizer):
    """Adafactor (arXiv:1804.04235): Adam with the averages of squares of a matrix kept as those of its rows
    and of its columns, and no first moment. Each matrix of a stack by itself; embedding and head are matrices
    too. The rate is of what momentum averages, where optax's momentum averages what the rate has scaled."""

    kind: Literal["adafactor"]
    decay_rate: Annotated[Real, Field(gt=0, le=1)] = 0.8
    """Step t keeps 1 - t^-decay_rate of the averages of squares."""
    eps: Positive = 1e-30
    """Added to squares."""
    clipping_threshold: Positive = 1.0
    """Updates of an array with a larger root mean square are scaled down to it."""
    parameter_scale: StrictBool = True
    """Multiply updates of an array by the root mean square of its weights, at least 0.001: the learning rate
    is relative."""
    momentum: Average = 0.0
    """Share of the average of updates that is kept at each step; 0: no average, and no memory for it."""
    smallest_factored: Count = 2
    """Matrices with fewer rows or columns keep the averages of all their squares. A number amid the widths of
    a family (optax's 128) would give its sizes different optimizers."""

    @property
    def updates(self) -> Updates:
        return "relative" if self.parameter_scale else "entrywise"

    def kept(self, parameter: Parameter) -> int:
        arrays, *sizes = parameter.flat
        momentum = parameter.size if self.momentum else 0
        # and optax's empty places, of one number each
        if len(sizes) == 2 and min(sizes) >= self.smallest_factored:
            return momentum + arrays * (sum(sizes) + 1)
        return momentum + parameter.size + 2 * arrays

    @property
    def numbers(self) -> dict[str, float]:
        """As of all; momentum only where there is one."""
        return {name: value for name, value in super().numbers.items() if name != "momentum" or value}

    @property
    def structure(self) -> tuple[tuple[str, Any], ...]:
        """As of all; momentum None where there is none."""
        return super().structure + (() if self.momentum else (("momentum", None),))


class SGD(Optimizer):
    """Gradient descent with momentum; weight decay acts on matrices only."""

    kind: Literal["sgd"]
    weight_decay: Annotated[Real, Field(ge=0)] = 0.0
    """Share of a weight that a step takes off it, before it is multiplied as `decay` says."""
    momentum: Average = 0.9
    """Share of the sum of gradients that is kept at each step."""
    nesterov: StrictBool = False
    """Look ahead along the momentum (Sutskever et al., 2013)."""

    def kept(self, parameter: Parameter) -> int:
        return parameter.size


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "adamw": AdamW,
    "muon": Muon,
    "lion": Lion,
    "adafactor": Adafactor,
    "sgd": SGD,
}

WRITTEN_OPTIMIZERS = {kind: with_rules(model) for kind, model in OPTIMIZERS.items()}

if TYPE_CHECKING:
    WrittenOptimizer = Optimizer
    RunOptimizer = Optimizer
else:
    WrittenOptimizer = any_of(*WRITTEN_OPTIMIZERS.values())
    RunOptimizer = any_of(*OPTIMIZERS.values())

_RUN_OPTIMIZER: TypeAdapter[Optimizer] = TypeAdapter(RunOptimizer)
