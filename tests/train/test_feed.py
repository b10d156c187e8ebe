"""The ways of text to the device: all give the same bits, one chunk ahead at most, errors at their chunk."""

import threading
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from scaling.data.gather import Text
from scaling.data.order import windows_at
from scaling.train.feed import Feed, best_way, one_ahead
from scaling.train.loop import advance
from scaling.train.program import Blueprint
from scaling.train.sharding import make_mesh
from tests.train.runs import TINY, make_run

WAYS = ("host", "thread", "device")
SIZE, BATCH = 8, 2


class Shards:
    """Windows in order of tokens in two shards, with the methods of a store."""

    text = Text(np.split(np.random.default_rng(3).integers(0, 256, 90_000, np.uint16), [1111, 40_000]))

    def train_starts(self, seed, first_step, n_steps, batch_sequences):
        count = n_steps * batch_sequences
        at = windows_at(seed, first_step * batch_sequences, count, (90_000 - 1) // TINY.context)
        return at.reshape(n_steps, batch_sequences) * TINY.context

    def train_batches(self, *place):
        starts = self.train_starts(*place)
        return self.text.windows(starts.ravel(), TINY.context + 1).reshape(*starts.shape, -1)


def uncompiled(batch=BATCH):
    blueprint = Blueprint.of(make_run(batch_sequences=batch), SIZE)
    return SimpleNamespace(blueprint=blueprint, mesh=make_mesh(None, batch))


def feeding_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]


def check_text(way, first, last, batch=BATCH):
    """Each step has its text once, split over all devices."""
    store, step, program = Shards(), first, uncompiled(batch)
    for chunk in Feed(program, store, way).chunks(1, first, last):
        assert chunk.step == step and 0 < chunk.live <= SIZE
        windows = np.asarray(chunk.windows)
        assert windows.shape == (SIZE, batch, TINY.context + 1) and windows.dtype == np.int32
        np.testing.assert_array_equal(windows[: chunk.live], store.train_batches(1, step, chunk.live, batch))
        if way != "host":
            parts = {part.data.shape[1] for part in chunk.windows.addressable_shards}
            assert parts == {batch // program.mesh.size}
        step += chunk.live
        assert step == last or step % SIZE == 0
    assert step == last and not feeding_threads()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("first", "last"), [(0, 32), (0, 5), (3, 8), (7, 9), (13, 40), (8, 8)])
def test_every_way_gives_the_text_of_each_step_once(way, first, last):
    check_text(way, first, last)


def test_training_is_the_same_bit_for_bit(program):
    run, states = make_run(batch_sequences=BATCH), []
    for way in WAYS:
        state, feed = program.start(0), Feed(program, Shards(), way)
        for first, last in [(0, 5), (5, 20)]:
            for _, latest, _ in advance(program, state, run, feed.chunks(0, first, last)):
                state = latest
        states.append(jax.device_get(state))
    assert states[0].step == 20 and states[0].ok
    for other in states[1:]:
        jax.tree.map(np.testing.assert_array_equal, states[0], other)


class Slow(Shards):
    """Notes when it is asked for which steps; fails at step ``bad``."""

    def __init__(self, bad=None, seconds=0.0):
        self.bad, self.seconds, self.asked, self.more = bad, seconds, [], threading.Event()

    def train_batches(self, seed, first_step, n_steps, batch_sequences):
        self.asked.append((first_step, n_steps))
        time.sleep(self.seconds)
        self.more.set()
        if first_step == self.bad:
            raise OSError("the disk is gone")
        return super().train_batches(seed, first_step, n_steps, batch_sequences)


def test_one_chunk_ahead_and_nothing_beyond_the_last():
    store = Slow()
    chunks = Feed(uncompiled(), store, "thread").chunks(0, 0, 20)
    next(chunks)
    deadline = time.monotonic() + 10
    while len(store.asked) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert store.asked == [(0, 8), (8, 8)], "the second is gathered before it is asked for, the third is not"
    assert len(list(chunks)) == 2 and store.asked == [(0, 8), (8, 8), (16, 4)]


@pytest.mark.parametrize("way", ["host", "thread"])
def test_an_error_comes_at_its_chunk_and_ends_the_thread(way):
    chunks, steps = Feed(uncompiled(), Slow(bad=16), way).chunks(0, 0, 64), []
    with pytest.raises(OSError, match="the disk is gone"):
        for chunk in chunks:
            steps.append(chunk.step)
    assert steps == [0, 8] and not feeding_threads()


def test_the_thread_ends_with_training_that_stops_early():
    feed = Feed(uncompiled(), Slow(), "thread")
    chunks = feed.chunks(0, 0, 64)
    next(chunks)
    assert feeding_threads()
    chunks.close()
    del chunks
    assert not feeding_threads()
    assert not list(one_ahead([]))


def test_waiting_for_text_is_counted():
    feed = Feed(uncompiled(), Slow(seconds=0.05), "host")
    list(feed.chunks(0, 0, 24))
    assert feed.waited >= 0.15
    ahead = Feed(uncompiled(), Slow(seconds=0.05), "thread")
    for _ in ahead.chunks(0, 0, 24):
        time.sleep(0.15)  # trains
    assert 0.04 <= ahead.waited < 0.15, "for the first chunk alone"


@pytest.mark.parametrize(
    ("platform", "memory", "way"),
    [
        ("gpu", {"bytes_limit": 40 * 5000}, "device"),
        ("gpu", {"bytes_limit": 40 * 5000 - 8}, "thread"),
        ("tpu", None, "thread"),
        ("cpu", {"bytes_limit": 1 << 40}, "host"),
    ],
)
def test_tokens_are_kept_on_a_device_with_room(platform, memory, way):
    device = SimpleNamespace(platform=platform, memory_stats=lambda: memory)
    program = SimpleNamespace(mesh=SimpleNamespace(devices=np.array([device])))
    assert best_way(program, SimpleNamespace(text=Text([np.zeros(5000, np.uint8)]))) == way
