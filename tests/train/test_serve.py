"""A process that serves several jobs, one after the other."""

from __future__ import annotations

import json
import queue
import signal
import time
from types import SimpleNamespace

import pytest

from scaling.corpora.evaluation import Evaluation
from scaling.plan.expand import plan_data
from scaling.run import run_id
from scaling.store.failure import BUSY, STOPPED
from scaling.store.lease import acquire, look
from scaling.sweep.executors import TRAIN
from scaling.sweep.local import LocalExecutor
from scaling.sweep.machine import Layout, Slot
from scaling.train.feed import best_way
from scaling.train.orders import Order
from scaling.train.program import Blueprint
from scaling.train.serve import Worker
from scaling.train.work import Shop
from tests.train.jobs import results_of, write_job


def test_what_cannot_be_done_is_answered_and_the_next_job_is_done(runs, index, tmp_path, capsys):
    """Held by another, not there, without a job.json; all its runs recorded already."""
    answers, stop = {}, SimpleNamespace(asked=False)

    def answer(order, status):
        answers[order.folder.name] = status
        stop.asked = len(answers) == 4

    orders = queue.Queue()
    for name in ("held", "empty"):
        (tmp_path / name).mkdir()
    done = write_job(tmp_path, runs[:1], index)
    (tmp_path / "runs" / run_id(runs[0])).mkdir(parents=True)
    held, record = acquire(tmp_path / "held"), {"schema": 1, "run_id": run_id(runs[0])}
    for folder in (tmp_path / "held", tmp_path / "none", tmp_path / "empty", done):
        orders.put(Order(folder))
    (tmp_path / "runs" / run_id(runs[0]) / "record.json").write_text(json.dumps(record))
    job = json.loads((done / "job.json").read_text()) | {"runs": []}
    (done / "job.json").write_text(json.dumps(job))
    assert Worker(stop, answer, logs=False).serve(orders) == STOPPED
    assert answers == {"held": BUSY, "none": 1, "empty": 1, done.name: 0}
    held.check()
    assert all(look(folder).released for folder in (tmp_path / "empty", done))
    assert "holds the lease of this job" in capsys.readouterr().out


@pytest.mark.slow
def test_killed_in_one_job_of_several_it_goes_on_in_a_new_process(undisturbed, runs, index, tmp_path):
    executor = LocalExecutor(Layout("cpu", (Slot(),)), TRAIN)
    folders = [
        write_job(tmp_path / name, [run], index, checkpoint_seconds=0.0)
        for name, run in zip("abc", runs, strict=True)
    ]

    def finish(job):
        while (status := executor.poll(job)) is None:
            time.sleep(0.01)
        executor.close(job)
        return status

    def rows(folder):
        return (folder / "trunk.jsonl").read_text().count("\n") if (folder / "trunk.jsonl").exists() else 0

    first = executor.start(folders[0], 0)
    assert finish(first) == 0
    second = executor.start(folders[1], 0)
    assert second.handle == first.handle
    while rows(folders[1]) < 4:
        time.sleep(0.001)
    executor.stop(second, kill=True)
    assert finish(second) == -signal.SIGKILL
    again = executor.start(folders[1], 0)
    assert again.handle != second.handle and finish(again) == 0
    third = executor.start(folders[2], 0)
    while rows(folders[2]) < 4:
        time.sleep(0.001)
    executor.stop(third, kill=False)
    assert finish(third) == STOPPED
    last = executor.start(folders[2], 0)
    assert finish(last) == 0 and last.attempt == 2 and last.handle != third.handle
    executor.end()
    wanted = results_of(undisturbed, runs)
    for name, run in zip("abc", runs, strict=True):
        assert results_of(tmp_path / name, [run]) == {run_id(run): wanted[run_id(run)]}
        log = (next((tmp_path / name / "jobs").iterdir()) / "log.txt").read_text()
        assert log.count(f"{run_id(run)} ok loss") == 1


def test_texts_lie_on_a_device_once_where_all_hosts_agree(index, runs):
    asked = []
    hosts = SimpleNamespace(agree=lambda decide, _: asked.append(decide.func) or "device")
    shop, data = Shop(hosts), plan_data(index, Evaluation(documents=24, tokens=4096))
    short, long = (shop.feed(Blueprint.of(runs[0], steps), data) for steps in (4, 8))
    assert short.tokens is long.tokens and short.blueprint != long.blueprint
    assert asked == [best_way] * 2, "another host may have more memory"
