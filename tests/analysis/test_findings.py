"""What a table and the forecasts beside it say together."""

import functools

import numpy as np
import pandas as pd
import pytest

from analysis import figures, findings, fit, ledger


@pytest.fixture(autouse=True, scope="module")
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(findings.forecasts, "sensitivity", lambda *given: [])
        patch.setattr(findings, "fit", functools.partial(fit, bootstrap=0))
        yield


@pytest.fixture(scope="module")
def analysis(study):
    return findings.analyse(study)


@pytest.fixture
def target(study):
    return study[study["role"] == "holdout"].iloc[0].to_dict()


def less(study):
    """The study as it was one run earlier."""
    return study.drop(index=0)


def title(found):
    return figures.forecast_and_outcome(found.trials[0])[-1].get_title(loc="left")


def test_held_out_rows_change_nothing_but_what_was_left_out(study, analysis):
    before = findings.analyse(study[study["role"] != "holdout"])
    assert before.fit.to_json() != analysis.fit.to_json()
    assert before.on(study).fit.to_json() == analysis.fit.to_json()
    assert before.on(study) == analysis


def test_the_frozen_forecast_is_scored_and_not_that_of_hindsight(tmp_path, study, target, analysis):
    frozen = findings.freeze(findings.analyse(less(study)), [target], tmp_path)
    late = findings.freeze(analysis, [target], tmp_path, begun=[target["run_id"]])
    assert frozen != late
    findings.score(study, tmp_path)
    (trial,) = findings.examine(study, tmp_path, analysis).trials
    assert [trial.forecast] == frozen and trial.origin == "frozen"
    assert ledger.load_score(tmp_path, frozen[0]) == trial.score
    assert ledger.load_score(tmp_path, late[0]) is None


def test_hindsight_alone_says_so_and_is_not_scored(tmp_path, study, target, analysis):
    (late,) = findings.freeze(analysis, [target], tmp_path, begun=[target["run_id"]])
    findings.score(study, tmp_path)
    found = findings.examine(study, tmp_path, analysis)
    assert found.trials[0].origin == "hindsight" and ledger.load_score(tmp_path, late) is None
    assert "computed after the outcome was known" in found.text and "OUTCOME" not in found.text
    assert "frozen as" not in found.text and "interval failed" not in found.text
    assert title(found).startswith("Computed after the outcome was known")


def test_a_table_alone_has_a_forecast_computed_again_and_says_so(tmp_path, study, analysis):
    found = findings.examine(study, tmp_path / "forecasts", analysis)
    assert "recomputed from the table, not frozen" in found.text and "frozen as" not in found.text
    assert "OUTCOME" not in found.text and not (tmp_path / "forecasts").exists()
    assert title(found).startswith("Recomputed from the table, not frozen")


def test_held_out_rows_without_ids_stay_apart(tmp_path, study, target):
    same = target | {"seed": 1, "loss": target["loss"] + 0.01}
    longer = target | {"tokens": 2 * target["tokens"], "flops": 2 * target["flops"], "loss": 2.0}
    more = pd.DataFrame([same, longer])
    table = pd.concat([study, more], ignore_index=True).drop(columns=["run_id", "label"])
    found = findings.examine(table, tmp_path)
    assert len(found.trials) == 3 and len({trial.score.loss for trial in found.trials}) == 3
    # a frozen forecast is of one of them; the others are not lost for it
    nameless = [run | {"run_id": None, "label": None} for run in (longer, target)]
    findings.freeze(found.analysis, nameless, tmp_path)
    trials = findings.examine(table, tmp_path, found.analysis).trials
    assert [trial.origin for trial in trials] == ["frozen", "recomputed", "frozen"]
    assert trials[2].forecast.target["D"] == pytest.approx(longer["tokens"])


def test_a_diverged_held_out_run_has_an_outcome_without_a_score(tmp_path, study, target, analysis):
    (frozen,) = findings.freeze(analysis, [target], tmp_path)
    table = study.assign(status_reason=None)
    row = table["role"] == "holdout"
    table.loc[row, ["status", "loss", "status_reason"]] = ["diverged", np.nan, "loss not finite at step 7"]
    findings.score(table, tmp_path)
    found = findings.examine(table, tmp_path, analysis)
    assert found.trials[0].forecast == frozen and found.trials[0].score is None
    outcome = found.text[found.text.index("OUTCOME") :]
    assert "diverged: loss not finite at step 7" in outcome
    assert title(found).startswith("Forecast")


def test_a_forecast_without_a_row_waits(tmp_path, study, target, analysis):
    findings.freeze(analysis, [target], tmp_path)
    found = findings.examine(study[study["role"] != "holdout"], tmp_path)
    assert [(trial.origin, trial.score) for trial in found.trials] == [("frozen", None)]
    assert "FORECAST" in found.text and "OUTCOME" not in found.text


@pytest.mark.parametrize("what", ["all diverged", "none fitted"])
def test_a_table_without_usable_runs_is_an_answer(tmp_path, study, what):
    fitted = study["role"] == "fit"
    table = study[~fitted]
    if what == "all diverged":
        table = study.copy()
        table.loc[fitted, ["status", "loss"]] = ["diverged", np.nan]
    found = findings.examine(table, tmp_path / "forecasts")
    assert not found.fit.usable and not found.analysis.first.isoflop.minima
    assert not found.analysis.first.backtest.usable
    assert found.text.count("no usable runs") >= 3 and "^0." not in found.text
    assert "no forecast, as the law is not identified" in found.text
    paths = findings.write(found, tmp_path, tmp_path)
    assert [path.name for path in paths] == ["chinchilla.json", "summary.txt"]
