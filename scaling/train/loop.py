"""The one training loop: a chunk of steps is one call of one program, compiled for one :class:`Blueprint`.

A chunk has a static length and a runtime count of live steps. Learning rates, the optimizer's numbers, seed
and schedule are runtime arguments. So resumed runs, branches and other recipes reuse the same executable, and
where chunks begin and end does not change a bit of the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from scaling.counts.lowering import Lowering
from scaling.model.roles import Array, Params, abstract_params, init_params
from scaling.model.transformer import Model, Trained, make_model
from scaling.run import Fixed, Run
from scaling.train.optimizers import (
    Numbers,
    initial_moments,
    make_optimizer,
    number_names,
    numbers_of,
)
from scaling.train.sharding import make_mesh, parameter_shardings, sharding


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


class ChunkMetrics(NamedTuple):
    """Of the live steps: mean loss (nats per token), largest gradient norm before clipping and mean load of
    the busiest expert; ``ok`` and ``step`` of the state after them, readable while the next chunk runs on the
    state itself."""

    loss: Array
    grad_norm: Array
    ok: Array
    step: Array
    expert_load: Array | None


WindowArray = np.ndarray | jax.Array
Chunk = Callable[[TrainState, WindowArray, np.ndarray, Numbers, np.int32], tuple[TrainState, ChunkMetrics]]


class ChunkInput(NamedTuple):
    """The text of ``live`` steps from ``step`` on: ``windows`` (C, B, T+1) int32, of which the first ``live``
    count."""

    step: int
    live: int
    windows: WindowArray


@dataclass(frozen=True, kw_only=True)
class Blueprint(Fixed):
    """All that a compiled program depends on."""

    chunk_steps: int
    ema_decays: tuple[float, ...] = ()
    lowering: Lowering = Lowering()  # noqa: RUF009 (frozen)

    @classmethod
    def of(
        cls,
        run: Run,
        chunk_steps: int,
        ema_decays: tuple[float, ...] = (),
        lowering: Lowering = Lowering(),  # noqa: B008 (frozen)
    ) -> Blueprint:
        return cls(**vars(run.fixed), chunk_steps=chunk_steps, ema_decays=ema_decays, lowering=lowering)


@dataclass(frozen=True)
class Program:
    """What is compiled once for a blueprint."""

    blueprint: Blueprint
    model: Model
    mesh: Mesh
    chunk: Chunk  # (state, windows (C, B, T+1), rates (C,), numbers, live steps) -> (state, metrics)
    start: Callable[[int | Params], TrainState]  # seed, or weights -> the state before the first step
    abstract: TrainState  # shapes, types and shardings of a state
    compile_seconds: float  # of CPU time


def train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    window_BxT1: jax.Array,
) -> tuple[TrainState, Trained, jax.Array]:
    """Take one step: (state, what is logged of it, gradient norm before clipping).

    Args:
        model: gives the loss.
        optimizer: of this step, its rate included.
        state: before the step.
        window_BxT1: tokens; the first T are inputs, the last T targets.
    """
    (_, trained), grads = jax.value_and_grad(model.objective, has_aux=True)(state.params, window_BxT1)
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


def abstract_state(blueprint: Blueprint) -> TrainState:
    """Describe a state: no array is made, whatever the shape."""
    params = abstract_params(blueprint.shape)
    moments = jax.eval_shape(partial(initial_moments, blueprint.shape, blueprint.optimizer), params)
    step, ok, smooth_loss = (jax.ShapeDtypeStruct((), kind) for kind in (np.int32, np.bool_, np.float32))
    return TrainState(params, moments, step, ok, smooth_loss, (params,) * len(blueprint.ema_decays))


def make_program(blueprint: Blueprint) -> Program:
    """Build and compile the program of a blueprint on all local devices."""
    began = time.process_time()
    shape, size, batch = blueprint.shape, blueprint.chunk_steps, blueprint.batch_sequences
    model = make_model(
        shape,
        precision=blueprint.precision,
        parametrization=blueprint.parametrization,
        auxiliary=blueprint.auxiliary,
    )
    mesh = make_mesh(batch)

    def chunk(
        state: TrainState, windows: jax.Array, rates: jax.Array, numbers: Numbers, live: int
    ) -> tuple[TrainState, ChunkMetrics]:
        def body(i: jax.Array, carry: tuple[TrainState, Trained, jax.Array]):
            state, total, norm_max = carry
            optimizer = make_optimizer(
                shape, blueprint.optimizer, numbers, rates[i], blueprint.parametrization
            )
            decays = zip(state.emas, blueprint.ema_decays, strict=True)
            emas = tuple(_ema(state, ema, decay) for ema, decay in decays)
            state, trained, norm = train_step(model, optimizer, state._replace(emas=()), windows[i])
            total = jax.tree.map(jnp.add, total, trained)
            return state._replace(emas=emas), total, jnp.maximum(norm_max, norm)

        zero = jnp.zeros((), jnp.float32)
        total = Trained(zero, zero if shape.experts else None)
        state, total, norm_max = jax.lax.fori_loop(0, live, body, (state, total, zero))
        loss, load = jax.tree.map(lambda sums: sums / live, total)
        return state, ChunkMetrics(loss, norm_max, state.ok, state.step, load)

    everywhere, data = sharding(mesh), sharding(mesh, None, "batch")
    abstract = abstract_state(blueprint)
    states = jax.tree.map(lambda _: everywhere, abstract)
    weights = parameter_shardings(mesh, shape)
    states = states._replace(params=weights, emas=(weights,) * len(blueprint.ema_decays))
    jitted = jax.jit(
        chunk,
        in_shardings=(states, data, everywhere, everywhere, everywhere),
        out_shardings=(states, everywhere),
        donate_argnums=0,
    )
    number = jax.ShapeDtypeStruct((), np.float32)
    lowered = jitted.lower(
        abstract,
        jax.ShapeDtypeStruct((size, batch, shape.context + 1), np.int32),
        jax.ShapeDtypeStruct((size,), np.float32),
        dict.fromkeys(number_names(blueprint.optimizer), number),
        jax.ShapeDtypeStruct((), np.int32),
    )
    return Program(
        blueprint=blueprint,
        model=model,
        mesh=mesh,
        chunk=_compile(lowered),
        start=partial(_start, blueprint, states),
        abstract=jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), abstract, states
        ),
        compile_seconds=time.process_time() - began,
    )


def _start(blueprint: Blueprint, shardings: TrainState, given: int | Params) -> TrainState:
    """Make the state before the first step: parameters given, or drawn on the host from a seed; moments made
    where they live."""
    shape = blueprint.shape
    if isinstance(given, int):
        given = init_params(shape, given, blueprint.parametrization)
    params = jax.device_put(dict(given), shardings.params)
    init = jax.jit(partial(initial_moments, shape, blueprint.optimizer), out_shardings=shardings.moments)
    scalars = (np.zeros((), np.int32), np.array(True), np.zeros((), np.float32))
    zeros = jax.jit(partial(jax.tree.map, jnp.zeros_like), out_shardings=shardings.params)
    emas = tuple(zeros(params) for _ in blueprint.ema_decays)
    step, ok, smooth_loss = jax.device_put(scalars, shardings[2:5])
    return TrainState(params, init(params), step, ok, smooth_loss, emas)


def _compile(lowered: jax.stages.Lowered) -> Any:
    """Compile; on CPU without XLA's YNN kernels: at the shapes of small models they cost 10-17 % of a
    step."""
    if jax.default_backend() != "cpu":
        return lowered.compile()
    try:
        return lowered.compile(compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""})
    except jax.errors.JaxRuntimeError:  # an XLA that does not know the option
        return lowered.compile()


def chunk_ends(first: int, last: int, size: int) -> Iterator[int]:
    """Give the steps at which the chunks of steps ``first .. last - 1`` end: multiples of ``size`` counted
    from step 0, so that the logged rows do not depend on where a run was resumed, and ``last``."""
    yield from range((first // size + 1) * size, last, size)
    if first < last:
        yield last


def advance(
    program: Program, state: TrainState, run: Run, chunks: Iterable[ChunkInput]
) -> Iterator[tuple[int, TrainState, ChunkMetrics]]:
    """Train chunk by chunk, yielding (steps done, state, metrics) after each.

    The next chunk is dispatched before the metrics of the last are asked for; a yielded state that is to be
    kept must be copied before the iterator is resumed (it is donated). (A trunk's chunks also end at each
    branch step.)

    Args:
        program: compiled for the run.
        state: after the steps before the first chunk.
        run: gives learning rates and the optimizer's numbers.
        chunks: the text, one chunk after another.
    """
    size, numbers = program.blueprint.chunk_steps, numbers_of(run.optimizer)
    for step, live, windows in chunks:
        rates = np.zeros(size, np.float32)
        rates[:live] = run.learning_rates(step, live)
        state, metrics = program.chunk(state, windows, rates, numbers, np.int32(live))
        yield step + live, state, metrics


copy_state = partial(jax.tree.map, jnp.copy)
