"""``scaling export --to``: what is asked of a tracker, and what is said of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scaling.sweep import trackers
from tests.cli.call import call
from tests.trackers.studies import Study

TELLS = """
import json, sys
from pathlib import Path
Path(sys.argv[1], "asked.json").write_text(json.dumps(sys.argv[2:]))
print('{"where": "over there"}\\n{"ended": 1, "of": 2, "last": false}')
print('{"problem": "CommError: no"}' if "--again" in sys.argv else '{"ended": 2, "of": 2, "last": true}')
sys.exit("--again" in sys.argv)
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(trackers, "FOLLOW", (sys.executable, "-I", "-S", "-c", TELLS))
    monkeypatch.setattr(trackers, "POLL_SECONDS", 0.01)
    return Study(tmp_path, 100, trackers=[{"kind": "wandb", "project": "p", "entity": "e"}])


def test_a_study_is_sent_as_its_spec_says_or_as_was_typed(study: Study) -> None:
    folder = study.results.path
    done = call("export", folder, "--to", "wandb", "--project", "q", "--mode", "offline")
    assert done.returncode == 0 and done.stdout == "wandb: 2 of 2 runs sent with their results\n"
    assert "wandb: curves go to over there" in done.stderr and "1 of 2 runs" in done.stderr
    asked, *options = json.loads((folder / "asked.json").read_text())
    assert json.loads(asked) == {"kind": "wandb", "project": "q", "entity": "e", "mode": "offline"}
    assert options == ["--once"]
    done = call("export", folder, "--to", "tensorboard", "--again", "--json")
    assert done.returncode == 1 and not done.stderr
    problem = {
        "tracker": "tensorboard",
        "where": "over there",
        "ended": 1,
        "of": 2,
        "problem": "CommError: no",
    }
    assert json.loads(done.stdout) == problem


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing to export is named; give a run and --weights FILE, or --to wandb"),
        (["w8-s100"], "nothing to export is named"),
        (["--to", "mlflow"], "--to mlflow: no such tracker; use one of wandb, tensorboard, trackio"),
        (["--to", "tensorboard", "--project", "p"], "--project: unknown name"),
        (["--to", "wandb", "--mode", "on"], "--mode: must be auto, online or offline"),
        (["w8-s100", "--to", "wandb"], "--to sends all runs of the study"),
        (["w8-s100", "--weights", "f", "--project", "p"], "--project is about a tracker; name it"),
    ],
)
def test_what_does_not_go_together(study: Study, arguments: list[str], problem: str) -> None:
    done = call("export", study.results.path, *arguments)
    assert done.returncode == 2 and problem in done.stderr
