"""Lanes: where the state of a line lives while its chunks are trained.

The flow of a job is a generator: it yields the chunk that it wants trained, and is sent a function that
fetches its metrics. It neither knows nor cares what else is trained by the same call.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import NamedTuple, Protocol

import jax

from scaling.run import Run
from scaling.train.loop import ChunkInput, ChunkMetrics, Program, TrainState, advance


class Asked(NamedTuple):
    """A chunk to be trained, by the recipe of ``run``, on the state in the lane."""

    run: Run
    chunk: ChunkInput


Fetch = Callable[[], ChunkMetrics]  # the metrics of a chunk, on the host; waits until it is trained
Work = Generator[Asked, Fetch, int]


class Lane(Protocol):
    """Holds the state of a line while chunks are trained on it."""

    def put(self, state: TrainState) -> None:
        """Begin with this state, which belongs to the lane from now on."""
        ...

    def take(self) -> TrainState:
        """Return the state after the last chunk, good until the next one."""
        ...


class OneLane:
    """The only line of a program."""

    def __init__(self, program: Program):
        self.program = program
        self._state: TrainState | None = None

    def put(self, state: TrainState) -> None:
        self._state = state

    def take(self) -> TrainState:
        assert self._state is not None, "nothing was put into the lane"
        return self._state

    def train(self, asked: Asked) -> Fetch:
        """Dispatch a chunk."""
        ((_, self._state, metrics),) = advance(self.program, self.take(), asked.run, [asked.chunk])
        return partial(jax.device_get, metrics)

    def finish(self, work: Work) -> int:
        """Train all that ``work`` asks for; returns what it returns. It sees the exceptions of its chunks."""
        try:
            asked = next(work)
            while True:
                try:
                    fetch = self.train(asked)
                except Exception as error:
                    asked = work.throw(error)
                else:
                    asked = work.send(fetch)
        except StopIteration as end:
            return end.value
