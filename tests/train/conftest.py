from __future__ import annotations

import pytest

from scaling.recipe.schedules import WSD
from scaling.train.environment import use_compilation_cache
from scaling.train.program import Blueprint, make_program
from tests.compiling import compiling_quickly
from tests.data.made_up import shipped_index
from tests.train.jobs import SIZES, train
from tests.train.runs import make_run

# Golden values, the bytes that a compiler takes, and kernels of a GPU.
AS_IN_USE = ("test_loop", "test_memory", "test_kernels")


@pytest.fixture(scope="module", autouse=True)
def quickly(request):
    """Most programs of this room, in its processes too: their numbers are held against one another's."""
    if request.module.__name__.rpartition(".")[2] not in AS_IN_USE:
        request.getfixturevalue("compiled_quickly")


@pytest.fixture(scope="session")
def index():
    return shipped_index(**SIZES)


@pytest.fixture(scope="session")
def runs(index):
    """Three horizons of one trunk."""

    def horizon(steps, decay, shape):
        schedule = WSD(kind="wsd", warmup=10, decay=decay, shape=shape)
        return make_run(steps=steps, schedule=schedule, fingerprint=index.fingerprint, batch_sequences=2)

    return [horizon(60, 20, "1-sqrt"), horizon(120, 24, "linear"), horizon(300, 60, "1-sqrt")]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, runs, index, program):
    """In this process; that a process of its own has the same results, others show."""
    results = tmp_path_factory.mktemp("undisturbed")
    with compiling_quickly():
        train(results, runs, index, program)
    return results


@pytest.fixture(scope="session")
def program():
    use_compilation_cache()
    with compiling_quickly():
        return make_program(Blueprint.of(make_run(batch_sequences=2), 8))
