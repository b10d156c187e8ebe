"""The helper of a trainer of one's own: copied alone into an empty folder, and run by a bare Python."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import scaling.external
from scaling.external import External

PROGRAM = """
import os, sys, time
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from external import External

class Array:  # as libraries have numbers
    def __init__(self, value): self.value = value
    def __float__(self): return float(self.value)
    def item(self): return self.value

run = External()
assert "scaling" not in sys.modules
step, total = 0, 0.0
if saved := run.latest():
    step, folder = saved
    total = float((folder / "total").read_text())
while step < run.steps:
    step, total = step + 1, total + run.config["gain"]
    run.log(step, Array(10 - total), more={"my/nan": float("nan")})
    if run.save_due(step):
        run.save(step, lambda folder: (folder / "total").write_text(str(total)))
    run.exit_if_asked()
    if step == 3 and not saved:
        while not run.stop_asked: time.sleep(0.01)
run.finish(loss=10 - total, accuracy=Array(0.5), note="hi")
"""


@pytest.fixture(autouse=True)
def own_handler():
    """Leave the handler of SIGTERM as it was."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def write_run(folder: Path, **changes) -> Path:
    paths = {name: folder / name for name in ("metrics.jsonl", "result.json", "checkpoints")}
    paths["checkpoints"].mkdir(parents=True, exist_ok=True)
    asked = {
        **{"run_id": "a" * 12, "start": 1, "steps": 6, "tokens": 96, "context": 8},
        **{"size": {"name": "tiny", "config": {"gain": 0.5}}, "recipe": {}, "learning_rate": 0.1},
        **{"batch_sequences": 2, "batch_tokens": 16, "seed": 0, "order": 0, "evaluate_at": [3]},
        "checkpoint_seconds": 1e9,
        "paths": {name.split(".")[0]: str(path) for name, path in paths.items()} | {"out": str(folder)},
    }
    path = folder / "run.json"
    path.write_text(json.dumps(asked | changes))
    return path


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    shutil.copy(scaling.external.__file__, folder / "external.py")
    (folder / "mine.py").write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "mine.py", *arguments],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(folder: Path):
    path = folder / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_it_works_alone_stops_when_asked_and_resumes(tmp_path):
    path = write_run(tmp_path)
    process = start(tmp_path, "--run", str(path))
    deadline = time.monotonic() + 20
    while len(lines(tmp_path)) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 130, process.stderr.read()
    stopped = len(lines(tmp_path))
    assert [one.name for one in (tmp_path / "checkpoints").iterdir()] == [str(stopped)]
    assert not (tmp_path / "result.json").exists()

    process = start(tmp_path, f"--run={path}")
    assert process.wait(20) == 0, process.stderr.read()
    assert [row["step"] for row in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]
    assert lines(tmp_path)[-1] == {"step": 6, "tokens": 96, "train/loss": 7.0, "my/nan": None}
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == {
        **{"run_id": "a" * 12, "start": 1, "status": "ok", "loss": 7.0, "steps": 6},
        **{"accuracy": 0.5, "note": "hi"},
    }


def test_a_loss_that_is_not_finite_is_divergence(tmp_path):
    run = External(write_run(tmp_path))
    run.finish(loss=float("nan"), other=float("inf"))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "diverged" and result["loss"] is None and "nan" in result["status_reason"]
    assert result["other"] is None


def test_an_old_start_writes_nothing_more(tmp_path):
    run = External(write_run(tmp_path))
    run.log(1, 2.0)
    os.unlink(tmp_path / "run.json")
    write_run(tmp_path, start=2)
    for write in (lambda: run.log(2, 2.0), lambda: run.finish(1.0), lambda: run.save(2, print)):
        with pytest.raises(SystemExit, match="another start"):
            write()
    assert len(lines(tmp_path)) == 1 and not (tmp_path / "result.json").exists()


def test_of_several_processes_one_writes(tmp_path):
    run = External(write_run(tmp_path), writes=False)
    run.log(1, 2.0)
    run.save(1, lambda folder: 1 / 0)
    run.finish(2.0)
    assert not lines(tmp_path) and not (tmp_path / "result.json").exists()


def test_without_a_path_it_says_what_is_missing(tmp_path):
    process = start(tmp_path)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 1 and said == "--run is missing: give the path of run.json\n"
