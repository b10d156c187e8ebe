"""Runs of equal shape side by side in one program: as alone, whatever happens to the others."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from scaling.counts.shape import parameter_table
from scaling.recipe.schedules import WSD, Constant
from scaling.run import run_id
from scaling.store.failure import SHED, STOPPED
from scaling.store.weights import identity, save
from scaling.train import checkpoint, job, lanes, pack, serve, work
from scaling.train.checkpoint import Checkpoints
from scaling.train.orders import Order
from scaling.train.probe import best_pack
from scaling.train.serve import Worker
from tests.train.jobs import curve, results_of, steps_of, write_job
from tests.train.runs import TINY, make_run


class Serving(Worker):
    """A worker in this process, of all these tests: it keeps its programs. ``answers`` are (name of the
    folder, status)."""

    def __init__(self):
        self.answers = []
        stop = SimpleNamespace(asked=False)
        super().__init__(
            stop, lambda order, status: self.answers.append((order.folder.name, status)), logs=False
        )

    def finish_all(self, folders, *, rounds=math.inf):
        """Do these jobs side by side; returns the answers."""
        self.answers.clear()
        for folder in folders:
            self.begin(Order(folder))
        while self.seats and (rounds := rounds - 1) >= 0:
            self.train()
        return self.answers


@pytest.fixture(scope="module")
def worker():
    return Serving()


@pytest.fixture(scope="module")
def members(index):
    """Runs of one shape that differ in all else: rate, seed, horizon, decay."""

    def member(rate, seed, steps, decay):
        schedule = WSD(kind="wsd", warmup=4, decay=decay, shape="1-sqrt")
        return make_run(
            steps=steps, seed=seed, schedule=schedule, learning_rate=rate, batch_sequences=2,
            fingerprint=index.fingerprint,
        )  # fmt: skip

    return [member(0.01, 0, 40, 8), member(0.003, 1, 60, 20), member(0.02, 2, 24, 4), member(0.01, 3, 52, 12)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory, members, index, worker):
    results = tmp_path_factory.mktemp("alone")
    for run in members:  # one after the other, in one process
        ((_, status),) = worker.finish_all([write_job(results, [run], index, chunk_steps=4)])
        assert status == 0
    return results


def folders(results, members, index, asked=lambda run: {}, **execution):
    execution = {"chunk_steps": 4, "lowering": {"pack": 4}} | execution
    return [write_job(results, [run], index, asked, **execution) for run in members]


def losses(results, run):
    return np.array([row["train/loss"] for row in curve(results, run) if "train/loss" in row])


def assert_alike(results, alone, members):
    for run, packed, single in zip(
        members, results_of(results, members).values(), results_of(alone, members).values(), strict=True
    ):
        np.testing.assert_allclose(losses(results, run)[:20], losses(alone, run)[:20], rtol=1e-5)
        assert steps_of(results, run) == steps_of(alone, run)
        assert packed["loss"] == pytest.approx(single["loss"], rel=1e-4) and packed["status"] == "ok"


def test_packed_as_alone_and_those_that_diverge_touch_no_other(tmp_path, worker, members, alone, index):
    diverging = make_run(
        steps=40, learning_rate=1e30, batch_sequences=2, fingerprint=index.fingerprint,
        schedule=Constant(kind="constant", warmup=0),
    )  # fmt: skip
    weights = {name: np.full(of.dims, np.nan, np.float32) for name, of in parameter_table(TINY).items()}
    save(tmp_path / "w.safetensors", weights, diverging)
    at_once = members[3].model_copy(update={"init_from": identity(weights)})
    given = folders(tmp_path, [members[0], diverging], index)
    start = {"start": str(tmp_path / "w.safetensors")}
    given += folders(tmp_path, [at_once], index, asked=lambda run: start)
    answers = worker.finish_all(given + folders(tmp_path, [members[1]], index))
    assert [status for _, status in answers] == [0] * 4
    assert_alike(tmp_path, alone, members[:2])
    for run, step in ((diverging, 2), (at_once, 1)):
        (result,) = results_of(tmp_path, [run]).values()
        assert result["status"] == "diverged" and f"not finite at step {step}" in result["status_reason"]
    (record,) = [
        json.loads(path.read_text()) for path in tmp_path.glob(f"runs/{run_id(members[0])}/record.json")
    ]
    assert record["execution"]["lowering"]["pack"] == 4 and record["execution"]["cpu_seconds"] is None


def test_members_may_take_fewer_steps_of_a_chunk_than_others(tmp_path, worker, members, alone, index):
    """Where lines end between multiples of a chunk, the other member goes on to one."""
    schedule = WSD(kind="wsd", warmup=4, decay=7, shape="1-sqrt")
    uneven = members[1].model_copy(update={"steps": 38, "schedule": schedule})
    assert uneven.branch_step % 4 and uneven.steps % 4
    ((_, status),) = worker.finish_all([write_job(tmp_path / "alone", [uneven], index, chunk_steps=4)])
    answers = worker.finish_all(folders(tmp_path / "packed", [members[0], uneven], index))
    assert status == 0 and [status for _, status in answers] == [0, 0]
    for run, single in ((members[0], alone), (uneven, tmp_path / "alone")):
        packed = curve(tmp_path / "packed", run)
        assert [row["step"] for row in packed] == [row["step"] for row in curve(single, run)]
        np.testing.assert_allclose(losses(tmp_path / "packed", run), losses(single, run), rtol=1e-5)


def test_killed_in_a_pack_and_resumed_in_another_or_alone(tmp_path, worker, members, alone, index):
    answers = worker.finish_all(folders(tmp_path, members[:2], index, checkpoint_seconds=0.0), rounds=4)
    for seat in worker.seats.copy():
        seat.flow.close()
        worker._end(seat, 1)
    assert len(answers) == 2 and len(list(tmp_path.glob("jobs/*/checkpoints/trunk/*"))) == 4
    assert not list(tmp_path.glob("runs/*/record.json"))
    worker.finish_all(folders(tmp_path, members[:1], index))
    worker.finish_all(folders(tmp_path, members[1:3], index))
    assert_alike(tmp_path, alone, members[:3])
    resumed = [
        json.loads(path.read_text())["execution"]["resumed"] for path in tmp_path.glob("runs/*/record.json")
    ]
    assert sorted(resumed) == [0, 1, 1]
    assert steps_of(tmp_path, members[0]) == steps_of(alone, members[0])


def test_asked_to_stop_all_of_a_pack_save_at_the_same_time(
    tmp_path, worker, members, alone, index, monkeypatch
):
    """Each commit waits for the other to begin."""
    real, both = Checkpoints._commit, threading.Barrier(2, timeout=20)

    def commit(*given):
        both.wait()
        real(*given)

    monkeypatch.setattr(Checkpoints, "_commit", commit)
    given = folders(tmp_path, members[:2], index)
    worker.finish_all(given, rounds=3)
    monkeypatch.setattr(worker.stop, "asked", True)
    while worker.seats:
        worker.train()
    assert worker.answers == [(folder.name, STOPPED) for folder in given]
    monkeypatch.undo()
    worker.finish_all(given)
    assert_alike(tmp_path, alone, members[:2])


def test_seconds_of_training_are_without_what_the_others_do_meanwhile(
    tmp_path, worker, members, index, monkeypatch
):
    """Beginning, evaluating, saving. A chunk takes a second, alone or in a pack."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], process_time=lambda: 0.0)

    def takes(seconds, place, name):
        real = getattr(place, name)

        def slow(*given):
            now[0] += seconds
            return real(*given)

        monkeypatch.setattr(place, name, slow)

    for module in (job, lanes, serve):
        monkeypatch.setattr(module, "time", clock)
    for what in ((1, pack.Pack, "train"), (1, lanes, "advance"), (100, work.Shop, "evaluate")):
        takes(*what)
    takes(1000, job, "start_of")
    takes(10000, Checkpoints, "save")
    often = {"evaluate_at": (8, 16)}
    given = folders(tmp_path, members[:1], index)
    given += folders(tmp_path, members[2:3], index, lambda run: often, checkpoint_seconds=0.5)
    worker.finish_all(given[:1], rounds=2)
    for folder in given[1:]:
        worker.begin(Order(folder))
    while worker.seats:
        worker.train()
    records = [tmp_path / "runs" / run_id(run) / "record.json" for run in (members[0], members[2])]
    first, second = [json.loads(path.read_text())["execution"]["wall_seconds"] for path in records]
    assert first == 10 and second % 10000 == 6 and second > 10000, "its own saves count"


@pytest.mark.parametrize("of", ["start", "feed"])
def test_out_of_memory_of_a_newcomer_it_is_given_back_as_it_was(
    tmp_path, worker, members, alone, index, monkeypatch, of
):
    """While it draws its first state, or brings its text to the device."""
    place, made = {"start": (job, "start_of"), "feed": (work.Shop, "feed")}[of], []
    real = getattr(*place)

    def refuse(*given):
        made.append(given)
        if len(made) == 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7 bytes.")
        return real(*given)

    monkeypatch.setattr(*place, refuse)
    given = folders(tmp_path, members[:3], index)
    answers = worker.finish_all(given)
    assert answers[0] == (given[1].name, SHED) and {status for _, status in answers[1:]} == {0}
    assert len(made) == 3, "the others went on"
    assert not list(tmp_path.glob("*/*/error.json")) and not list(tmp_path.glob("jobs/*/lowering.json"))
    assert worker.finish_all(given[1:2]) == [(given[1].name, 0)]
    assert_alike(tmp_path, alone, members[:3])


def test_out_of_memory_in_a_pack_half_of_it_goes_on(tmp_path, worker, members, alone, index, monkeypatch):
    real, calls = pack.Pack.train, []

    def refuse(self, asked):
        calls.append(self.width)
        if len(calls) == 3:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7 bytes.")
        return real(self, asked)

    begin, held = worker.begin, []

    def beginning(order):
        held.append(sum(array.size for array in jax.live_arrays() if array.dtype == np.float32))
        begin(order)

    monkeypatch.setattr(pack.Pack, "train", refuse)
    monkeypatch.setattr(worker, "begin", beginning)
    given = folders(tmp_path, members[:2], index, checkpoint_seconds=0.0)
    assert worker.finish_all(given) == [(given[1].name, SHED), (given[0].name, 0)] and calls == [2, 2, 2]
    assert held[2] < 100, "of a pack that failed nothing is left when half of it begins again"
    assert_alike(tmp_path, alone, members[:1])
    assert not list(tmp_path.glob("runs/*/error.json"))
    assert worker.finish_all(given[1:]) == [(given[1].name, 0)]
    assert_alike(tmp_path, alone, members[:2])


@pytest.mark.parametrize("place", ["before", "within"])
def test_one_that_finds_no_memory_beside_another_is_not_cut(tmp_path, members, index, monkeypatch, place):
    def refuse(*given):
        monkeypatch.undo()
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7 bytes.")

    worker, given = Serving(), folders(tmp_path, members[:2], index)
    worker.begin(Order(given[0]))
    if place == "before":
        monkeypatch.setattr(worker.shop, "feed", refuse)
    else:
        monkeypatch.setattr(checkpoint.Checkpoints, "restore", refuse)
    worker.begin(Order(given[1]))
    while worker.seats:
        worker.train()
    assert worker.answers == [(given[1].name, SHED), (given[0].name, 0)]
    assert not list(tmp_path.glob("jobs/*/lowering.json"))


def test_the_best_pack_is_the_last_that_gained():
    def seconds(width):
        if width > 16:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
        measured.append(width)
        return 1.0 + 0.1 * width

    measured = []
    assert best_pack(1.1, 64, seconds) == (16, 2.6) and measured == [2, 4, 8, 16]
    assert best_pack(1.1, 7, seconds) == (4, 1.4)
    assert best_pack(1.1, 1, seconds) == (1, 1.1)
    measured.clear()
    pack = best_pack(1.1, 1, seconds, 8)
    assert pack == (8, pytest.approx(1.8)) and measured == [8], "given: neither better nor worse"
    assert best_pack(1.1, 1, seconds, 32) == (1, 1.1), "for which there is no memory"
    assert best_pack(1.0, 64, lambda width: width / (1 + 0.04 * (width > 2))) == (1, 1.0)
    assert best_pack(1.0, 8, lambda width: 0.9 * width) == (2, 1.8)


def test_of_a_given_pack_no_more_is_measured_than_is_allowed():
    def seconds(width):
        measured.append(width)
        return 1.0 + 0.1 * width

    measured = []
    assert best_pack(1.1, 1, seconds, 64, widest=4) == (64, pytest.approx(seconds(64)))
    assert best_pack(1.1, 1, seconds, 3, widest=4) == (3, pytest.approx(1.3))
    assert best_pack(1.1, 1, seconds, 64, widest=1) == (64, pytest.approx(64 * 1.1))
    assert measured == [4, 64, 3]


EIGHT = """
import sys
import jax, numpy as np
from scaling.counts.lowering import Lowering, MeshSizes
from scaling.recipe.schedules import Constant
from scaling.train.lanes import Lanes
from scaling.train.loop import ChunkInput
from scaling.train.pack import Asked
from scaling.train.program import Blueprint, make_program
from tests.train.runs import make_run

schedule = Constant(kind="constant", warmup=4)
runs = [
    make_run(batch_sequences=2, seed=seed, learning_rate=0.002 * (seed + 1), schedule=schedule)
    for seed in range(8)
]
windows = np.random.default_rng(0).integers(0, 256, (8, 20, 2, 33), np.int32)

def losses(run_devices, groups):
    mesh = MeshSizes(run=run_devices)
    program = make_program(Blueprint.of(runs[0], 20, lowering=Lowering(mesh=mesh)))
    found = []
    for group in groups:
        lanes = Lanes(program)
        asked = {}
        for i in group:
            lane = lanes.join()
            lane.put(program.start(runs[i].seed))
            asked[lane] = Asked(runs[i], ChunkInput(0, 20, windows[i]))
        fetched = lanes.train(asked)
        for lane, fetch in fetched.items():
            weights = next(iter(lane.take().params.values()))
            found.append((float(fetch().steps.trained.loss[0]), *np.ravel(weights)[:50]))
    return np.array(found), lanes

together, lanes = losses(8, [range(8)])
print(lanes.pack.chunk.as_text(), file=open(sys.argv[1], "w"))
assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(lanes.pack.states)} == {8}
alone, _ = losses(1, [[i] for i in range(8)])
np.testing.assert_allclose(together[:, 0], alone[:, 0], rtol=1e-5)
np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-6)
"""


@pytest.mark.slow
def test_over_devices_nothing_goes_between_members(tmp_path):
    flags = "--xla_force_host_platform_device_count=8 --xla_cpu_multi_thread_eigen=false"
    done = subprocess.run(
        [sys.executable, "-c", EIGHT, str(tmp_path / "program.txt")],
        env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    program = (tmp_path / "program.txt").read_text()
    assert "num_partitions=8" in program
    collectives = r"all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute|collective-broadcast"
    assert not re.findall(collectives, program)


def test_a_pack_holds_each_state_once(tmp_path, members, index):
    worker = Serving()
    worker.finish_all(folders(tmp_path, members[:2], index), rounds=2)
    state = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(worker.lanes.program.abstract))
    held = sum(array.size for array in jax.live_arrays() if array.dtype == np.float32)
    for seat in worker.seats.copy():
        seat.flow.close()
        worker._end(seat, 1)
    assert 1.9 * state < held < 2.1 * state
