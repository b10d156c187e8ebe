"""The real Slurm of this room's tests, or the reason why there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.slurm import cluster as machine


@pytest.fixture(scope="session")
def cluster() -> None:
    """Three nodes of two cores that answer. They are left running: the next tests find them."""
    command = [sys.executable, machine.__file__, "start"]
    started = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if started.returncode == machine.CANNOT:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr
