"""Our arithmetic of memory against that of the compiler, of the very programs that train."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from scaling.counts.lowering import Lowering, MeshSizes
from scaling.counts.memory import ERROR, Workload, step_memory
from scaling.counts.shape import Shape, parameter_table
from scaling.recipe.optimizers import OPTIMIZERS
from scaling.run import Run
from scaling.train.memory import held_bytes
from scaling.train.program import Blueprint
from tests.train.runs import make_run

SIZES: dict[str, Any] = dict(depth=12, width=64, heads=2, kv_heads=1, head_dim=32, mlp_width=176)
DEEP = Shape(**SIZES, vocab_size=256, context=128)
WIDE_SIZES: dict[str, Any] = SIZES | {"depth": 9, "width": 256, "heads": 8, "mlp": "gelu"}
WIDE = Shape(**WIDE_SIZES, vocab_size=256, context=64)
VOCAB = Shape(**SIZES, vocab_size=4096, context=128)
SHALLOW = replace(DEEP, depth=3)

ONE_DEVICE = [(SHALLOW, 8, Lowering(micro_batches=4)), (VOCAB, 8, Lowering(remat="full", logit_chunks=2))]
MORE = [
    (DEEP, 8, Lowering()),
    (DEEP, 8, Lowering(remat="block", micro_batches=2)),
    (WIDE, 1, Lowering(remat="full")),
    (DEEP, 8, Lowering(micro_batches=4)),
    (DEEP, 8, Lowering(remat="full")),
    (WIDE, 8, Lowering(remat="block", logit_chunks=1)),
    (WIDE, 8, Lowering()),
    (VOCAB, 8, Lowering()),
    (VOCAB, 8, Lowering(micro_batches=2, logit_chunks=2)),
    (SHALLOW, 8, Lowering()),
    (SHALLOW, 8, Lowering(remat="block")),
]
CUT: tuple[tuple[Shape, Any], ...] = ((WIDE, "none"), (DEEP, "full"))
MESHES = [
    (shape, 8, Lowering(mesh=MeshSizes(**mesh), remat=remat))
    for mesh in ({"data": 8}, {"fsdp": 8}, {"data": 2, "fsdp": 2, "tensor": 2}, {"tensor": 2})
    for shape, remat in CUT
]


def predicted(run: Run, lowering: Lowering) -> int:
    table = parameter_table(run.shape)
    moments = {name: run.optimizer.kept(parameter) for name, parameter in table.items()}
    work = Workload(shape=run.shape, sequences=run.batch_sequences, moments=moments)
    return step_memory(work, lowering).total


def check(shape: Shape, sequences: int, lowering: Lowering, run: Run | None = None) -> None:
    run = run or make_run(shape=shape, batch_sequences=sequences)
    compiled = held_bytes(Blueprint.of(run, 1, (), lowering))
    ratio = predicted(run, lowering) / compiled
    assert abs(ratio - 1) < ERROR, f"{ratio:.2f} of {compiled / 1e6:.1f} MB: {shape}, {lowering}"


@pytest.mark.parametrize(("shape", "sequences", "lowering"), ONE_DEVICE)
def test_arithmetic_is_within_15_percent_of_the_compiler(
    shape: Shape, sequences: int, lowering: Lowering
) -> None:
    check(shape, sequences, lowering)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "sequences", "lowering"), MORE)
def test_so_it_is_of_more_lowerings(shape: Shape, sequences: int, lowering: Lowering) -> None:
    check(shape, sequences, lowering)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind not in ("muon",)])
def test_so_it_is_of_other_optimizers(kind: str) -> None:
    optimizer: Any = OPTIMIZERS[kind](kind=kind, learning_rate=0.01)
    run = make_run(shape=DEEP, batch_sequences=8, optimizer=optimizer)
    check(DEEP, 8, Lowering(remat="block"), run)


def in_process(devices: int, code: str) -> str:
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_so_it_is_on_meshes() -> None:
    in_process(8, "from tests.train import test_memory as t; [t.check(*case) for case in t.MESHES]")


@pytest.mark.slow
def test_the_first_lowering_that_fits_is_found_by_compiling() -> None:
    run = make_run(shape=SHALLOW, batch_sequences=8)
    lowerings = [{}, {"micro_batches": 4}, {"micro_batches": 8}]
    limit = (predicted(run, Lowering()) + predicted(run, Lowering(micro_batches=4))) // 2
    program = {
        "run": run.model_dump(mode="json"),
        "chunk_steps": 1,
        "averages": 0,
        "limit": limit,
        "lowerings": lowerings,
    }
    command = [sys.executable, "-m", "scaling.train.memory"]
    question = json.dumps({"programs": [program]})
    done = subprocess.run(command, input=question, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    ((whole, cut),) = answer["held"]
    assert whole > limit >= cut and answer["devices"] == 1 and answer["memory_bytes"] is None
