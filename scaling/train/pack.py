"""One program for several runs of equal shape, side by side: the chunk of a program, mapped over members.

Members share nothing but the call. Each has its own text, rates, numbers of the optimizer and live steps; one
that has diverged, or has nothing to do, keeps its state. Over the axis ``run`` of a mesh each device has its
own members, and nothing goes between devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from scaling.counts.shape import Shape
from scaling.run import Run
from scaling.train.loop import ChunkInput
from scaling.train.optimizers import Numbers, number_names, numbers_of
from scaling.train.program import Blueprint, Program, abstract_state, compiled, step_of
from scaling.train.sharding import state_shardings
from scaling.train.step import ChunkMetrics, Step, StepMetrics, TrainState, none_logged

RUN = "run"  # the axis of the mesh
WINDOWS = PartitionSpec(RUN, None, ("data", "fsdp"))


class Asked(NamedTuple):
    """A chunk to be trained, by the recipe of ``run``."""

    run: Run
    chunk: ChunkInput


@dataclass
class PackMetrics:
    """The metrics of a chunk of all members, fetched once."""

    on_device: ChunkMetrics

    @cached_property
    def values(self) -> ChunkMetrics:
        return jax.device_get(self.on_device)

    def of(self, place: int) -> ChunkMetrics:
        return jax.tree.map(lambda value: value[place], self.values)


def pack_function(blueprint: Blueprint, mesh: Mesh | AbstractMesh, width: int) -> tuple[Any, tuple[Any, ...]]:
    """Return the jitted function of a chunk of ``width`` members, and what describes its arguments; as
    :func:`scaling.train.program.chunk_function` does of one."""
    shape, steps, batch = blueprint.shape, blueprint.chunk_steps, blueprint.batch_sequences
    abstract = abstract_state(blueprint)
    stacked = jax.tree.map(partial(_stacked, width), abstract, state_shardings(mesh, shape, abstract))
    by_member, windows = (NamedSharding(mesh, spec) for spec in (PartitionSpec(RUN), WINDOWS))
    through = partial(through_steps_of_all, step_of(blueprint), shape)
    if mesh.shape[RUN] > 1:  # each device its own: no compiler can cut a fused kernel of attention
        members = PartitionSpec(RUN)
        alone = {RUN, *(axis for axis, size in mesh.shape.items() if size == 1)}
        through = jax.shard_map(
            through, mesh=mesh, in_specs=members, out_specs=members, axis_names=alone, check_vma=False
        )
    states = jax.tree.map(lambda leaf: leaf.sharding, stacked)
    number = jax.ShapeDtypeStruct((width,), np.float32)
    jitted = jax.jit(
        through,
        in_shardings=(states, windows, by_member, by_member, by_member),
        out_shardings=(states, by_member),
        donate_argnums=0,
    )
    return jitted, (
        stacked,
        jax.ShapeDtypeStruct((width, steps, batch, shape.context + 1), np.int32, sharding=windows),
        jax.ShapeDtypeStruct((width, steps), np.float32),
        dict.fromkeys(number_names(blueprint.optimizer), number),
        jax.ShapeDtypeStruct((width,), np.int32),
    )


class Pack:
    """The stacked states of ``width`` members, and what is compiled to train them."""

    def __init__(self, program: Program, width: int):
        self.program, self.width = program, width
        jitted, arguments = pack_function(program.blueprint, program.mesh, width)
        self.stacked: TrainState = arguments[0]
        one = jax.tree.map(lambda leaf: leaf.sharding, program.abstract)
        many = jax.tree.map(lambda leaf: leaf.sharding, self.stacked)
        self._read = jax.jit(_member, out_shardings=one)
        self._write = jax.jit(_with_member, donate_argnums=0, out_shardings=many)
        self._stack = jax.jit(lambda *windows: jnp.stack(windows), out_shardings=arguments[1].sharding)
        self._zeros = jax.jit(
            lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), self.stacked),
            out_shardings=many,
        )
        self.chunk = compiled(jitted.lower(*arguments))
        self.states: TrainState | None = None

    def read(self, place: int) -> TrainState:
        return self._read(self.states, place)

    def write(self, place: int, state: TrainState) -> None:
        """Copy a state to its place, and give its own memory back."""
        if self.states is None:
            self.states = self._zeros()
        self.states = self._write(self.states, state, place)
        for leaf in jax.tree.leaves(state):
            leaf.delete()

    def clear(self) -> None:
        """Give the memory of the states back."""
        self.states = None

    def train(self, asked: Mapping[int, Asked]) -> PackMetrics:
        """Dispatch a chunk of the members at these places; the others keep their states."""
        size, some = self.program.blueprint.chunk_steps, next(iter(asked.values()))
        rates, live = np.zeros((self.width, size), np.float32), np.zeros(self.width, np.int32)
        names = numbers_of(some.run.optimizer)
        numbers = {name: np.zeros(self.width, np.float32) for name in names}
        for place, (run, chunk) in asked.items():
            live[place] = chunk.live
            rates[place, : chunk.live] = run.learning_rates(chunk.step, chunk.live)
            for name, value in numbers_of(run.optimizer).items():
                numbers[name][place] = value
        windows: list[Any] = [asked.get(place, some).chunk.windows for place in range(self.width)]
        on_host = isinstance(windows[0], np.ndarray)
        stacked = np.stack(windows) if on_host else self._stack(*windows)
        self.states, metrics = self.chunk(self.states, stacked, rates, numbers, live)
        return PackMetrics(metrics)


def through_steps_of_all(
    step: Step,
    shape: Shape,
    states: TrainState,
    windows: jax.Array,
    rates: jax.Array,
    numbers: Numbers,
    live: jax.Array,
) -> tuple[TrainState, ChunkMetrics]:
    """Take the live steps of a chunk of every member.

    Args:
        step: of :func:`scaling.train.step.make_step`.
        shape: of the model.
        states: before the chunk; here and below the first axis is that of the members.
        windows: (K, C, B, T+1), of which the first ``live`` count.
        rates: of the steps: (K, C).
        numbers: of the optimizers: (K,).
        live: steps that each takes: (K,).
    """

    def body(i: jax.Array, carry: tuple[TrainState, StepMetrics]) -> tuple[TrainState, StepMetrics]:
        def member(
            state: TrainState, window: jax.Array, rate: jax.Array, numbers: Numbers, is_live: jax.Array
        ):
            after, metrics = step(state, window, rate, numbers)
            return jax.tree.map(partial(jnp.where, is_live), after, state), metrics

        states, logged = carry
        states, metrics = jax.vmap(member)(states, windows[:, i], rates[:, i], numbers, i < live)
        return states, jax.tree.map(lambda every, one: every.at[:, i].set(one), logged, metrics)

    logged = jax.vmap(partial(none_logged, shape, steps=rates.shape[1]))(states)
    states, logged = jax.lax.fori_loop(0, jnp.max(live), body, (states, logged))
    return states, ChunkMetrics(logged, states.ok, states.step)


def _stacked(width: int, leaf: jax.ShapeDtypeStruct, where: NamedSharding) -> jax.ShapeDtypeStruct:
    stacked = NamedSharding(where.mesh, PartitionSpec(RUN, *where.spec))
    return jax.ShapeDtypeStruct((width, *leaf.shape), leaf.dtype, sharding=stacked)


def _member(states: TrainState, place: jax.Array) -> TrainState:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, place, keepdims=False), states)


def _with_member(states: TrainState, state: TrainState, place: jax.Array) -> TrainState:
    put = partial(jax.lax.dynamic_update_index_in_dim, index=place, axis=0)
    return jax.tree.map(put, states, state)
