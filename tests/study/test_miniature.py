"""The whole way in miniature, through the real command: train, fit, freeze, test, draw, and all again.

Only the first call is a process of its own, and those of the jobs."""

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest

from analysis.reporting.page import Beside
from scaling.cli.tables import fit_table
from scaling.report import of_folder
from scaling.store.folder import ResultsFolder
from tests.cli.call import call

SPEC = Path(__file__).with_name("miniature.yaml")


def scaling(*arguments):
    return good(call(*arguments))


def good(done):
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def study(tmp_path_factory, compiled_quickly):
    folder = tmp_path_factory.mktemp("results") / "miniature"
    command = [sys.executable, "-m", "scaling.cli", "run", SPEC, "--results", folder, "--no-report"]
    return folder, good(subprocess.run(command, capture_output=True, text=True))


def test_it_ends_with_a_scored_forecast(study):
    folder, done = study
    table = pd.read_csv(folder / "runs.csv")
    assert list(table["role"].value_counts().sort_index().items()) == [
        ("fit", 8),
        ("holdout", 1),
        ("noise", 1),
    ]
    assert (table["status"] == "ok").all() and table["loss"].between(1.5, 4).all()
    (score,) = (folder / "forecasts").glob("*.score.json")
    held_out = table[table["role"] == "holdout"].iloc[0]
    assert json.loads(score.read_text())["loss"] == held_out["loss"]
    assert "OUTCOME" in done.stdout and "next: scaling " in done.stdout
    for word in ("runs.csv", "chinchilla.json", "forecast_and_outcome.png"):
        assert word in done.stdout


def test_checkpoints_take_no_more_disk_than_planned(study):
    folder, _ = study
    planned = json.loads(scaling("plan", SPEC, "--json", "--no-probe").stdout)["space"]
    used = sum(path.stat().st_size for path in folder.glob("jobs/*/checkpoints/**/*") if path.is_file())
    assert 0.2 * planned["kept_bytes"] < used <= planned["kept_bytes"]


def test_the_forecast_was_frozen_before_the_held_out_run_began(study):
    folder, done = study
    events = done.stderr
    assert events.index("frozen") < events.index("(holdout)") < events.index("w16-6e9-s0 loss")
    (status,) = (folder / "forecasts").glob("*.status.json")
    held_out = pd.read_csv(folder / "runs.csv").query("role == 'holdout'")["run_id"].iloc[0]
    record = json.loads((folder / "runs" / held_out / "record.json").read_text())
    frozen_at = json.loads(status.read_text())
    assert frozen_at["state"] == "open"
    assert frozen_at["at"][:19] <= record["execution"]["started"][:19]


@pytest.mark.slow
def test_relaunched_it_trains_nothing_and_says_the_same(study):
    folder, first = study
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/record.json")}
    again = scaling("run", SPEC, "--results", folder, "--no-report")
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/record.json")} == before
    assert again.stdout == first.stdout
    assert len(list((folder / "forecasts").glob("*.score.json"))) == 1


@pytest.mark.slow
def test_cleaned_it_says_and_draws_the_same(study, tmp_path):
    folder, first = study
    copy = tmp_path / "miniature"
    shutil.copytree(folder, copy)
    kept = {
        path.relative_to(copy): path.read_bytes()
        for path in copy.rglob("*.json*")
        if "jobs" not in path.parts
    }
    scaling("clean", copy, "--all", "--yes")
    assert not list(copy.glob("jobs/*/checkpoints/*"))
    assert (
        scaling("run", SPEC, "--results", copy, "--no-report").stdout.replace(str(copy), str(folder))
        == first.stdout
    )
    for name, content in kept.items():
        assert (copy / name).read_bytes() == content, name
    for name in ("runs.csv", "curves.parquet", "summary.txt"):
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
    assert scaling("plot", copy).returncode == 0
    longer = ["--set", "design.budgets=[5e8, 1e9, 2e9, 3e9]"]
    assert "w24-3e9-s0" in scaling("run", SPEC, "--results", copy, *longer).stderr


@pytest.mark.slow
def test_it_ends_with_the_path_of_its_report(study, tmp_path):
    copy = tmp_path / "miniature"
    shutil.copytree(study[0], copy)
    page = copy / "report.html"
    assert scaling("run", copy).stdout.splitlines()[-3] == f"report: {page}"
    written = page.stat().st_mtime_ns
    assert f"report: {page}" in scaling("run", copy).stdout and page.stat().st_mtime_ns == written
    text = page.read_text("utf-8")
    assert "10 runs (8 fit, 1 noise, 1 holdout)" in text and "What a referee would say" in text


def test_its_report_has_spec_plan_and_versions(study, tmp_path):
    folder, _ = study
    beside = of_folder(ResultsFolder(folder))
    spec, plan = beside.documents
    assert spec.text == (folder / "study.yaml").read_text("utf-8")
    assert plan.text.startswith("10 runs (8 fit, 1 noise, 1 holdout) in 5 jobs")
    assert "left out: w24-5e8-s0: 47 steps, fewer than min_steps = 60" in plan.text
    facts = dict(beside.facts)
    assert facts["jobs"] == "5" and facts["jax"] == metadata.version("jax") and "cpu" in facts["device"]
    (tmp_path / "plan.json").write_text("{}")
    assert of_folder(ResultsFolder(tmp_path)) == Beside()


def test_shared_work_is_counted(study):
    table = pd.read_csv(study[0] / "runs.csv").query("role == 'fit'")
    shared = table.groupby("trunk_id").agg(
        n=("flops", "size"), flops=("flops", "sum"), spent=("flops_spent", "sum")
    )
    assert (shared["spent"] < shared["flops"]).all()
    assert (table["flops"] <= 2.1e9).all()


@pytest.mark.slow
def test_the_table_alone_makes_everything_again(study, tmp_path):
    folder, _ = study
    table = tmp_path / "runs.csv"
    table.write_bytes((folder / "runs.csv").read_bytes())
    assert fit_table([table]).to_json() == (folder / "fits" / "chinchilla.json").read_text()
    drawn = [Path(x) for x in scaling("plot", table).stdout.splitlines() if x.endswith(".png")]
    assert {path.stem for path in drawn} == {
        "overview",
        "loss_against_compute",
        "fit_and_residuals",
        "forecast_and_outcome",
    }
    assert all(path.stat().st_size > 10_000 for path in drawn)
    same = folder / "figures" / "loss_against_compute.png"
    assert (tmp_path / "figures" / "loss_against_compute.png").read_bytes() == same.read_bytes()


def test_status_logs_and_collect(study):
    folder, _ = study
    states = json.loads(scaling("status", folder, "--json").stdout)
    assert states["counts"]["done"] == 10 and len(states["rows"]) == 10
    assert "10 done" in scaling("status", folder).stdout
    assert "loss" in scaling("logs", folder, "w16-6e9-s0").stdout
    before = (folder / "runs.csv").read_bytes()
    assert "10 runs (0 diverged)" in scaling("collect", folder).stdout
    assert (folder / "runs.csv").read_bytes() == before
