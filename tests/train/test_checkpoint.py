"""Checkpoints: written while training goes on, restored elsewhere; what is said of those that do not fit."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import jax
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.recipe.optimizers import Lion
from scaling.store.lease import LostLease
from scaling.train import checkpoint
from scaling.train.averages import Averages, Carried
from scaling.train.checkpoint import Checkpoints
from scaling.train.manifest import manifest_of, seal
from scaling.train.optimizers import numbers_of
from scaling.train.program import Blueprint, abstract_state
from tests.train.runs import TINY, make_run

NONE = Averages()


@pytest.fixture
def state(program):
    return program.start(0)


def donated(program, state):
    """Let a chunk overwrite the arrays of ``state``."""
    rates, windows = np.full(8, 0.1, np.float32), np.zeros((8, 2, 33), np.int32)
    new, _ = program.chunk(state, windows, rates, numbers_of(make_run().optimizer), np.int32(8))
    return jax.block_until_ready(new)


def test_training_goes_on_while_it_is_written_and_what_is_written_is_of_before(
    program, state, tmp_path, monkeypatch
):
    go = threading.Event()
    monkeypatch.setattr(checkpoint, "seal", lambda *given: seal(*given) if go.wait(20) else None)
    before, checkpoints = jax.device_get(state), Checkpoints(tmp_path, lambda: None)
    checkpoints.save("trunk", 8, Carried(state, {}), NONE)
    after = jax.device_get(donated(program, state))
    assert not checkpoints.steps("trunk"), "nothing stands in its place before it is whole"
    go.set()
    restored = checkpoints.restore("trunk", program.abstract, {8}, NONE)
    assert restored is not None and restored[0] == 8
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(restored[1].state), before)
    assert any((after.params[name] != before.params[name]).any() for name in before.params)


@pytest.mark.parametrize("when", ["save", "settle", "restore", "drop"])
def test_what_could_not_be_committed_is_said_at_the_next_call(program, state, tmp_path, monkeypatch, when):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints = Checkpoints(tmp_path, lambda: None)
    monkeypatch.setattr(checkpoint, "seal", refuse)
    checkpoints.save("trunk", 8, Carried(state, {}), NONE)
    calls = {
        "save": lambda: checkpoints.save("trunk", 16, Carried(state, {}), NONE),
        "settle": checkpoints.settle,
        "restore": lambda: checkpoints.restore("trunk", program.abstract, {8}, NONE),
        "drop": lambda: checkpoints.drop("trunk"),
    }
    with pytest.raises(OSError, match="No space left"):
        calls[when]()
    assert not list(tmp_path.glob("trunk/*")) and not list(tmp_path.glob("trunk/.*"))
    checkpoints.settle()  # said once


def test_who_loses_the_lease_while_it_is_written_commits_nothing(state, tmp_path, monkeypatch):
    held = True

    def guard():
        if not held:
            raise LostLease("taken over")

    def taken_over(*given):
        nonlocal held
        held = False
        seal(*given)

    monkeypatch.setattr(checkpoint, "seal", taken_over)
    checkpoints = Checkpoints(tmp_path, guard)
    checkpoints.save("trunk", 8, Carried(state, {}), NONE)
    with pytest.raises(LostLease):
        checkpoints.settle()
    assert not list(tmp_path.glob("trunk/*")) and not list(tmp_path.glob("trunk/.*"))


def test_arrays_that_differ_are_named(program, state, tmp_path):
    checkpoints = Checkpoints(tmp_path, lambda: None)
    checkpoints.save("trunk", 8, Carried(state, {}), NONE)
    wider = abstract_state(Blueprint.of(make_run(shape=replace(TINY, mlp_width=48)), 8))
    with pytest.raises(UserError) as refused:
        checkpoints.restore("trunk", wider, {8}, NONE)
    (problem,) = refused.value.problems
    assert "params/blocks/gate/kernel: float32[1, 16, 40] there, float32[1, 16, 48] wanted" in problem.message
    assert "embed" not in problem.message and problem.where == str(tmp_path / "trunk" / "8")
    lion = make_run(optimizer=Lion(kind="lion", learning_rate=0.002))
    with pytest.raises(UserError, match=r"moments.*absent wanted"):
        checkpoints.restore("trunk", abstract_state(Blueprint.of(lion, 8)), {8}, NONE)


def test_other_library_versions_are_said_and_no_obstacle(program, state, tmp_path):
    said = list[str]()
    checkpoints = Checkpoints(tmp_path, lambda: None, said.append)
    checkpoints.save("trunk", 8, Carried(state, {}), NONE)
    assert checkpoints.restore("trunk", program.abstract, {8}, NONE) and not said
    path = tmp_path / "trunk" / "8" / "manifest.json"
    content = json.loads(path.read_text())
    assert content["versions"]["jax"] == jax.__version__
    content["versions"]["jax"] = "0.4.1"
    path.write_text(json.dumps(content))
    assert checkpoints.restore("trunk", program.abstract, {8}, NONE)
    (line,) = said
    assert f"jax 0.4.1 (now {jax.__version__})" in line and "optax" not in line
    assert content["devices"] == [jax.local_devices()[0].device_kind] and not checkpoints.earlier_devices
    del content["versions"]  # of an earlier version of this package
    path.write_text(json.dumps(content))
    kept = manifest_of(path.parent)
    assert kept is not None and kept.other_versions is None
    assert checkpoints.restore("trunk", program.abstract, {8}, NONE) and len(said) == 1


ELSEWHERE = """
import sys, jax, numpy as np
from pathlib import Path
from scaling.counts.lowering import Lowering, MeshSizes
from scaling.train.averages import Averages, Carried
from scaling.train.checkpoint import Checkpoints
from scaling.train.program import Blueprint, make_program
from tests.train.runs import make_run

def program(**sizes):
    return make_program(Blueprint.of(make_run(), 8, lowering=Lowering(mesh=MeshSizes(**sizes))))

checkpoints = Checkpoints(Path(sys.argv[1]), lambda: None)
first = program(data=2, fsdp=2, tensor=2)
state = first.start(0)
assert any(not array.is_fully_replicated for array in state.params.values())
checkpoints.save("trunk", 8, Carried(state, {}), Averages())
for sizes in ({"fsdp": 4, "tensor": 2}, {"data": 8}, {"data": 1}):
    other = program(**sizes)
    _, carried = checkpoints.restore("trunk", other.abstract, {8}, Averages())
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(carried.state), jax.device_get(state))
    for array, described in zip(jax.tree.leaves(carried.state), jax.tree.leaves(other.abstract)):
        assert array.sharding.is_equivalent_to(described.sharding, array.ndim)
print("restored")
"""


@pytest.mark.slow
def test_a_checkpoint_of_one_mesh_is_restored_on_others(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path)],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "restored\n", done.stderr
