"""When the report of a study is made anew."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from analysis.reporting.words import Missing
from scaling import report
from scaling.store.failure import Failure
from scaling.store.folder import ResultsFolder
from scaling.study import StudyStopped
from tests.cli.call import call
from tests.sweep.plans import make_plan

SPEC = Path(__file__).with_name("miniature.yaml")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said before each page that was made; pages are one line."""

    def write(findings: Any, sources: Any, path: Path, **options: Any) -> Path:
        path.write_text("<html></html>\n")
        return path

    monkeypatch.setattr(report, "write", write)
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n1e6,2e7,3\n")
    return []


def test_the_same_study_has_one_report(tmp_path: Path, made: list[str]) -> None:
    def ask(text: str = "L = 3") -> Path:
        found: Any = SimpleNamespace(text=text)
        return report.study_report(found, tmp_path, made.append)

    page = ask()
    assert page == tmp_path / "report.html" and len(made) == 1
    ask()
    assert len(made) == 1, "nothing is new"
    (tmp_path / "study.yaml").write_text("study: s\n")
    ask()
    assert len(made) == 2, "another spec"
    ask("L = 4")
    assert len(made) == 3, "another fit to the same files"
    page.write_text(page.read_text()[:-5])
    ask("L = 4")
    assert len(made) == 4, "a page that is not whole"
    ask("L = 4")
    assert len(made) == 4 and page.read_text().startswith("<html></html>\n<!-- drawn from ")


def test_runs_that_failed_are_named_with_those_that_wait(tmp_path: Path) -> None:
    plan = make_plan([(8, 50), (8, 100)], holdout=[(8, 200)])
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    results, (done, failed, _) = ResultsFolder(tmp_path), (run["run_id"] for run in plan["runs"])
    asked = report.of_folder(results)
    assert asked.missing == (), "a study at work has runs without a record too"
    assert [run.label for run in asked.waiting] == ["w8-s200"] and asked.waiting[0].tokens > 0
    for run, file, content in (
        (done, "record.json", {}),
        (failed, "error.json", Failure(kind="killed", message="signal 9", step=40).to_json()),
    ):
        results.run_dir(run).mkdir(parents=True)
        (results.run_dir(run) / file).write_text(json.dumps(content))
    beside = report.of_folder(results)
    assert beside.planned == 3 and beside.missing == (
        Missing("w8-s100", "fit", "failed", "killed after step 40: signal 9"),
        Missing("w8-s200", "holdout", "pending", "waits for the others"),
    )


def test_a_study_some_of_whose_runs_failed_has_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: Any, **options: Any) -> None:
        done: Any = SimpleNamespace(findings="found", folder=tmp_path)
        raise StudyStopped("some runs failed", 1, done)

    def write(findings: Any, folder: Path, say: Any) -> Path:
        assert findings == "found"
        return folder / "report.html"

    monkeypatch.setattr("scaling.study.run_study", stop)
    monkeypatch.setattr(report, "study_report", write)
    done = call("run", SPEC, "--results", tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.splitlines()[-2:] == [
        "some runs failed",
        f"report of what is done: {tmp_path / 'report.html'}",
    ]
    assert "report" not in call("run", SPEC, "--results", tmp_path, "--no-report").stderr

    def fail(*given: Any) -> Path:
        raise OSError("no space left")

    monkeypatch.setattr(report, "study_report", fail)
    done = call("run", SPEC, "--results", tmp_path)
    assert done.returncode == 1 and "no report of what is done: no space left" in done.stderr
