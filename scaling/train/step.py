"""The training step, and the chunk of steps that one call of a compiled program takes.

A chunk has a static length and a runtime count of live steps. Learning rates, the optimizer's numbers, seed
and schedule are runtime arguments. So resumed runs, branches and other recipes reuse the same executable, and
where chunks begin and end does not change a bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax

from scaling.counts.shape import Shape
from scaling.model.placement import ONE_DEVICE, Placement
from scaling.model.roles import Array, Params
from scaling.model.transformer import Model, Trained
from scaling.recipe.parametrization import Parametrization
from scaling.train.optimizers import Numbers, Structure, make_optimizer


class TrainState(NamedTuple):
    """All that a run carries from step to step. ``ok`` False: a loss or gradient was not finite at
    ``step``, and the state is frozen since. ``smooth_loss`` is the training loss averaged
    exponentially over about the last 100 steps. ``emas``, one for each of the
    blueprint's decays, are averages from zero of the weights after each step before the last: lagging, they
    take no part in the computation of a step, whose numbers they would change."""

    params: Params
    moments: optax.OptState
    step: Array
    ok: Array
    smooth_loss: Array
    emas: tuple[Params, ...] = ()


class StepMetrics(NamedTuple):
    """What is logged of a step, and its gradient norm before clipping; of a chunk one of each step: (C,), of
    which those of live steps count."""

    trained: Trained
    grad_norm: Array


class ChunkMetrics(NamedTuple):
    """Of every step of a chunk; ``ok`` and ``step`` of the state after them, readable while the next chunk
    runs on the state itself."""

    steps: StepMetrics
    ok: Array
    step: Array


def gradients(
    model: Model,
    params: Params,
    window_BxT1: jax.Array,
    micro_batches: int = 1,
    place: Placement = ONE_DEVICE,
) -> tuple[Trained, Params]:
    """Compute what is logged of a step, and its gradients.

    Args:
        model: gives the loss, a mean over tokens; for several parts it is placed as one replica.
        params: of the model.
        window_BxT1: tokens of the batch.
        micro_batches: equal parts that it is taken in, one after the other.
        place: where its sequences live.
    """
    objective = jax.value_and_grad(model.objective, has_aux=True)
    if micro_batches == 1:
        (_, trained), grads = objective(params, window_BxT1)
        return trained, grads

    def mean(params: Params, window_BxT1: jax.Array) -> tuple[Trained, Params]:
        # Each part takes sequences from everywhere in the batch, so that no device waits for another's.
        parts = window_BxT1.reshape(-1, micro_batches, window_BxT1.shape[1]).swapaxes(0, 1)
        parts = place.replica(parts, None, "batch", None)

        def add(sums: tuple[Trained, Params], part: jax.Array) -> tuple[tuple[Trained, Params], None]:
            (_, trained), grads = objective(params, part)
            return jax.tree.map(jnp.add, sums, (trained, grads)), None

        nothing = Trained(jnp.zeros((), jnp.result_type(*params.values())))
        sums, _ = jax.lax.scan(add, (nothing, jax.tree.map(jnp.zeros_like, params)), parts)
        return jax.tree.map(lambda total: total / micro_batches, sums)

    return place.mean_of_replicas(mean)(params, window_BxT1)


def train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    window_BxT1: jax.Array,
    micro_batches: int = 1,
    place: Placement = ONE_DEVICE,
) -> tuple[TrainState, Trained, jax.Array]:
    """Take one step: (state, what is logged of it, gradient norm before clipping).

    Args:
        model: gives the loss.
        optimizer: of this step, its rate included.
        state: before the step.
        window_BxT1: tokens; the first T are inputs, the last T targets.
        micro_batches: of :func:`gradients`.
        place: of :func:`gradients`.
    """
    trained, grads = gradients(model, state.params, window_BxT1, micro_batches, place)
    grad_norm = optax.tree.norm(grads)
    updates, moments = optimizer.update(grads, state.moments, state.params)
    loss, weight = trained.loss, jnp.maximum(1.0 / (state.step + 1), 0.01)
    new = TrainState(
        params=cast(Params, optax.apply_updates(cast(Any, state.params), updates)),
        moments=moments,
        step=state.step + 1,
        ok=state.ok,
        smooth_loss=state.smooth_loss + weight * (loss - state.smooth_loss),
    )
    ok = state.ok & jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    kept = jax.tree.map(lambda after, before: jnp.where(ok, after, before), new, state)
    return kept._replace(ok=ok), trained, grad_norm


def _ema(state: TrainState, ema: Params, decay: float) -> Params:
    """Take the weights into an average; those before the first step do not count."""
    new = jax.tree.map(lambda average, now: decay * average + (1 - decay) * now, ema, state.params)
    return jax.tree.map(lambda after, before: jnp.where(state.step > 0, after, before), new, ema)


Step = Callable[[TrainState, jax.Array, jax.Array, Numbers], tuple[TrainState, StepMetrics]]
"""(state, windows (B, T+1), rate, numbers) -> the state after the step, and what is logged of it"""


def make_step(
    model: Model,
    optimizer: Structure,
    parametrization: Parametrization | None,
    ema_decays: tuple[float, ...],
    micro_batches: int = 1,
    place: Placement = ONE_DEVICE,
) -> Step:
    """Return the step of a chunk.

    Args:
        model: gives the loss.
        optimizer: its structure.
        parametrization: scales gradients and rates by parameter.
        ema_decays: of the averages that a state keeps.
        micro_batches: of :func:`gradients`.
        place: of :func:`gradients`.
    """

    def step(
        state: TrainState, window: jax.Array, rate: jax.Array, numbers: Numbers
    ) -> tuple[TrainState, StepMetrics]:
        transformation = make_optimizer(model.shape, optimizer, numbers, rate, parametrization)
        decays = zip(state.emas, ema_decays, strict=True)
        emas = tuple(_ema(state, ema, decay) for ema, decay in decays)
        state, trained, norm = train_step(
            model, transformation, state._replace(emas=()), window, micro_batches, place
        )
        return state._replace(emas=emas), StepMetrics(trained, norm)

    return step


def none_logged(shape: Shape, state: TrainState, steps: int) -> StepMetrics:
    """Return the metrics of so many steps before the first, in the precision of the state."""
    zeros = jnp.zeros(steps, state.smooth_loss.dtype)
    return StepMetrics(Trained(zeros, zeros if shape.experts else None), zeros)


def through_steps(
    step: Step,
    shape: Shape,
    state: TrainState,
    windows: jax.Array,
    rates: jax.Array,
    numbers: Numbers,
    live: jax.Array,
) -> tuple[TrainState, ChunkMetrics]:
    """Take the live steps of a chunk.

    Args:
        step: of :func:`make_step`.
        shape: of the model.
        state: before the chunk.
        windows: (C, B, T+1), of which the first ``live`` count.
        rates: of the steps: (C,).
        numbers: of the optimizer.
        live: steps to take.
    """

    def body(i: jax.Array, carry: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
        state, logged = carry
        state, metrics = step(state, windows[i], rates[i], numbers)
        return state, jax.tree.map(lambda every, one: every.at[i].set(one), logged, metrics)

    start = state, none_logged(shape, state, len(rates))
    state, logged = jax.lax.fori_loop(0, live, body, start)
    return state, ChunkMetrics(logged, state.ok, state.step)
