"""A real study whose driver is killed at random moments ends in the results of an undisturbed one."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
SPEC = Path(__file__).with_name("miniature.yaml")
LIMIT = 40


def launch(folder):
    command = [sys.executable, "-m", "scaling.cli", "run", str(SPEC), "--results", str(folder)]
    command += ["--set", "execution.checkpoint_seconds=0.2"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def results(folder):
    records = [json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")]
    return {record["run_id"]: record["result"] for record in records}


def test_killed_study_ends_like_an_undisturbed_one(tmp_path):
    """The driver dies by SIGKILL after a random 2 to 9 seconds, again and again; its jobs die with it."""
    assert launch(tmp_path / "calm").wait(timeout=300) == 0
    seed = random.randrange(10**6)
    chance, kills = random.Random(seed), 0
    while kills < LIMIT:
        process = launch(tmp_path / "rough")
        try:
            process.wait(timeout=chance.uniform(2, 9))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
    assert process.returncode == 0, (seed, process.stderr.read())
    assert kills > 0, seed
    assert results(tmp_path / "rough") == results(tmp_path / "calm"), seed
    for path in (tmp_path / "rough").glob("runs/*/metrics.jsonl"):
        steps = [row["step"] for row in map(json.loads, path.read_text().splitlines()) if "train/loss" in row]
        assert steps == sorted(set(steps)), (seed, path)


def test_interrupted_it_says_how_to_go_on(tmp_path):
    process = launch(tmp_path / "study")
    deadline = time.monotonic() + 120
    while not list((tmp_path / "study").glob("jobs/*/trunk.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again" in said and "Traceback" not in said
    assert launch(tmp_path / "study").wait(timeout=300) == 0
