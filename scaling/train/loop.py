"""The one training loop: a chunk of steps is one call of one compiled program per shape.

A chunk has a static length and a runtime count of live steps. Learning rates, weight decay, seed and
schedule are runtime arguments. So resumed runs, branches and other recipes reuse the same executable, and
where chunks begin and end does not change a bit of the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from scaling.counts.shape import Shape
from scaling.model.roles import Array, Params, init_params
from scaling.model.transformer import Model, make_model
from scaling.run import Run
from scaling.train.optimizer import NEUTRAL, Hyper, initial_moments, make_optimizer
from scaling.train.sharding import make_mesh, parameter_shardings, sharding


class TrainState(NamedTuple):
    """All that a run carries from step to step. ``ok`` False: a loss or gradient was not finite at
    ``step``, and everything has stood still since. ``smooth_loss`` is the training loss averaged
    exponentially over about the last 100 steps."""

    params: Params
    moments: optax.OptState
    step: Array
    ok: Array
    smooth_loss: Array


class ChunkMetrics(NamedTuple):
    """Of the live steps: mean loss (nats per token) and largest gradient norm before clipping; ``ok`` and
    ``step`` of the state after them, readable while the next chunk runs on the state itself."""

    loss: Array
    grad_norm: Array
    ok: Array
    step: Array


CHUNK_FLOPS = 2e10  # about a second of one CPU core: often enough to stop, checkpoint and report

Chunk = Callable[[TrainState, np.ndarray, np.ndarray, Hyper, np.int32], tuple[TrainState, ChunkMetrics]]


@dataclass(frozen=True)
class Program:
    """What is compiled once for a shape, a batch size and a chunk length."""

    model: Model
    mesh: Mesh
    chunk_steps: int
    batch_sequences: int
    chunk: Chunk  # (state, windows (C, B, T+1), rates (C,), hyper, live steps) -> (state, metrics)
    start: Callable[[int], TrainState]  # seed -> the state before the first step
    abstract: TrainState  # shapes, types and shardings of a state
    compile_seconds: float  # of CPU time


def train_step(
    model: Model, state: TrainState, window_BxT1: jax.Array, learning_rate: jax.Array, hyper: Hyper
) -> tuple[TrainState, jax.Array, jax.Array]:
    """One step: (state, loss in nats per token, gradient norm before clipping)."""

    def mean_loss(params: Params) -> jax.Array:
        return model.token_losses(params, window_BxT1).mean()

    loss, grads = jax.value_and_grad(mean_loss)(state.params)
    grad_norm = optax.tree.norm(grads)
    optimizer = make_optimizer(model.shape, learning_rate, hyper)
    updates, moments = optimizer.update(grads, state.moments, state.params)
    weight = jnp.maximum(1.0 / (state.step + 1), 0.01)
    new = TrainState(
        params=cast(Params, optax.apply_updates(cast(Any, state.params), updates)),
        moments=moments,
        step=state.step + 1,
        ok=state.ok,
        smooth_loss=state.smooth_loss + weight * (loss - state.smooth_loss),
    )
    ok = state.ok & jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    kept = jax.tree.map(lambda after, before: jnp.where(ok, after, before), new, state)
    return kept._replace(ok=ok), loss, grad_norm


def initial_state(shape: Shape, seed: int) -> TrainState:
    """The state before the first step, on the host."""
    params = init_params(shape, seed)
    zero = np.zeros((), np.float32)
    return TrainState(params, initial_moments(params), np.zeros((), np.int32), np.array(True), zero)


def make_program(shape: Shape, batch_sequences: int, chunk_steps: int) -> Program:
    """Build and compile the program of a shape on all local devices."""
    began = time.process_time()
    model, mesh = make_model(shape), make_mesh(batch_sequences)

    def chunk(
        state: TrainState, windows: jax.Array, rates: jax.Array, hyper: Hyper, live: int
    ) -> tuple[TrainState, ChunkMetrics]:
        def body(i: jax.Array, carry: tuple[TrainState, jax.Array, jax.Array]):
            state, loss_sum, norm_max = carry
            state, loss, norm = train_step(model, state, windows[i], rates[i], hyper)
            return state, loss_sum + loss, jnp.maximum(norm_max, norm)

        zero = jnp.zeros((), jnp.float32)
        state, loss_sum, norm_max = jax.lax.fori_loop(0, live, body, (state, zero, zero))
        return state, ChunkMetrics(loss_sum / live, norm_max, state.ok, state.step)

    everywhere = sharding(mesh)
    abstract = jax.eval_shape(lambda: initial_state(shape, 0))
    states = jax.tree.map(lambda _: everywhere, abstract)
    states = states._replace(params=parameter_shardings(mesh, shape))
    data = sharding(mesh, None, "batch")
    jitted = jax.jit(
        chunk,
        in_shardings=(states, data, everywhere, everywhere, everywhere),
        out_shardings=(states, everywhere),
        donate_argnums=0,
    )
    window_dims = (chunk_steps, batch_sequences, shape.context + 1)
    lowered = jitted.lower(
        abstract,
        jax.ShapeDtypeStruct(window_dims, np.int32),
        jax.ShapeDtypeStruct((chunk_steps,), np.float32),
        jax.tree.map(lambda _: jax.ShapeDtypeStruct((), np.float32), NEUTRAL),
        jax.ShapeDtypeStruct((), np.int32),
    )
    return Program(
        model=model,
        mesh=mesh,
        chunk_steps=chunk_steps,
        batch_sequences=batch_sequences,
        chunk=_compile(lowered),
        start=lambda seed: jax.device_put(initial_state(shape, seed), states),
        abstract=jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), abstract, states
        ),
        compile_seconds=time.process_time() - began,
    )


def _compile(lowered: jax.stages.Lowered) -> Any:
    """On CPU without XLA's YNN kernels: at the shapes of small models they cost 10-17 % of a step."""
    if jax.default_backend() != "cpu":
        return lowered.compile()
    try:
        return lowered.compile(compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""})
    except jax.errors.JaxRuntimeError:  # an XLA that does not know the option
        return lowered.compile()


def auto_chunk_steps(run: Run) -> int:
    """A power of two between 1 and 256, near :data:`CHUNK_FLOPS` a chunk."""
    steps = CHUNK_FLOPS / (run.flops().flops / run.steps)
    return 1 << max(0, min(8, round(steps).bit_length() - 1))


@dataclass(frozen=True)
class Feed:
    """Where inputs come from: windows (n, B, T+1) and rates (n,) of steps first .. first + n - 1."""

    windows: Callable[[int, int], np.ndarray]
    rates: Callable[[int, int], np.ndarray]
    hyper: Hyper


def advance(
    program: Program, state: TrainState, feed: Feed, first: int, last: int
) -> Iterator[tuple[int, TrainState, ChunkMetrics]]:
    """Train steps ``first .. last - 1``, yielding (steps done, state, metrics) after each chunk.

    Chunks end at multiples of the chunk length counted from step 0, so that the logged rows do not depend
    on where a run was resumed (a trunk also ends one at each branch step). The next chunk is dispatched
    before the metrics of the last are asked for;
    the yielded state must be copied before the iterator goes on if it is to be kept (it is donated).
    """
    size, step = program.chunk_steps, first
    while step < last:
        end = min(last, (step // size + 1) * size)
        live = end - step
        windows, rates = feed.windows(step, live), feed.rates(step, live)
        if live < size:
            windows, rates = _padded(windows, size), _padded(rates, size)
        state, metrics = program.chunk(state, windows, rates, feed.hyper, np.int32(live))
        step = end
        yield step, state, metrics


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])


copy_state = partial(jax.tree.map, jnp.copy)
