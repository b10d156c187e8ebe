"""Lanes: places for runs that train side by side in one program, each with a state of its own.

The flow of a job is a generator: it yields the chunk that it wants trained, and is sent a function that
fetches its metrics. It neither knows nor cares what else is trained by the same call. Several lanes are one
stacked state and one call of a program that is mapped over members (:mod:`scaling.train.pack`); a member
alone is trained by the program itself, so that its numbers are those of a process of its own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from functools import lru_cache, partial

import jax

from scaling.counts.lowering import pack_width
from scaling.train.loop import advance
from scaling.train.pack import RUN, Asked, Pack
from scaling.train.program import Program
from scaling.train.step import ChunkMetrics, TrainState

Fetch = Callable[[], ChunkMetrics]  # the metrics of a chunk, on the host; waits until it is trained
Work = Generator[Asked | None, Fetch | None, int]  # None: lets other jobs go on first


class Lane:
    """Holds the state of a line while chunks are trained on it: itself, or in the stack of a pack.

    ``width`` is that of the widest pack that it was trained in, ``alone`` whether nothing else was trained by
    its last call, or was there when it came.
    """

    def __init__(self, alone: bool = True) -> None:
        self.own: TrainState | None = None
        self.pack: Pack | None = None
        self.place = 0
        self.width, self.alone = 1, alone
        self.paused = 0.0
        self._rested, self._rests_since = 0.0, time.monotonic()

    def put(self, state: TrainState) -> None:
        """Begin with this state, which belongs to the lane from now on."""
        self.own = state
        self.go_on()

    def rest(self) -> None:
        """Stop training, to evaluate, to save, or as a line has ended: until :meth:`go_on` no lane trains."""
        if self._rests_since is None:
            self._rests_since = time.monotonic()

    def go_on(self) -> float:
        """Train again; returns the seconds of rest."""
        assert self._rests_since is not None, "it does not rest"
        rest, self._rests_since = time.monotonic() - self._rests_since, None
        self._rested += rest
        return rest

    def rested(self) -> float:
        """Return the seconds of rest since this was asked last."""
        if self._rests_since is not None:
            self.go_on()
            self.rest()
        rested, self._rested = self._rested, 0.0
        return rested

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever put into it."""
        return self.own is None and self.pack is None

    def take(self) -> TrainState:
        """Return the state after the last chunk, good until the next one."""
        if self.own is None:
            assert self.pack is not None, "nothing was put into the lane"
            return self.pack.read(self.place)
        return self.own

    def pause(self) -> float:
        """Return the seconds, since this was asked last, in which a pack was compiled and filled, or other
        lanes rested."""
        paused, self.paused = self.paused, 0.0
        return paused


class Lanes:
    """The lanes of one program, at most ``most``. The pack is as wide as its lanes need."""

    def __init__(self, program: Program, most: float = math.inf):
        self.program, self.most = program, most
        self.lanes: list[Lane] = []
        self.pack: Pack | None = None
        self.packs = lru_cache(maxsize=None)(partial(Pack, program))  # compiled once for each width

    def join(self) -> Lane:
        """Make a lane.

        Raises:
            IndexError: there are ``most`` of them.
        """
        if len(self.lanes) >= self.most:
            raise IndexError(f"all of {self.most} lanes are taken")
        self.lanes.append(Lane(alone=not self.lanes))
        return self.lanes[-1]

    def leave(self, lane: Lane) -> None:
        self.lanes.remove(lane)

    def wait(self) -> None:
        """Wait until nothing is trained; an error is that of those who fetch metrics."""
        with suppress(Exception):
            jax.block_until_ready(self.pack and self.pack.states)

    def clear(self) -> None:
        """Give the memory of all states back, whatever still refers to this: a traceback does."""
        if self.pack:
            self.pack.clear()
        for lane in self.lanes:
            lane.own = None

    def train(self, asked: Mapping[Lane, Asked]) -> dict[Lane, Fetch]:
        """Dispatch a chunk in each of these lanes."""
        width = pack_width(len(self.lanes), self.program.mesh.shape[RUN])
        for lane in asked:
            lane.alone = len(asked) == 1
        if width == 1:
            ((lane, what),) = asked.items()
            self._regroup(None)
            return {lane: self._alone(lane, what)}
        began = time.monotonic()
        if self.pack is None or self.pack.width != width:
            self._regroup(self.packs(width))
        assert self.pack is not None
        self._move_in(self.pack)
        for lane in asked:
            lane.paused += time.monotonic() - began
        metrics = self.pack.train({lane.place: what for lane, what in asked.items()})
        return {lane: partial(metrics.of, lane.place) for lane in asked}

    def _alone(self, lane: Lane, asked: Asked) -> Fetch:
        ((_, lane.own, metrics),) = advance(self.program, lane.take(), asked.run, [asked.chunk])
        return partial(jax.device_get, metrics)

    def _regroup(self, pack: Pack | None) -> None:
        """Go on in another pack, or in none."""
        for lane in self.lanes:
            if lane.own is None and lane.pack is not None:
                lane.own = lane.pack.read(lane.place)
            lane.pack = None
        if self.pack:
            self.pack.clear()
        self.pack = pack

    def _move_in(self, pack: Pack) -> None:
        """Write states that are not in the pack yet."""
        taken = {lane.place for lane in self.lanes if lane.pack is pack}
        free = iter(sorted({*range(pack.width)} - taken))
        for lane in self.lanes:
            if lane.pack is not pack:
                lane.pack, lane.place = pack, next(free)
            if lane.own is not None:
                pack.write(lane.place, lane.own)
                lane.own, lane.width = None, max(lane.width, pack.width)


def finish_alone(program: Program, work: Callable[[Lane], Work]) -> int:
    """Train all that ``work`` asks for, alone in a lane; returns what it returns. It sees the exceptions of
    its chunks."""
    lanes = Lanes(program)
    lane = lanes.join()
    flow = work(lane)
    try:
        asked = next(flow)
        while True:
            if asked is None:
                asked = next(flow)
                continue
            try:
                fetch = lanes.train({lane: asked})[lane]
            except Exception as error:
                asked = flow.throw(error)
            else:
                asked = flow.send(fetch)
    except StopIteration as end:
        return end.value
