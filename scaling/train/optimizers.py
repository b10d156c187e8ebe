"""What an optimizer does: optax transformations of the optimizers of :mod:`scaling.recipe.optimizers`.

A builder takes the optimizer with arrays for its numbers: runtime arguments of the compiled program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import optax

from scaling.counts.shape import Shape, parameter_table
from scaling.model.parametrization import Multipliers, multipliers
from scaling.model.roles import Array, Params, decay_mask
from scaling.recipe.optimizers import OPTIMIZERS, SGD, AdamW, Lion, Optimizer, ratio_name
from scaling.recipe.parametrization import Parametrization

Structure = tuple[tuple[str, Any], ...]
Numbers = Mapping[str, Array]


def _adamw(optimizer: AdamW) -> optax.GradientTransformation:
    """Return Adam (arXiv:1412.6980)."""
    return optax.scale_by_adam(b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.eps)


def _lion(optimizer: Lion) -> optax.GradientTransformation:
    return optax.scale_by_lion(b1=optimizer.b1, b2=optimizer.b2)


def _sgd(optimizer: SGD) -> optax.GradientTransformation:
    return optax.trace(decay=optimizer.momentum, nesterov=optimizer.nesterov)


DIRECTIONS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "lion": _lion,
    "sgd": _sgd,
}
"""Kind -> gradients to a direction; clipping, weight decay and the rate are those of all."""


def numbers_of(optimizer: Optimizer) -> dict[str, np.float32]:
    """Return the numbers of a run's optimizer as a compiled program takes them."""
    return {name: np.float32(value) for name, value in optimizer.numbers.items()}


def make_optimizer(
    shape: Shape,
    structure: Structure,
    numbers: Numbers,
    learning_rate: Array,
    parametrization: Parametrization | None = None,
) -> optax.GradientTransformation:
    """Clip by global norm, take the optimizer's direction, decay matrices (decoupled, arXiv:1711.05101), all
    at the rate of the step, or where a role has a rate of its own, at that.

    Args:
        shape: whose parameter table says what a matrix is.
        structure: of the optimizer, static.
        numbers: of the optimizer, by name; arrays or tracers.
        learning_rate: of this step.
        parametrization: scales gradients and rates by parameter; no part of the optimizer's state.
    """
    fields = dict(structure)
    roles = fields.pop("roles", ())
    optimizer = OPTIMIZERS[fields["kind"]].model_construct(**fields, **numbers)
    direction = DIRECTIONS[optimizer.kind](optimizer)
    if parametrization is not None:
        direction = _parametrized(direction, multipliers(shape, parametrization, optimizer))
    return optax.chain(
        optax.clip_by_global_norm(optimizer.clip_norm),
        direction,
        optax.add_decayed_weights(optimizer.weight_decay, mask=decay_mask(shape)),
        *([_scale_by_role(shape, {role: numbers[ratio_name(role)] for role in roles})] if roles else []),
        optax.scale_by_learning_rate(learning_rate),
    )


def _parametrized(
    direction: optax.GradientTransformation, table: Mapping[str, Multipliers]
) -> optax.GradientTransformation:
    """Divide gradients by their expected size, which multiplies Adam's epsilon by it, and multiply updates by
    the rates of their parameters. Weight decay comes after."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        scaled: Any = {name: grad / table[name].gradient for name, grad in updates.items()}
        directions, state = direction.update(scaled, state, params)
        steps: Any = directions
        return {name: step * table[name].rate for name, step in steps.items()}, state

    return optax.GradientTransformation(direction.init, update)


def _scale_by_role(shape: Shape, ratios: Mapping[str, Array]) -> optax.GradientTransformation:
    """Multiply updates by the rate of the parameter's role over the learning rate; biases are with gains,
    routers with matrices."""
    rated_as = {"bias": "gain", "router": "matrix"}
    roles = {name: rated_as.get(p.role, p.role) for name, p in parameter_table(shape).items()}

    def scale(updates: Any, params: Any = None) -> Any:
        return {
            name: update * ratios[roles[name]] if roles[name] in ratios else update
            for name, update in updates.items()
        }

    return optax.stateless(scale)


def number_names(structure: Structure) -> list[str]:
    """Return the names of the numbers of an optimizer of this structure."""
    static = dict(structure)
    roles = [ratio_name(role) for role in static.get("roles", ())]
    fields = OPTIMIZERS[static["kind"]].model_fields
    others = {*static, "learning_rate", "learning_rates"}
    return [name for name in fields if name not in others] + roles


def initial_moments(shape: Shape, structure: Structure, params: Params) -> optax.OptState:
    """Return the optimizer's state before the first step; it depends on no number."""
    numbers = dict.fromkeys(number_names(structure), 0.0)
    return make_optimizer(shape, structure, numbers, 0.0).init(cast(Any, params))
