"""Settings that hold for every test and for the processes that tests start."""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.compiling import compile_in_one_piece, compiling_quickly
from tests.searching import searching_briefly

# Rooms and modules of tests whose fits need no long search for their optimum.
BRIEFLY = (
    "analysis.figures", "analysis.forecasting", "analysis.referee", "analysis.reporting", "analysis.tables",
    "analysis.variants", "analysis.test_comparison", "analysis.test_downstream", "analysis.test_findings",
    "analysis.test_multipliers", "analysis.test_studies", "cli", "study.test_course",
)  # fmt: skip


def _settings() -> None:
    # Token stores and compiled programs are kept between test runs, apart from the user's own cache.
    cache = Path(__file__).parents[1] / ".pytest_cache" / "scaling-laws"
    os.environ["SCALING_CACHE"] = str(cache)
    os.environ |= {"HF_HOME": str(cache / "huggingface"), "HF_HUB_OFFLINE": "1"}
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(cache / "xla")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    # So are compiled modules, whatever the shell says: a hundred tests start an interpreter.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    # One thread of linear algebra for each test process: more only fight for the cores.
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # A shell's background processes ignore SIGINT, and those that they start: tests of it would wait in vain.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    compile_in_one_piece()


_settings()  # as this file is loaded: those of rooms, loaded next, import jax


def pytest_collection_finish() -> None:
    # What was imported stays: the collector of garbage need not go through it again and again. Little of what
    # jax traces is garbage either.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture(scope="module")
def compiled_quickly() -> Iterator[None]:
    """Compile in half the time, in new processes too: for numbers that do not depend on how well."""
    with compiling_quickly():
        yield


@pytest.fixture(scope="module", autouse=True)
def searched_briefly(request: pytest.FixtureRequest) -> Iterator[None]:
    """Search for optima from few starts in the modules of ``BRIEFLY``."""
    name = request.module.__name__.removeprefix("tests.")
    if not f"{name}.".startswith(tuple(f"{room}." for room in BRIEFLY)):
        yield
        return
    with searching_briefly():
        yield


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """A limit of the size of files stands in for a full disk. Compiled modules are not written meanwhile:
    Python would cut them."""

    @contextmanager
    def limited(largest: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "dont_write_bytecode", True)
            patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
            try:
                yield
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture
def field() -> Path:
    """Tables in the wild, each with the value that is right for it."""
    return _folder("SCALING_FIELD_DATA")


@pytest.fixture
def published() -> Path:
    """Runs that others published."""
    return _folder("SCALING_PUBLISHED_DATA")


def _folder(variable: str) -> Path:
    folder = os.environ.get(variable)
    if folder is None:
        pytest.skip(f"{variable} is not set")
    return Path(folder)
