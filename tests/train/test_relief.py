"""Out of memory: a job goes on in the same process, in smaller pieces."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scaling.counts.lowering import Lowering, smaller
from scaling.counts.shape import Experts
from scaling.run import run_id
from scaling.train import lanes
from tests.train.jobs import curve, results_of, write_job
from tests.train.runs import TINY, make_run
from tests.train.test_pack import Serving


@pytest.fixture(scope="module")
def worker():
    return Serving()


def losses(results, run):
    return np.array([row["train/loss"] for row in curve(results, run) if "train/loss" in row])


def lowering_of(results, run):
    record = json.loads((results / "runs" / run_id(run) / "record.json").read_text())
    return record["execution"]["lowering"]


def refusing(monkeypatch, too_large, calls):
    """Let chunks of a lowering that is ``too_large`` fail for lack of memory, from the third on."""
    real = lanes.advance

    def refuse(program, *rest):
        lowering = program.blueprint.lowering
        calls.append(lowering)
        if too_large(lowering) and len(calls) > 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7 bytes.")
        return real(program, *rest)

    monkeypatch.setattr(lanes, "advance", refuse)


def test_micro_batches_are_halved_and_training_goes_on(tmp_path, worker, index, monkeypatch, capsys):
    run = make_run(steps=24, fingerprint=index.fingerprint)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    (answer,) = worker.finish_all([write_job(whole, [run], index, chunk_steps=4)])
    calls = []
    refusing(monkeypatch, lambda lowering: lowering.micro_batches < 4, calls)
    folder = write_job(cut, [run], index, chunk_steps=4, checkpoint_seconds=0.0)
    assert [*worker.finish_all([folder]), answer] == [(folder.name, 0)] * 2
    pieces = [lowering.micro_batches for lowering in calls]
    assert pieces[:4] == [1, 1, 1, 2] and {*pieces[4:]} == {4}
    assert len(pieces[4:]) < 6, "from a checkpoint"
    assert "out of memory: goes on from its checkpoints with micro_batches = 2 (RuntimeError" in (
        capsys.readouterr().out
    )
    np.testing.assert_allclose(losses(cut, run), losses(whole, run), rtol=1e-5)
    assert results_of(cut, [run])[run_id(run)]["loss"] == pytest.approx(
        results_of(whole, [run])[run_id(run)]["loss"], rel=1e-5
    )
    assert lowering_of(cut, run)["micro_batches"] == 4
    settled = json.loads((folder / "lowering.json").read_text())
    assert settled["asked"]["micro_batches"] == 1 and settled["used"]["micro_batches"] == 4
    assert "RESOURCE_EXHAUSTED" in settled["reason"]
    (cut / "runs" / run_id(run) / "record.json").unlink()
    calls.clear()
    write_job(cut, [run], index, chunk_steps=4, lowering={"pack": 2})
    worker.finish_all([folder])
    assert {lowering.micro_batches for lowering in calls} == {4}, "kept by the next start"


@pytest.mark.slow
def test_what_is_asked_for_now_counts(tmp_path, worker, index, monkeypatch):
    """Not what an earlier launch that ran out of memory had settled on."""
    run = make_run(steps=24, fingerprint=index.fingerprint)
    refusing(monkeypatch, lambda lowering: lowering.micro_batches < 2, [])
    folder = write_job(tmp_path, [run], index, chunk_steps=4)
    worker.finish_all([folder])
    assert lowering_of(tmp_path, run)["micro_batches"] == 2
    (tmp_path / "runs" / run_id(run) / "record.json").unlink()
    monkeypatch.undo()
    write_job(tmp_path, [run], index, chunk_steps=4, lowering={"micro_batches": 2, "remat": "full"})
    worker.finish_all([folder])
    assert lowering_of(tmp_path, run)["remat"] == "full"


@pytest.mark.slow
def test_what_cannot_be_made_smaller_fails_and_says_why(tmp_path, worker, index, monkeypatch):
    run = make_run(steps=24, fingerprint=index.fingerprint)
    refusing(monkeypatch, lambda lowering: True, [Lowering()] * 2)
    given = {"micro_batches": 8, "remat": "full"}
    folder = write_job(tmp_path, [run], index, chunk_steps=4, lowering=given)
    assert worker.finish_all([folder]) == [(folder.name, 1)]
    error = json.loads((tmp_path / "runs" / run_id(run) / "error.json").read_text())
    assert error["kind"] == "out_of_memory" and not (folder / "lowering.json").exists()


def test_the_order_in_which_programs_are_made_smaller():
    def next_to(lowering, shape=TINY, parts=1):
        return smaller(lowering, shape, 12, parts)

    assert next_to(Lowering()) == Lowering(micro_batches=2)
    assert next_to(Lowering(micro_batches=2)) == Lowering(micro_batches=4)
    assert next_to(Lowering(micro_batches=4)) == Lowering(micro_batches=12)
    assert next_to(Lowering(micro_batches=2), parts=4) == Lowering(micro_batches=2, remat="block")
    least = Lowering(micro_batches=12, remat="full")
    assert next_to(least) is None, "sequences of 32 tokens are not cut"
    long = TINY.__class__(**vars(TINY) | {"context": 256})
    assert next_to(least, long) == Lowering(micro_batches=12, remat="full", logit_chunks=4)
    experts = TINY.__class__(**vars(TINY) | {"experts": Experts(count=4, active=1)})
    assert next_to(Lowering(), experts) == Lowering(remat="block"), "their balance is that of a batch"
