"""Every option of a run: checkpointed, restored and trained on, it is bit for bit the run that was not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from scaling.counts.shape import Shape
from scaling.recipe.auxiliary import Auxiliary
from scaling.recipe.optimizers import SGD, Adafactor, Lion, Muon
from scaling.recipe.parametrization import CompleteP, MuP
from scaling.run import Run, run_id
from scaling.train.averages import Averages, Carried
from scaling.train.checkpoint import Checkpoints
from scaling.train.loop import ChunkInput, advance
from scaling.train.program import Blueprint, Program, make_program
from scaling.train.step import TrainState
from tests.model.options import OPTIONS
from tests.train.runs import make_run

STEPS, CHUNK = 6, 2
SIZES = dict(depth=3, width=16, heads=2, kv_heads=2, head_dim=8, mlp_width=24, vocab_size=64, context=96)
PLAIN = make_run(shape=Shape(**SIZES), batch_sequences=2, steps=STEPS)

RECIPES: dict[str, dict[str, Any]] = {
    "lion": {"optimizer": Lion(kind="lion", learning_rate=0.002)},
    "sgd": {"optimizer": SGD(kind="sgd", learning_rate=0.1, nesterov=True)},
    "muon": {"optimizer": Muon(kind="muon", learning_rate=0.01)},
    "muon-spectral": {"optimizer": Muon(kind="muon", learning_rate=0.01, scale="spectral", nesterov=False)},
    "adafactor": {"optimizer": Adafactor(kind="adafactor", learning_rate=0.01)},
    "adafactor-momentum": {"optimizer": Adafactor(kind="adafactor", learning_rate=0.01, momentum=0.9)},
    "independent-decay": {"optimizer": PLAIN.optimizer.model_copy(update={"decay": "independent"})},
    "mup": {"parametrization": MuP(kind="mup", base_width=8)},
    "completep": {"parametrization": CompleteP(kind="completep", base_width=8, base_depth=2)},
    "z-loss": {"auxiliary": Auxiliary(z_loss=1e-3)},
    "bfloat16": {"precision": "bfloat16"},
}
RUNS = {
    **{
        name: {"shape": replace(PLAIN.shape, **option)} for name, option in OPTIONS.items() if name != "plain"
    },
    **RECIPES,
}


def run_of(name: str) -> Run:
    return PLAIN.model_copy(update=RUNS[name])


def trained(program: Program, run: Run, state: TrainState, first: int, last: int) -> TrainState:
    text = np.random.default_rng(7).integers(0, 64, (STEPS, 2, run.shape.context + 1)).astype(np.int32)
    chunks = [ChunkInput(step, CHUNK, text[step : step + CHUNK]) for step in range(first, last, CHUNK)]
    for _, latest, _ in advance(program, state, run, chunks):
        state = latest
    return state


@pytest.mark.parametrize(
    "name",
    [name if name == "gemma-like" else pytest.param(name, marks=pytest.mark.slow) for name in RUNS],
)
def test_killed_and_resumed_equals_undisturbed(name: str, tmp_path: Path) -> None:
    run = run_of(name)
    program = make_program(Blueprint.of(run, CHUNK))
    whole = jax.device_get(trained(program, run, program.start(run.seed), 0, STEPS))
    saved = trained(program, run, program.start(run.seed), 0, 4)
    checkpoints = Checkpoints(tmp_path, lambda: None)
    checkpoints.save("trunk", 4, Carried(saved, {}), Averages())
    restored = checkpoints.restore("trunk", program.abstract, [4], Averages())
    assert restored is not None and restored[0] == 4
    resumed = jax.device_get(trained(program, run, restored[1].state, 4, STEPS))
    assert whole.step == STEPS and whole.ok
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)
    start = jax.device_get(program.start(run.seed)).params
    assert all((whole.params[name] != start[name]).any() for name in start)


def test_ids_differ_with_and_without() -> None:
    ids = [run_id(PLAIN), *(run_id(run_of(name)) for name in RUNS)]
    assert len(set(ids)) == len(ids)
