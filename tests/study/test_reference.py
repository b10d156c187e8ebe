"""Committed reference studies are still what their specs ask for, and the quickstart what its table says."""

import json
import math
from pathlib import Path

import pytest

from analysis import findings, ledger
from analysis.tables.loading import load
from scaling.plan.expand import plan_spec

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "results" / "reference" / "quickstart"


@pytest.fixture(scope="module")
def table():
    return load(REFERENCE)


@pytest.mark.parametrize(
    ("spec", "results"),
    [
        ("quickstart.yaml", "quickstart"),
        ("learning-rate/sweep.yaml", "learning-rate"),
        ("merged.yaml", "merged"),
        ("lr-transfer/width.yaml", "lr-transfer/width"),
        ("lr-transfer/depth.yaml", "lr-transfer/depth"),
        ("muon/tuning.yaml", "muon/tuning"),
        ("muon/study.yaml", "muon"),
        ("architecture.yaml", "architecture"),
        ("experts.yaml", "experts"),
    ],
)
def test_runs_are_those_of_the_spec(spec, results):
    """Fails when the spec, a default or an id changes: then run the study again and commit its results."""
    _, plan = plan_spec(ROOT / "experiments" / spec)
    rows = load(REFERENCE.parent / results).to_dict(orient="records")
    assert [row["run_id"] for row in rows] == [run.run_id for run in plan.runs]
    for row, run in zip(rows, plan.runs, strict=True):
        assert (row["params"], row["flops"]) == (run.params, run.flops)


def test_its_fit_follows_from_its_table(table):
    kept = json.loads((REFERENCE / "fits" / "chinchilla.json").read_text())
    again = findings.analyse(table).fit
    assert again.solution == pytest.approx(kept["solution"], rel=1e-3)
    assert again.objective.value == pytest.approx(kept["objective"]["value"], rel=1e-6)
    assert {name: known["verdict"] for name, known in again.identified.items()} == {
        name: known["verdict"] for name, known in kept["identified"].items()
    }


def test_a_study_without_variants_says_what_it_said_before_there_were_any():
    before = REFERENCE.parent / "vocabulary" / "bytes"
    found = findings.examine(load(before), before / "forecasts")
    assert found.text + "\n" == (before / "summary.txt").read_text()


def test_its_forecasts_are_genuine_and_within_two_per_cent(table):
    standing = ledger.standing(REFERENCE / "forecasts")
    held_out = table[table["role"] == "holdout"].set_index("run_id")
    fitted = table[table["role"] == "fit"]
    assert {forecast.target["run_id"] for forecast, _ in standing} == set(held_out.index)
    for forecast, origin in standing:
        assert origin == "frozen"
        score = ledger.load_score(REFERENCE / "forecasts", forecast)
        row = held_out.loc[forecast.target["run_id"]]
        assert score is not None and math.isclose(score.loss, row["loss"]) and abs(score.error) <= 0.02
        assert {row["row"] for row in forecast.training} == set(fitted["run_id"])
        assert row["flops"] == pytest.approx(3 * fitted["flops"].max(), rel=0.01)
        assert row["width"] not in set(fitted["width"])
