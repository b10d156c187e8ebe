"""The real libraries, offline: what they hold afterwards, read back with their own readers and with ours."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from scaling.plan.plan import load_plan
from tests.sweep.plans import wait_until
from tests.trackers.studies import Study, offline

KINDS = ("wandb", "tensorboard", "trackio")
pytestmark = pytest.mark.slow


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two runs that have ended, one that is half-done, and one that has not begun."""
    study = Study(tmp_path / "s", 100, 200, 300, 400)
    for run_id, steps in zip(study.ids, (100, 200), strict=False):
        study.train(run_id, *range(10, steps, 10))
        study.end(run_id, steps)
    study.train(study.ids[2], *range(10, 160, 10))
    return study


def follow(study: Study, kind: str, *options: str, **more: str) -> subprocess.Popen[str]:
    """Start the process that sends a study's runs to a tracker."""
    home = study.results.path.parent
    asked = {"kind": kind} | ({"dir": str(home / "trackio")} if kind == "trackio" else {})
    command = [sys.executable, "-m", "scaling.trackers", str(study.results.path), json.dumps(asked), *options]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **pipes, env=offline(home, **more), start_new_session=True)


def finish(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return [json.loads(line) for line in said.splitlines()]


def read_back(study: Study, kind: str) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that a tracker has of each run that it knows, with their steps."""
    trackers = study.results.path / "trackers"
    match kind:
        case "wandb":
            from analysis.readers.read import read

            files = sorted(trackers.glob("wandb/offline-run-*/*.wandb"))
            files = [file for file in files if file.stat().st_size > 7]  # else killed before its first block
            frames = [read(file).frame.rename(columns={"_step": "step"}) for file in files]
        case "tensorboard":
            from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

            frames = []
            for folder in (trackers / "tensorboard").iterdir():
                read_events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
                read_events.Reload()
                rows = [
                    {
                        "run": folder.name.split("-")[-1],
                        "step": event.step,
                        tag: event.tensor_proto.double_val[0],
                    }
                    for tag in read_events.Tags()["tensors"]
                    for event in read_events.Tensors(tag)
                    if event.tensor_proto.double_val
                ]
                frames += [pd.DataFrame(rows).groupby(["run", "step"], as_index=False).first()]
                assert not pd.DataFrame(rows).groupby("step")["train/loss"].count().gt(1).any()
        case _:
            with contextlib.closing(sqlite3.connect(study.results.path.parent / "trackio" / "tiny.db")) as db:
                kept = db.execute("select run_name, step, metrics from metrics").fetchall()
            rows = [{"run": name.split("-")[-1], "step": step, **json.loads(of)} for name, step, of in kept]
            frames = [pd.DataFrame(rows)]
    wide = pd.concat(frames).to_dict("records")
    rows = [{name: value for name, value in row.items() if pd.notna(value)} for row in wide]
    return {run_id: [row for row in rows if row["run"] == run_id] for run_id in study.ids}


def trained(rows: list[dict[str, Any]]) -> dict[int, float]:
    """Return training losses by step, each of which stands there once."""
    losses = [(int(row["step"]), row["train/loss"]) for row in rows if "train/loss" in row]
    assert max(Counter(step for step, _ in losses).values(), default=1) == 1, "a step stands there twice"
    return dict(sorted(losses))


def expected(*steps: int) -> dict[int, float]:
    return {step: 3 - 0.1 * step for step in steps}


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_as_a_tracker_has_it(study: Study, kind: str) -> None:
    said = finish(follow(study, kind, "--once"))
    assert said[-1] == {"ended": 2, "of": 4, "last": True} and kind in str(said[0]["where"])
    kept = read_back(study, kind)
    first, second, third, fourth = study.ids
    assert trained(kept[first]) == expected(*range(10, 100, 10))
    assert trained(kept[second]) == expected(*range(10, 200, 10))
    assert trained(kept[third]) == expected(*range(10, 150, 10)), "the newest may get an evaluation"
    assert not kept[fourth]
    assert {row["loss"] for row in kept[second] if "loss" in row} == {2.2}
    evaluated = {int(row["step"]): row["eval/loss"] for row in kept[second] if "eval/loss" in row}
    assert evaluated == {200: 2.2}
    assert finish(follow(study, kind, "--once"))[-1]["ended"] == 2
    assert read_back(study, kind) == kept, "nothing is sent twice"


@pytest.mark.parametrize("kind", KINDS)
def test_a_follower_that_is_killed_and_one_that_continues(study: Study, kind: str) -> None:
    run, cursor = study.ids[3], study.results.path / "trackers" / "state" / kind / "cursor.json"
    follows, step = follow(study, kind), 0
    for _ in range(3):
        for _ in range(3):
            step += 10
            study.train(run, step)
            time.sleep(0.3)
        wait_until(lambda: cursor.exists() and run in cursor.read_text(), 60)
        os.kill(follows.pid, signal.SIGKILL)
        follows.wait()
        if step == 60:  # what it has noted is behind what it has sent
            cursor.unlink()
        follows = follow(study, kind)
    study.end(run, 400)
    said = finish(follows)  # its input ends
    assert said[-1]["ended"] == 3
    kept = read_back(study, kind)
    assert trained(kept[run]) == expected(*range(10, 100, 10))
    assert trained(kept[study.ids[0]]) == expected(*range(10, 100, 10))
    left = [p for p in psutil.process_iter(["cmdline"]) if str(study.results.path) in str(p.info["cmdline"])]
    assert not left


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_followers_one_works_and_the_other_replaces_it(study: Study, kind: str) -> None:
    run, other = study.ids[2:]
    both = [follow(study, kind) for _ in range(2)]
    cursor = study.results.path / "trackers" / "state" / kind / "cursor.json"
    wait_until(lambda: cursor.exists() and run in cursor.read_text(), 60)
    study.resume(run, 100)
    study.train(run, 110, 120, 130, 140, 150, 160)
    finish(both[0])
    study.end(run, 300)
    study.train(other, 10, 20)
    study.end(other, 400)
    finish(both[1])
    kept = read_back(study, kind)
    assert trained(kept[run]) == expected(*range(10, 170, 10))
    assert trained(kept[other]) == expected(10, 20)


@pytest.mark.parametrize("kind", ["wandb", "tensorboard"])
def test_what_was_exported_is_imported_again(study: Study, kind: str, tmp_path: Path) -> None:
    scaling = [sys.executable, "-m", "scaling"]
    export = [*scaling, "export", str(study.results.path), "--to", kind, "--json"]
    done = subprocess.run(export, capture_output=True, text=True, env=offline(tmp_path), check=True)
    assert json.loads(done.stdout)["ended"] == 2
    table = tmp_path / "runs.csv"
    source = study.results.path / "trackers" / kind
    subprocess.run([*scaling, "import", str(source), "--out", str(table)], check=True)
    runs = pd.read_csv(table)
    assert sorted(runs["loss"]) == [2.1, 2.2] and sorted(runs["tokens"]) == [6400, 12800]
    assert set(runs["params"]) == {load_plan(study.results).runs[0].params}
