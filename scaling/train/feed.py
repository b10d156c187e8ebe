"""Training text on its way to the device: the windows of each chunk of steps, one chunk ahead.

Where the whole text fits on a device beside the model, its tokens are put there once, and windows are
gathered there from the places where they begin. Else they are gathered on the host: for a GPU or TPU by a
thread, while the chunk before is trained. On CPU there is no thread. There the windows of a chunk are asked
for after the chunk before has been dispatched too, and a thread would run on the same cores.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from scaling.data.store import Windows
from scaling.train.loop import ChunkInput, chunk_ends
from scaling.train.program import Program, WindowArray
from scaling.train.sharding import put, sharding

RESIDENT_SHARE = 1 / 40  # of a device's memory that tokens may take: what a program that fills it leaves
MOST_RESIDENT = 2**31  # tokens: places on the device are int32

X = TypeVar("X")
Way = Literal["device", "thread", "host"]  # where windows are gathered; a thread does it on the host


class Feed:
    """Gives the chunks of a program their windows. ``waited`` are the seconds for which training has waited
    for them so far."""

    def __init__(
        self,
        program: Program,
        windows: Windows,
        way: Way | None = None,
        place: Callable[[Windows, Mesh], jax.Array] | None = None,
    ):
        """Prepare to gather windows.

        Args:
            program: that they are for.
            windows: of the text.
            way: to gather them; None: by the device of ``program`` and the size of the text.
            place: used in place of :func:`put_tokens`, as by one that remembers what it has put.
        """
        self.windows, self.blueprint = windows, program.blueprint
        self.data = sharding(program.mesh, None, "batch")
        self.way = way or best_way(program, windows)
        self.waited = 0.0
        if self.way == "device":
            self.tokens = (place or put_tokens)(windows, program.mesh)
            length = self.blueprint.shape.context + 1
            self.gather = jax.jit(partial(_gather, length=length), out_shardings=self.data)

    def chunks(self, seed: int, first: int, last: int, stops: Collection[int] = ()) -> Iterator[ChunkInput]:
        """Give the windows of steps ``first .. last - 1``, chunk by chunk, the ends of which are also at
        ``stops``; nothing beyond them is gathered.

        Raises:
            Exception: of the store, at the chunk that it is about.
        """
        spans = [*pairwise((first, *chunk_ends(first, last, self.blueprint.chunk_steps, stops)))]
        calls = (partial(self._windows, seed, start, end - start) for start, end in spans)
        windows = one_ahead(calls) if self.way == "thread" else (call() for call in calls)
        for start, end in spans:
            began = time.monotonic()
            placed = next(windows)
            self.waited += time.monotonic() - began
            yield ChunkInput(start, end - start, placed)

    def _windows(self, seed: int, step: int, live: int) -> WindowArray:
        """Return the windows of ``live`` steps, padded to a chunk; from "host" the program places them. Of
        several hosts each brings its own part."""
        size, batch = self.blueprint.chunk_steps, self.blueprint.batch_sequences
        if self.way == "device":
            starts = self.windows.train_starts(seed, step, live, batch).astype(np.int32)
            return self.gather(self.tokens, put(_padded(starts, size), self.data))
        if not self.data.is_fully_addressable:
            return self._own_part(_padded(self.windows.train_starts(seed, step, live, batch), size))
        windows = _padded(self.windows.train_batches(seed, step, live, batch), size)
        return jax.device_put(windows, self.data) if self.way == "thread" else windows

    def _own_part(self, starts: np.ndarray) -> jax.Array:
        """Gather the windows that this host's devices need of those that begin at ``starts`` (C, B)."""
        shape = (*starts.shape, self.blueprint.shape.context + 1)
        gathered = dict[str, np.ndarray]()  # devices may need the same ones

        def gather(part: tuple[slice, ...] | None) -> np.ndarray:
            assert part is not None
            places = starts[part[:2]]
            if (key := str(part)) not in gathered:
                gathered[key] = self.windows.gather(places.ravel()).reshape(*places.shape, shape[-1])
            return gathered[key]

        return jax.make_array_from_callback(shape, self.data, gather)


def one_ahead(calls: Iterable[Callable[[], X]]) -> Iterator[X]:
    """Yield what each call returns; the next call runs in a thread meanwhile, which ends with the iterator.

    An exception is raised where the value would have been yielded.
    """
    with ThreadPoolExecutor(1, "feed") as pool:
        pending: Future[X] | None = None
        for call in calls:
            following = pool.submit(call)
            if pending:
                yield pending.result()
            pending = following
        if pending:
            yield pending.result()


def put_tokens(windows: Windows, mesh: Mesh) -> jax.Array:
    """Put the whole text on every device."""
    assert windows.text is not None, "only stored text can be put on a device"
    return put(np.concatenate(windows.text.shards), sharding(mesh))


def best_way(program: Program, windows: Windows) -> Way:
    """Return the way to gather windows on the first device of a program, by its memory and the text."""
    device = program.mesh.devices.flat[0]
    if device.platform == "cpu":
        return "host"
    memory = (device.memory_stats() or {}).get("bytes_limit", 0)  # some devices do not tell
    if windows.text is None or windows.text.tokens >= MOST_RESIDENT:
        return "thread"
    size = sum(shard.nbytes for shard in windows.text.shards)
    return "device" if size <= memory * RESIDENT_SHARE else "thread"


def _padded(array: np.ndarray, size: int) -> np.ndarray:
    if len(array) == size:
        return array
    return np.concatenate([array, np.zeros((size - len(array), *array.shape[1:]), array.dtype)])


def _gather(tokens: jax.Array, starts: jax.Array, length: int) -> jax.Array:
    """Return the ``length`` tokens from each place in ``starts`` (C, B) on, int32 (C, B, length)."""
    row = partial(jax.lax.dynamic_slice_in_dim, tokens, slice_size=length)
    return jax.vmap(jax.vmap(row))(starts).astype(jnp.int32)
