"""The compiled program: all runs of one :class:`Blueprint` share it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh

from scaling.counts.lowering import Lowering
from scaling.errors import Complaint, UserError
from scaling.model.placement import ONE_DEVICE, Placement
from scaling.model.roles import Params, abstract_params, init_params
from scaling.model.transformer import Model, make_model
from scaling.run import Fixed, Run
from scaling.train.optimizers import Numbers, initial_moments, number_names
from scaling.train.sharding import EVALUATION, make_mesh, placement, put, sharding, state_shardings
from scaling.train.step import ChunkMetrics, Step, TrainState, make_step, through_steps

WindowArray = np.ndarray | jax.Array
Chunk = Callable[[TrainState, WindowArray, np.ndarray, Numbers, np.int32], tuple[TrainState, ChunkMetrics]]


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
    model: Model  # to evaluate: sequences lie on all devices of the mesh
    mesh: Mesh
    chunk: Chunk  # (state, windows (C, B, T+1), rates (C,), numbers, live steps) -> (state, metrics)
    start: Callable[[int | Params], TrainState]  # seed, or weights -> the state before the first step
    abstract: TrainState  # shapes, types and shardings of a state
    compile_seconds: float  # of CPU time


def abstract_state(blueprint: Blueprint) -> TrainState:
    """Describe a state: no array is made, whatever the shape."""
    params = abstract_params(blueprint.shape)
    moments = jax.eval_shape(partial(initial_moments, blueprint.shape, blueprint.optimizer), params)
    step, ok, smooth_loss = (jax.ShapeDtypeStruct((), kind) for kind in (np.int32, np.bool_, np.float32))
    return TrainState(params, moments, step, ok, smooth_loss, (params,) * len(blueprint.ema_decays))


def model_of(blueprint: Blueprint, place: Placement = ONE_DEVICE) -> Model:
    return make_model(
        blueprint.shape,
        precision=blueprint.precision,
        parametrization=blueprint.parametrization,
        auxiliary=blueprint.auxiliary,
        lowering=blueprint.lowering,
        place=place,
    )


def step_of(blueprint: Blueprint, place: Placement = ONE_DEVICE) -> Step:
    """Return the step of a blueprint.

    Raises:
        UserError: it cannot be taken in so many parts.
    """
    parts = blueprint.lowering.micro_batches
    if parts > 1 and blueprint.shape.experts:
        message = f"a batch of a mixture of experts is not taken in parts, as {parts} are asked for"
        hint = (
            "their balance is that of a whole batch: use a smaller batch, more devices or rematerialisation"
        )
        raise UserError(Complaint(message, "execution.micro_batch", hint))
    return make_step(
        model_of(blueprint, place.replica if parts > 1 else place),
        blueprint.optimizer,
        blueprint.parametrization,
        blueprint.ema_decays,
        parts,
        place,
    )


def chunk_function(blueprint: Blueprint, mesh: Mesh | AbstractMesh) -> tuple[Any, tuple[Any, ...]]:
    """Return the jitted function of a chunk, and what describes its arguments.

    Args:
        blueprint: of the program.
        mesh: over which it is laid out; an abstract one will do to lower or export it.
    """
    shape, size, batch = blueprint.shape, blueprint.chunk_steps, blueprint.batch_sequences
    step = step_of(blueprint, placement(mesh, shape))
    everywhere, data = sharding(mesh), sharding(mesh, None, "batch")
    abstract = abstract_state(blueprint)
    states = state_shardings(mesh, shape, abstract)
    jitted = jax.jit(
        partial(through_steps, step, shape),
        in_shardings=(states, data, everywhere, everywhere, everywhere),
        out_shardings=(states, everywhere),
        donate_argnums=0,
    )
    number = jax.ShapeDtypeStruct((), np.float32)
    return jitted, (
        abstract,
        jax.ShapeDtypeStruct((size, batch, shape.context + 1), np.int32),
        jax.ShapeDtypeStruct((size,), np.float32),
        dict.fromkeys(number_names(blueprint.optimizer), number),
        jax.ShapeDtypeStruct((), np.int32),
    )


def lower_program(
    blueprint: Blueprint, mesh: Mesh | AbstractMesh, platforms: Sequence[str] | None = None
) -> jax.stages.Lowered:
    """Lower the program and do not compile it.

    Args:
        blueprint: of the program.
        mesh: over which it is laid out; an abstract one needs no devices.
        platforms: to lower for, such as ``cuda`` or ``tpu``; None: those of this process.
    """
    jitted, arguments = chunk_function(blueprint, mesh)
    traced = jitted.trace(*arguments)
    return traced.lower() if platforms is None else traced.lower(lowering_platforms=tuple(platforms))


def make_program(blueprint: Blueprint) -> Program:
    """Build and compile the program of a blueprint."""
    began = time.process_time()
    mesh = make_mesh(blueprint.lowering.mesh, blueprint.batch_sequences)
    abstract = abstract_state(blueprint)
    states = state_shardings(mesh, blueprint.shape, abstract)
    return Program(
        blueprint=blueprint,
        model=model_of(blueprint, placement(mesh, blueprint.shape, EVALUATION)),
        mesh=mesh,
        chunk=compiled(lower_program(blueprint, mesh)),
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
    params = put(dict(given), shardings.params)
    init = jax.jit(partial(initial_moments, shape, blueprint.optimizer), out_shardings=shardings.moments)
    scalars = (np.zeros((), np.int32), np.array(True), np.zeros((), np.float32))
    zeros = jax.jit(partial(jax.tree.map, jnp.zeros_like), out_shardings=shardings.params)
    emas = tuple(zeros(params) for _ in blueprint.ema_decays)
    step, ok, smooth_loss = put(scalars, shardings[2:5])
    return TrainState(params, init(params), step, ok, smooth_loss, emas)


def compiled(lowered: jax.stages.Lowered) -> Any:
    """Compile; on CPU without XLA's YNN kernels: at the shapes of small models they cost 10-17 % of a
    step."""
    if jax.default_backend() != "cpu":
        return lowered.compile()
    try:
        return lowered.compile(compiler_options={"xla_cpu_experimental_ynn_fusion_type": ""})
    except jax.errors.JaxRuntimeError:  # an XLA that does not know the option
        return lowered.compile()
