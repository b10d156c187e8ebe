"""What an optimizer does: optax transformations of the optimizers of :mod:`scaling.recipe.optimizers`.

A builder takes the optimizer with arrays for its numbers, runtime arguments of the compiled program, and the
parameter table, which says what is a matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import numpy as np
import optax

from scaling.counts.shape import Parameter, Shape, parameter_table
from scaling.model.parametrization import Multipliers, multipliers
from scaling.model.roles import Array, Params, decay_mask
from scaling.recipe.optimizers import OPTIMIZERS, SGD, Adafactor, AdamW, Lion, Muon, Optimizer, ratio_name
from scaling.recipe.parametrization import Parametrization

Structure = tuple[tuple[str, Any], ...]
Numbers = Mapping[str, Array]
Table = Mapping[str, Parameter]

ADAM_RMS = 0.2  # of an update of Adam, about (arXiv:2502.16982, 2.2)


def _adamw(optimizer: AdamW, table: Table) -> optax.GradientTransformation:
    """Return Adam (arXiv:1412.6980)."""
    return optax.scale_by_adam(b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.eps)


def _muon(optimizer: Muon, table: Table) -> optax.GradientTransformation:
    """Return Muon for arrays of role ``matrix``, each matrix of a stack by itself; Adam for all others."""
    kinds = {name: "muon" if parameter.role == "matrix" else "adam" for name, parameter in table.items()}
    axes = {
        name: _matrix_axes(table[name]) if kind == "muon" else optax.MaskedNode()
        for name, kind in kinds.items()
    }
    orthogonal = optax.contrib.scale_by_muon(
        ns_steps=optimizer.ns_steps,
        beta=optimizer.momentum,
        eps=optimizer.eps,
        nesterov=optimizer.nesterov,
        weight_dimension_numbers=axes,
    )
    sizes = {name: _muon_size(table[name], optimizer.scale) for name, kind in kinds.items() if kind == "muon"}
    matrices = optax.chain(orthogonal, scale_each(sizes))
    adam = optax.scale_by_adam(b1=optimizer.b1, b2=optimizer.b2, eps=optimizer.eps)
    return _in_full_precision(optax.partition({"muon": matrices, "adam": adam}, kinds))


def _matrix_axes(parameter: Parameter) -> optax.contrib.MuonDimensionNumbers:
    """Say which axes of an array of matrices are inputs and which are outputs; the others are stacked."""
    first, ndim = parameter.stacked, len(parameter.dims)
    outputs = first + parameter.inputs
    return optax.contrib.MuonDimensionNumbers(tuple(range(first, outputs)), tuple(range(outputs, ndim)))


def _muon_size(parameter: Parameter, scale: str) -> float:
    """Return what an orthogonal matrix, whose root mean square is 1 / sqrt(the larger of inputs and outputs),
    is multiplied by."""
    inputs, outputs = parameter.fan_in, parameter.fan_out
    return ADAM_RMS * max(inputs, outputs) ** 0.5 if scale == "rms" else max(1.0, outputs / inputs) ** 0.5


def scale_each(factors: Mapping[str, Array]) -> optax.GradientTransformation:
    """Multiply the updates of the parameters named; others are left as they are."""

    def scale(updates: Any, params: Any = None) -> Any:
        return {
            name: update * factors[name] if name in factors else update for name, update in updates.items()
        }

    return optax.stateless(scale)


def _in_full_precision(transformation: Any) -> optax.GradientTransformation:
    """Do the matrix products of a transformation in float32 everywhere, whatever the precision of the run."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        with jax.default_matmul_precision("highest"):
            return transformation.update(updates, state, params)

    return optax.GradientTransformation(transformation.init, update)


def _lion(optimizer: Lion, table: Table) -> optax.GradientTransformation:
    return optax.scale_by_lion(b1=optimizer.b1, b2=optimizer.b2)


def _adafactor(optimizer: Adafactor, table: Table) -> optax.GradientTransformation:
    """Return Adafactor as optax chains it, the learning rate and decay left to the end."""
    parts = [
        optax.scale_by_factored_rms(
            decay_rate=optimizer.decay_rate,
            min_dim_size_to_factor=optimizer.smallest_factored,
            epsilon=optimizer.eps,
        ),
        optax.clip_by_block_rms(optimizer.clipping_threshold),
    ]
    if optimizer.parameter_scale:
        parts.append(optax.scale_by_param_block_rms())
    if optimizer.momentum is not None:  # a number, of whatever value
        parts.append(optax.ema(optimizer.momentum, debias=False))
    return _array_by_array(optax.chain(*parts), table)


def _array_by_array(single: optax.GradientTransformation, table: Table) -> optax.GradientTransformation:
    """Apply a transformation to each array of a stack by itself: matrices as such, with two axes. Numbers of
    its state that are no arrays are shared by the stack."""

    def stacked(name: str, array: Any) -> tuple[Any, Any]:
        flat = array.reshape(table[name].flat)
        state = jax.eval_shape(single.init, jax.ShapeDtypeStruct(flat.shape[1:], flat.dtype))
        return flat, jax.tree.map(lambda leaf: 0 if leaf.ndim else None, state)

    def init(params: Any) -> Any:
        states = dict[str, Any]()
        for name, array in params.items():
            flat, axes = stacked(name, array)
            states[name] = jax.vmap(single.init, out_axes=axes)(flat)
        return states

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        new, states = dict[str, Any](), dict[str, Any]()
        for name, array in updates.items():
            flat, axes = stacked(name, array)
            of_stack: Any = jax.vmap(single.update, in_axes=(0, axes, 0), out_axes=(0, axes))
            flat, states[name] = of_stack(flat, state[name], params[name].reshape(flat.shape))
            new[name] = flat.reshape(array.shape)
        return new, states

    return optax.GradientTransformation(init, update)


def _sgd(optimizer: SGD, table: Table) -> optax.GradientTransformation:
    return optax.trace(decay=optimizer.momentum, nesterov=optimizer.nesterov)


DIRECTIONS: dict[str, Callable[[Any, Table], optax.GradientTransformation]] = {
    "adamw": _adamw,
    "muon": _muon,
    "lion": _lion,
    "adafactor": _adafactor,
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
    table = parameter_table(shape)
    ratios = _by_role(table, {role: numbers[ratio_name(role)] for role in roles})
    direction = DIRECTIONS[optimizer.kind](optimizer, table)
    if parametrization is not None:
        direction = _parametrized(direction, multipliers(shape, parametrization, optimizer))
    return optax.chain(
        optax.clip_by_global_norm(optimizer.clip_norm),
        direction,
        optax.add_decayed_weights(optimizer.weight_decay, mask=decay_mask(shape)),
        *([scale_each(ratios)] if ratios else []),
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


def _by_role(table: Table, ratios: Mapping[str, Array]) -> dict[str, Array]:
    """Return the ratio of each parameter whose role has one; biases are with gains, routers with matrices."""
    rated_as = {"bias": "gain", "router": "matrix"}
    roles = {name: rated_as.get(parameter.role, parameter.role) for name, parameter in table.items()}
    return {name: ratios[role] for name, role in roles.items() if role in ratios}


def number_names(structure: Structure) -> list[str]:
    """Return the names of the numbers of an optimizer of this structure."""
    static = dict(structure)
    roles = [ratio_name(role) for role in static.get("roles", ())]
    fields = OPTIMIZERS[static["kind"]].model_fields
    others = {*static, "learning_rate", "learning_rates", "decay"}
    return [name for name in fields if name not in others] + roles


def initial_moments(shape: Shape, structure: Structure, params: Params) -> optax.OptState:
    """Return the optimizer's state before the first step; it depends on no number."""
    numbers = dict.fromkeys(number_names(structure), 0.0)
    return make_optimizer(shape, structure, numbers, 0.0).init(cast(Any, params))
