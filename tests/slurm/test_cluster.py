"""The cluster of the tests itself: where it is refused, and what its nodes give jobs."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.slurm import cluster as machine
from tests.slurm.jobs import queue, slurm


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders in which nothing is configured, on a Debian, as root."""
    monkeypatch.setattr(machine, "FOLDER", tmp_path / "state")
    monkeypatch.setattr(machine, "CONFIGURATION", tmp_path)
    monkeypatch.setattr(machine.os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine.shutil, "which", lambda command: f"/usr/bin/{command}")
    return tmp_path


@pytest.mark.parametrize("lacks, reason", [("root", "not root"), ("apt-get", "no apt-get")])
def test_it_says_what_a_machine_lacks(
    lacks: str,
    reason: str,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    if lacks == "root":
        monkeypatch.setattr(machine.os, "geteuid", lambda: 1000)
    else:
        monkeypatch.setattr(machine.shutil, "which", lambda command: None)
    assert machine.main(["start"]) == machine.CANNOT
    assert reason in capsys.readouterr().err


def test_the_configuration_of_another_cluster_is_left_alone(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
):
    theirs = elsewhere / "slurm.conf"
    theirs.write_text("ClusterName=theirs\n")
    assert machine.main(["start"]) == machine.CANNOT
    assert f"{theirs} is of another cluster" in capsys.readouterr().err
    assert theirs.read_text() == "ClusterName=theirs\n"


@pytest.mark.slurm
def test_tasks_of_an_array_have_a_device_each_on_every_node(cluster: None, tmp_path: Path):
    name = f"devices-{uuid.uuid4().hex}"  # accounting remembers the jobs of earlier runs of the tests
    script = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES; sleep 1"
    options = ["--array=0-5", "--gres=gpu:1", "--cpus-per-task=1", f"--output={tmp_path}/%a"]
    slurm("sbatch", "--wait", f"--job-name={name}", *options, f"--wrap={script}")
    places = {path.read_text().strip() for path in tmp_path.iterdir()}
    assert {place.split()[1] for place in places} <= {"0", "1"}
    assert {place.split()[0] for place in places} <= set(machine.NODES)
    assert [job.state for job in queue(name)] == ["COMPLETED"] * 6
