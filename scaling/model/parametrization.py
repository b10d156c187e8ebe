"""What a parametrization multiplies: one table by role, as powers of width and depth over those of the base.

At the base every multiplier is 1 and all parametrizations are the standard one. Sources, by row:

* Yang et al., arXiv:2203.03466, table 8 (also compatible with tied embeddings), and table 3 for routers;
  attention by definition 4.1;
* Dey et al., arXiv:2505.01618, table 1, at alpha = 1: depth, Adam's epsilon and weight decay;
* Mlodozeniec et al., arXiv:2512.22382: epsilon of the gains of queries and keys, shared by all heads;
* Yang et al., arXiv:2310.17813, condition 1, for updates that are not entrywise: the spectral norm of a
  matrix's update is to be about sqrt(outputs / inputs).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scaling.counts.shape import Parameter, Shape, parameter_table
from scaling.recipe.optimizers import Optimizer, Updates
from scaling.recipe.parametrization import CompleteP, Parametrization


@dataclass(frozen=True)
class Base:
    """The size at which a recipe was tuned; without a parametrization every size is its own base."""

    width: int
    depth: int
    head_dim: int

    @classmethod
    def of(cls, shape: Shape, parametrization: Parametrization | None) -> Base:
        if parametrization is None:
            return cls(shape.width, shape.depth, shape.head_dim)
        depth = parametrization.base_depth if isinstance(parametrization, CompleteP) else shape.depth
        return cls(parametrization.base_width, depth, parametrization.base_head_dim or shape.head_dim)


@dataclass(frozen=True)
class Power:
    """(width / base width)^width x (depth / base depth)^depth."""

    width: float = 0.0
    depth: float = 0.0

    def at(self, shape: Shape, base: Base) -> float:
        return (shape.width / base.width) ** self.width * (shape.depth / base.depth) ** self.depth


ONE = Power()


@dataclass(frozen=True)
class Row:
    """Of one kind of parameter: the size of its ``gradient``, and so Adam's epsilon; its ``rate`` where
    updates are entrywise, with ``others`` for updates of other kinds."""

    gradient: Power
    rate: Power = ONE
    others: Mapping[Updates, Power] = field(default_factory=dict[Updates, Power])


TABLE: dict[str, Row] = {
    "embedding": Row(gradient=Power(width=-1)),
    "head": Row(gradient=Power(width=-1)),
    "final gain": Row(gradient=Power(width=-1)),
    "gain": Row(gradient=Power(width=-1, depth=-1)),
    # one gain for all heads sums the gradients of as many as there are
    "gain of heads": Row(gradient=Power(depth=-1)),
    "bias": Row(gradient=Power(width=-1, depth=-1)),
    "matrix": Row(
        gradient=Power(width=-1, depth=-1),
        rate=Power(width=-1),
        others={
            "relative": Power(width=-0.5),  # to weights of about width^-1/2
            "orthogonal": Power(width=-0.5),  # entries of about 1 have a spectral norm of about width^1/2
            "spectral": ONE,
        },
    ),
    # an output, drawn smaller where the head has a multiplier
    "router": Row(gradient=Power(depth=-1), rate=Power(width=-1), others={"relative": ONE}),
}
LOGITS = Power(width=-1)
BRANCH = Power(depth=-1)
ROUTER_STD = Power(width=-0.5)


def row_of(parameter: Parameter) -> Row:
    """Return the row of the table that a parameter has."""
    name: str = parameter.role
    if parameter.role == "gain":
        name = "gain of heads" if "head_dim" in parameter.axes else name
        name = name if "layer" in parameter.axes else "final gain"
    return TABLE[name]


@dataclass(frozen=True)
class Multipliers:
    """Of one parameter: ``gradient`` divides gradients before the optimizer, which multiplies Adam's epsilon
    by it; ``rate`` multiplies updates, before weight decay."""

    gradient: float
    rate: float


def multipliers(
    shape: Shape, parametrization: Parametrization, optimizer: Optimizer
) -> dict[str, Multipliers]:
    """Return the multipliers of every parameter.

    Weight decay is not multiplied: what a step takes from a matrix, rate x decay, is the same at all sizes
    (in the table of Dey et al. its decay grows as its rate falls).

    Args:
        shape: of the model.
        parametrization: of the run.
        optimizer: says what the updates of matrices are like.
    """
    base = Base.of(shape, parametrization)
    rows = {name: row_of(parameter) for name, parameter in parameter_table(shape).items()}
    return {
        name: Multipliers(
            row.gradient.at(shape, base), row.others.get(optimizer.updates, row.rate).at(shape, base)
        )
        for name, row in rows.items()
    }


@dataclass(frozen=True)
class Forward:
    """What the model multiplies: ``scores`` q k, ``branch`` what attention and MLP add to the residual
    stream, ``logits`` the input of the head, ``embedding`` embeddings where they are scaled."""

    scores: float
    branch: float
    logits: float
    embedding: float

    @classmethod
    def of(cls, shape: Shape, parametrization: Parametrization | None) -> Forward:
        base = Base.of(shape, parametrization)
        return cls(
            scores=base.head_dim**-0.5 * (base.head_dim / shape.head_dim),
            branch=BRANCH.at(shape, base),
            logits=LOGITS.at(shape, base),
            embedding=base.width**0.5,
        )


def initial_std(parameter: Parameter, shape: Shape, parametrization: Parametrization | None) -> float:
    """Return the standard deviation that a random parameter is drawn with.

    Matrices: 1 / sqrt(fan_in), those that write into the residual stream over a further sqrt(2 x depth)
    (GPT-2); embedding: 1, or 1 / sqrt(width) when tied or scaled. Where these depend on width or depth other
    than by the fan-in, they are the base's.
    """
    base = Base.of(shape, parametrization)
    match parameter.role:
        case "embedding":
            return base.width**-0.5 if shape.tied or shape.scaled_embedding else 1.0
        case "router":
            return parameter.fan_in**-0.5 * ROUTER_STD.at(shape, base)
        case "matrix":
            return parameter.fan_in**-0.5 * ((2 * base.depth) ** -0.5 if parameter.residual else 1.0)
        case "gain" | "bias" | "head":
            return 0.0
