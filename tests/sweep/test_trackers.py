"""Trackers beside a sweep: they are told apart, never waited for but at the end, and never stop anything."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from scaling.spec.execution import Execution
from scaling.spec.trackers import TensorBoardTracker
from scaling.store.folder import ResultsFolder
from scaling.sweep import trackers
from scaling.sweep.events import Event, RunFinished, TrackerBehind, TrackerOpened, TrackerSent, TrackerWaiting
from scaling.sweep.trackers import PATIENCE_SECONDS, Trackers
from tests.sweep.plans import make_plan, open_tiny, start_driver, wait_until
from tests.trackers.studies import offline

# what a process says and does in place of `python -m scaling.trackers RESULTS TRACKER`
TALKS = """
import json, sys, time
open(sys.argv[1] + '/asked.json', 'w').write(sys.argv[2])
print('{"where": "over there"}\\n{"ended": 1, "of": 2, "last": false}', flush=True)
sys.stdin.read()
print('{"ended": 2, "of": 2, "last": true}')
"""
COMPLAINS = 'print(\'{"problem": "ImportError: no"}\', flush=True); import sys; sys.exit(1)'
HANGS = "import time; time.sleep(60)"
BREAKS = "import os; os.abort()"


def of_trackers(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, TrackerOpened | TrackerBehind | TrackerSent)]


def instead(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(trackers, "FOLLOW", (sys.executable, "-I", "-S", "-c", program))


def test_a_tracker_beside_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, TALKS)
    events = list[Event]()
    plan = make_plan([(8, 100)], trackers=[{"kind": "tensorboard", "dir": "logs"}])
    with open_tiny(tmp_path, plan) as sweep:
        assert sweep.run_jobs({"fit"}, on_event=events.append).exit_code == 0
    assert of_trackers(events) == [TrackerOpened("tensorboard", "over there")]
    assert any(isinstance(event, RunFinished) for event in events)
    assert json.loads((tmp_path / "asked.json").read_text()) == {"kind": "tensorboard", "dir": "logs"}


@pytest.mark.parametrize(
    ("program", "reason"),
    [(COMPLAINS, "ImportError: no"), (HANGS, "it did not catch up in time"), (BREAKS, "it ended; see ")],
)
def test_what_was_not_sent_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    instead(monkeypatch, program)
    monkeypatch.setattr(trackers, "PATIENCE_SECONDS", 0.4)
    events = list[Event]()
    execution = Execution(trackers=(TensorBoardTracker(kind="tensorboard"),))
    began = time.monotonic()
    with Trackers(ResultsFolder(tmp_path), execution) as started:
        started.watched(events.append)
        (process,) = [one.process for one in started.processes]
    (behind,) = of_trackers(events)
    assert isinstance(behind, TrackerBehind) and behind.reason.startswith(reason)
    assert str(behind).endswith(f"`scaling export {tmp_path} --to tensorboard` sends what is missing")
    assert process.returncode is not None and time.monotonic() - began < 5


def test_what_takes_long_at_the_end_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, TALKS + "time.sleep(0.3)")
    monkeypatch.setattr(trackers, "SILENT_SECONDS", 0.1)
    events = list[Event]()
    execution = Execution(trackers=(TensorBoardTracker(kind="tensorboard"),))
    with Trackers(ResultsFolder(tmp_path), execution) as started:
        started.watched(events.append)
    waiting, opened = events
    assert isinstance(waiting, TrackerWaiting) and round(waiting.seconds) == PATIENCE_SECONDS
    assert opened == TrackerOpened("tensorboard", "over there")
    with pytest.raises(KeyboardInterrupt), Trackers(ResultsFolder(tmp_path), execution) as started:
        raise KeyboardInterrupt
    (process,) = [one.process for one in started.processes]
    assert process.wait(5) == 0, "it ends by itself"


SLEEPS = """
import time
def wait(*a, **k): time.sleep(30)
Api = Settings = lambda *a, **k: None
class errors: UsageError = KeyError
init = wait
"""


@pytest.mark.slow
def test_a_library_that_takes_half_a_minute_for_each_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text(SLEEPS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(trackers, "PATIENCE_SECONDS", 3.0)
    began = time.monotonic()
    with open_tiny(tmp_path / "without", make_plan([(8, 100), (16, 100)])) as sweep:
        sweep.run_jobs({"fit"})
    without, began = time.monotonic() - began, time.monotonic()
    events = list[Event]()
    plan = make_plan([(8, 100), (16, 100)], trackers=[{"kind": "wandb"}])
    with open_tiny(tmp_path / "with", plan) as sweep:
        assert sweep.run_jobs({"fit"}, on_event=events.append).exit_code == 0
        took = time.monotonic() - began
    assert took < without + 2
    (behind,) = of_trackers(events)
    assert isinstance(behind, TrackerBehind) and "did not catch up" in behind.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "environment", "reason"),
    [
        ("wandb", {"WANDB_MODE": "online", "WANDB_API_KEY": "x" * 40}, "CommError: "),
        ("tensorboard", {}, "NotADirectoryError: "),
        ("trackio", {"TRACKIO_SPACE_ID": "nobody/nothing"}, "OfflineModeIsEnabled: "),
    ],
)
def test_libraries_that_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, environment: dict[str, str], reason: str
) -> None:
    for name in [name for name in os.environ if name.startswith(("WANDB", "TRACKIO", "HF_"))]:
        monkeypatch.delenv(name)
    down = {
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_INIT_TIMEOUT": "2",
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }
    for name, value in {**offline(tmp_path, **down), **environment}.items():
        monkeypatch.setenv(name, value)
    folder, events = tmp_path / "s", list[Event]()
    (tmp_path / "file").touch()
    asked = {"kind": kind} | ({"dir": str(tmp_path / "file" / "logs")} if kind == "tensorboard" else {})
    with open_tiny(folder, make_plan([(8, 100)], trackers=[asked])) as sweep:
        assert sweep.run_jobs({"fit"}, on_event=events.append).exit_code == 0
    (behind,) = of_trackers(events)
    assert isinstance(behind, TrackerBehind) and behind.reason.startswith(reason)
    assert "\n" not in behind.reason


@pytest.mark.slow
def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trackio.py").write_text("raise ModuleNotFoundError(\"No module named 'trackio'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    events = list[Event]()
    with open_tiny(tmp_path / "s", make_plan([(8, 100)], trackers=[{"kind": "trackio"}])) as sweep:
        sweep.run_jobs({"fit"}, on_event=events.append)
    (behind,) = of_trackers(events)
    assert isinstance(behind, TrackerBehind) and "pip install 'scaling-laws[trackio]'" in behind.reason


@pytest.mark.slow
def test_a_driver_that_is_killed_leaves_a_follower_that_finishes(tmp_path: Path) -> None:
    plan = make_plan([(8, 100), (16, 100)], trackers=[{"kind": "tensorboard"}])
    (tmp_path / "behaviour.json").write_text(json.dumps({"w16-s100": "hang"}))
    driver = start_driver(tmp_path, plan)
    wait_until(lambda: list(tmp_path.glob("runs/*/record.json")), 30)
    (follower,) = [p for p in psutil.Process(driver.pid).children() if "scaling.trackers" in p.cmdline()]
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    wait_until(lambda: not follower.is_running(), 30)
    cursor = json.loads((tmp_path / "trackers" / "state" / "tensorboard" / "cursor.json").read_text())
    assert sum(sent["ended"] for sent in cursor["runs"].values()) == 1
