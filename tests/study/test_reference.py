"""The committed reference study: still what its spec asks for, and still what its table says."""

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


def test_its_runs_are_those_of_the_spec(table):
    """Fails when the spec, a default or an id changes: then run the quickstart and commit its results."""
    _, plan = plan_spec(ROOT / "experiments" / "quickstart.yaml")
    assert list(table["run_id"]) == [run.run_id for run in plan.runs]
    for row, run in zip(table.to_dict(orient="records"), plan.runs, strict=True):
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


def test_its_forecast_is_genuine_and_within_five_per_cent(table):
    ((forecast, origin),) = ledger.standing(REFERENCE / "forecasts")
    assert origin == "frozen"
    score = ledger.load_score(REFERENCE / "forecasts", forecast)
    held_out = table[table["role"] == "holdout"].iloc[0]
    assert score is not None and math.isclose(score.loss, held_out["loss"]) and abs(score.error) <= 0.05
    fitted = table[table["role"] == "fit"]
    assert {row["row"] for row in forecast.training} == set(fitted["run_id"])
    assert held_out["flops"] == pytest.approx(3 * fitted["flops"].max(), rel=0.01)
    assert fitted["params_body"].max() > 50 * fitted["params_body"].min() and len(fitted) >= 24
