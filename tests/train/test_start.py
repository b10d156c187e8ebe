"""What a run starts from: a final state kept, or exported, is where the next one begins."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.recipe.schedules import Constant
from scaling.run import run_id
from scaling.store.folder import ResultsFolder
from scaling.store.records import JobRun
from scaling.store.weights import identity, save
from scaling.train.saved import weights_of
from scaling.train.start import start_of
from tests.train.jobs import evaluator_of, results_of, train
from tests.train.runs import make_run


def member(run, init_from, start):
    run = run.model_copy(update={"init_from": init_from})
    return JobRun(run_id=run_id(run), label="x", run=run, flops_spent=1, start=start)


def test_a_run_starts_from_the_final_weights_of_another(index, runs, program, tmp_path):
    run = runs[0]
    train(tmp_path, [run], index, program, keep_final=True)
    kept = ResultsFolder(tmp_path).final_checkpoint(run_id(run), run.steps)
    weights = weights_of(kept, run.shape)
    path = tmp_path / "w.safetensors"
    save(path, weights, run)
    evaluate = evaluator_of(program, index)
    for later in (member(run, run_id(run), str(kept)), member(run, identity(weights), str(path))):
        state = program.start(start_of(later))
        assert evaluate(state.params).loss == results_of(tmp_path, [run])[run_id(run)]["loss"]
        assert int(state.step) == 0 and not any(np.any(leaf) for leaf in jax.tree.leaves(state.moments))
    assert start_of(member(run, None, None)) == run.seed
    still = make_run(
        steps=8, learning_rate=1e-9, schedule=Constant(kind="constant", warmup=1), batch_sequences=2
    )
    still = still.model_copy(update={"init_from": identity(weights)})
    train(tmp_path, [still], index, program, asked=lambda run: {"start": str(path)})
    losses = [result["loss"] for result in results_of(tmp_path, [run, still]).values()]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_weights_that_changed_since_they_were_planned_are_refused(tmp_path):
    run, path = make_run(), tmp_path / "w.safetensors"
    save(path, {"a": np.ones(3, np.float32)}, run)
    with pytest.raises(UserError, match="has other weights than were planned: sha256:"):
        start_of(member(run, identity({"a": np.zeros(3, np.float32)}), str(path)))
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        start_of(member(run, "sha256:0", str(path)))
    with pytest.raises(UserError, match="does not say where sha256:0 lies"):
        start_of(member(run, "sha256:0", None))


def test_a_damaged_checkpoint_is_refused(index, runs, program, tmp_path):
    run = runs[0]
    job = train(tmp_path, [run], index, program, keep_final=True)
    place = job.folder / "checkpoints" / run_id(run) / str(run.steps)
    (place / "state" / "_METADATA").write_text("{}")
    with pytest.raises(UserError, match="damaged checkpoint: state/_METADATA was changed"):
        weights_of(place, run.shape)
