"""Scripts for sbatch, and what they ask for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling.errors import UserError
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.sweep.slurm.script import cpus_per_node, gpus_per_node, notice_seconds, script_text
from tests.sweep.plans import make_plan
from tests.sweep.slurm.submitted import make_submission


def execution(**fields: Any) -> SlurmExecution:
    return SlurmExecution.model_validate({"kind": "slurm", **fields})


def options(text: str) -> dict[str, str | None]:
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return {name: value or None for name, _, value in (line.partition("=") for line in lines)}


def test_what_is_asked_for(tmp_path: Path) -> None:
    asked = {
        **{"partition": "big", "account": "me", "qos": "low", "time": "90 min", "memory": "32 GB"},
        **{"cpus": 8, "constraint": "a100&ib", "device": "gpu", "devices": 2, "workers": 2},
        "setup": ["module load cuda"],
        "concurrent": 4,
        "extra": {"mail-user": "a b", "exclusive": True, "nice": 100, "spread-job": False},
    }
    folder = tmp_path / "50% of it"
    submission = make_submission(folder, make_plan([(8, 50)]), execution=asked, tasks=3)
    text = script_text(submission, ResultsFolder(folder))
    given = options(text)
    assert given == {
        **{"partition": "big", "account": "me", "qos": "low", "time": "90", "mem": "30517M"},
        **{"cpus-per-task": "8", "constraint": "'a100&ib'", "gpus-per-node": "4", "array": "0-2%3"},
        **{"mail-user": "'a b'", "exclusive": None, "nice": "100", "nodes": "1", "ntasks-per-node": "1"},
        **{"job-name": submission.name, "requeue": None, "open-mode": "append", "signal": "B:USR2@300"},
        "output": f"'{tmp_path}/50%% of it/slurm/{submission.id}/%a.log'",
    }
    lines = text.splitlines()
    last = f"exec {sys.executable} -m scaling.sweep.pilot '{folder}' {submission.id}"
    assert lines[0] == "#!/bin/bash" and last in lines and "srun" not in text
    assert lines.index("module load cuda") < lines.index(last)


@pytest.mark.parametrize("name", ["back\\slash", "two\nlines"])
def test_folders_that_slurm_cannot_name(name: str, tmp_path: Path) -> None:
    submission = make_submission(tmp_path, make_plan([(8, 50)]))
    with pytest.raises(UserError, match=r"no backslash and no line break.*name another folder"):
        script_text(submission, ResultsFolder(tmp_path / name))


def test_little_memory_is_not_all_of_it(tmp_path: Path) -> None:
    submission = make_submission(tmp_path, make_plan([(8, 50)]), execution={"memory": "0.5 MB"})
    assert options(script_text(submission, ResultsFolder(tmp_path)))["mem"] == "1M"


def test_the_analysis_is_a_small_job_after_the_others(tmp_path: Path) -> None:
    asked = {"nodes": 4, "cpus": 16, "time": "2 h", "extra": {"gres": "gpu:8", "exclusive": True, "nice": 1}}
    submission = make_submission(
        tmp_path, make_plan([(8, 50)]), execution=asked, kind="analysis", after=("7", "8")
    )
    text = script_text(submission, ResultsFolder(tmp_path))
    given = options(text)
    assert given["dependency"] == "afterany:7:8"
    assert (given["nodes"], given["cpus-per-task"], given["nice"]) == ("1", "2", "1")
    assert not given.keys() & {"array", "gres", "exclusive", "gpus-per-node"}
    assert f"exec {sys.executable} -m scaling run {tmp_path} --detach --workers 1" in text.splitlines()


def test_cores_and_devices_of_a_node() -> None:
    assert (cpus_per_node(execution()), gpus_per_node(execution())) == (1, None)
    assert cpus_per_node(execution(workers=2, threads=4)) == 8
    assert cpus_per_node(execution(device="cpu", devices=3)) == 3
    assert gpus_per_node(execution(device="cpu", devices=3)) is None
    assert (cpus_per_node(execution(device="gpu")), gpus_per_node(execution(device="gpu"))) == (None, 1)
    assert gpus_per_node(execution(mesh={"data": 8}, nodes=2)) == 4
    assert gpus_per_node(execution(device="gpu", extra={"gres": "gpu:h100:8"})) is None


@pytest.mark.parametrize(
    ("time", "grace", "notice"),
    [
        *(("1 min", 0, 30), ("10 min", 0, 60), ("2 h", 0, 300), (None, 0, 300)),
        *(("10 min", 60, 75), ("2 min", 60, 60), ("2 h", 60, 300), ("2 h", 600, 615), (None, 600, 615)),
    ],
)
def test_pilots_are_told_in_time(tmp_path: Path, time: str | None, grace: float, notice: int) -> None:
    plan, asked = make_plan([(8, 50)]), {"time": time}
    assert notice_seconds(make_submission(tmp_path, plan, execution=asked, grace_seconds=grace)) == notice


def test_without_submitit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    submission = make_submission(tmp_path, make_plan([(8, 50)]))
    monkeypatch.setitem(sys.modules, "submitit.slurm.slurm", None)
    with pytest.raises(UserError, match=r"needs submitit; install it: pip install 'scaling-laws\[slurm\]'"):
        script_text(submission, ResultsFolder(tmp_path))


def test_handlers_of_logging_stay_open(tmp_path: Path) -> None:
    code = (
        "import logging, sys; from pathlib import Path; handler = logging.FileHandler(sys.argv[1]);"
        "from scaling.sweep.slurm.script import _submitit;"
        "_submitit(command='true', folder=Path('.')); print(handler.stream is None)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "log")], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
