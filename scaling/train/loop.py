"""The one training loop: chunk after chunk through a compiled program."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scaling.run import Run
from scaling.train.optimizers import numbers_of
from scaling.train.program import Program, WindowArray
from scaling.train.step import ChunkMetrics, TrainState


class ChunkInput(NamedTuple):
    """The text of ``live`` steps from ``step`` on: ``windows`` (C, B, T+1) int32, of which the first ``live``
    count."""

    step: int
    live: int
    windows: WindowArray


def chunk_ends(first: int, last: int, size: int, stops: Collection[int] = ()) -> list[int]:
    """Return the steps at which the chunks of steps ``first .. last - 1`` end: multiples of ``size`` counted
    from step 0, so that the logged rows do not depend on where a run was resumed, ``stops``, and ``last``."""
    ends = {*range((first // size + 1) * size, last, size), *(s for s in stops if first < s < last)}
    return [*sorted(ends), *([last] if first < last else [])]


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
