"""The real Slurm of this room's tests, or the reason why there is none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.faults.study import Trial, cleared
from tests.slurm import cluster as machine
from tests.slurm import jobs

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def cluster() -> None:
    """Three nodes of two cores that answer. They are left running: the next tests find them."""
    command = [sys.executable, machine.__file__, "start"]
    started = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if started.returncode == machine.CANNOT:
        pytest.skip(started.stderr.strip())
    assert started.returncode == 0, started.stderr


@pytest.fixture
def trial(cluster: None, tmp_path: Path) -> Iterator[Trial]:
    """The study of ``study.yaml`` on the cluster."""
    spec = tmp_path / "study.yaml"
    text = (HERE / "study.yaml").read_text()
    places = {"PYTHON": sys.executable, "TRAINER": HERE / "trainer.py", "ENDS": tmp_path / "ends"}
    for name, place in places.items():
        text = text.replace(name, str(place))
    spec.write_text(text)
    with on_cluster(Trial(tmp_path / "results", spec=spec)) as trial:
        yield trial


@pytest.fixture
def built_in(cluster: None, tmp_path: Path) -> Iterator[Trial]:
    """The study of benchmarks/chaos.py, by the built-in trainer, on two whole nodes of the cluster."""
    with on_cluster(Trial(tmp_path / "results"), "cpus: 2\nconcurrent: 2\nworkers: 2\n") as trial:
        yield trial


@pytest.fixture
def gang(cluster: None, tmp_path: Path) -> Iterator[Trial]:
    """The same study, each of whose jobs is trained by two nodes together."""
    with on_cluster(Trial(tmp_path / "results"), "nodes: 2\nworkers: 1\ncpus: 1\nconcurrent: 1\n") as trial:
        yield trial


@contextmanager
def on_cluster(trial: Trial, more: str = "") -> Iterator[Trial]:
    """Have the launches of a study submit to the cluster; neither its processes nor its jobs stay."""
    profile = trial.folder.with_name("cluster.yaml")
    profile.write_text(f"kind: slurm\npartition: main\n{more}")
    trial.options = ("--on", str(profile))
    with cleared(trial):
        yield trial
    left = [job.id for job in jobs.of_study(trial.folder) if not job.ended]
    if left:
        subprocess.run(["scancel", "--full", *left], check=False, timeout=60)
