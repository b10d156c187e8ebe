"""Runs of equal shape side by side in one program: as alone, whatever happens to the others."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from scaling.recipe.schedules import WSD
from scaling.train.serve import Order, Worker
from tests.train.jobs import curve, results_of, write_job
from tests.train.runs import make_run


class Serving(Worker):
    """A worker in this process. ``answers`` are (name of the folder, status)."""

    def __init__(self):
        self.answers = []
        stop = SimpleNamespace(asked=False)
        super().__init__(
            stop, lambda order, status: self.answers.append((order.folder.name, status)), logs=False
        )

    def finish_all(self, folders, *, rounds=math.inf):
        for folder in folders:
            self.begin(Order(folder))
        while self.seats and (rounds := rounds - 1) >= 0:
            self.train()


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
def alone(tmp_path_factory, members, index):
    results = tmp_path_factory.mktemp("alone")
    worker = Serving()
    for run in members:  # one after the other, in one process
        worker.finish_all([write_job(results, [run], index, chunk_steps=4)])
    assert [status for _, status in worker.answers] == [0] * 4
    return results


def folders(results, members, index, **execution):
    execution = {"chunk_steps": 4, "lowering": {"pack": 4}} | execution
    return [write_job(results, [run], index, **execution) for run in members]


def losses(results, run):
    return np.array([row["train/loss"] for row in curve(results, run) if "train/loss" in row])


def assert_alike(results, alone, members):
    for run, packed, single in zip(
        members, results_of(results, members).values(), results_of(alone, members).values(), strict=True
    ):
        np.testing.assert_allclose(losses(results, run)[:5], losses(alone, run)[:5], rtol=1e-5)  # 20 steps
        assert len(losses(results, run)) == run.steps // 4
        assert packed["loss"] == pytest.approx(single["loss"], rel=1e-4) and packed["status"] == "ok"


def test_packed_as_alone(tmp_path, members, alone, index):
    worker = Serving()
    worker.finish_all(folders(tmp_path, members, index))
    assert sorted(status for _, status in worker.answers) == [0] * 4
    assert_alike(tmp_path, alone, members)
