"""Forecasts of many folders: each counted once, in groups that share runs; damaged files left out."""

import dataclasses
import shutil

import pytest

from analysis import AnalysisError, forecasts, ledger
from analysis.forecasting.calibration import outcomes_of
from analysis.forecasting.survey import survey


@pytest.fixture(scope="module")
def forecast(study, found):
    target = study[study["role"] == "holdout"].iloc[0].to_dict()
    return forecasts.freeze(found, target, offsets=[])


def freeze(folder, forecast, loss=None, **changed):
    changed = dataclasses.replace(forecast, **changed)
    ledger.save(changed, folder / "forecasts")
    if loss is not None:
        ledger.save_score(forecasts.score(changed, loss), folder / "forecasts")
    return changed


def test_copies_count_once_and_the_scored_one_counts(tmp_path, forecast):
    freeze(tmp_path / "a", forecast)
    freeze(tmp_path / "b" / "deep", forecast, 2.2)
    freeze(tmp_path / "b" / "runs" / "no", forecast, 2.3)  # no study lies in the runs of one
    found = survey([tmp_path, tmp_path / "b"])
    assert [entry.state for entry in found.entries] == ["scored"] and found.copies == 1
    assert found.entries[0].study == tmp_path / "b" / "deep" and found.entries[0].score.loss == 2.2


def test_superseded_and_hindsight_are_told_and_not_scored(tmp_path, forecast):
    freeze(tmp_path, forecast)
    freeze(tmp_path, forecast, 2.2, objective=forecast.objective | {"kind": "log-ls"})
    late = dataclasses.replace(forecast, objective=forecast.objective | {"kind": "raw-ls"})
    ledger.save(late, tmp_path / "forecasts", outcome_known=True)
    found = survey([tmp_path / "forecasts"])
    assert sorted(entry.state for entry in found.entries) == ["hindsight", "scored", "superseded"]
    assert len(found.scored) == len(outcomes_of(found.entries)) == 1


def test_what_shares_a_fitted_run_or_a_target_is_one_group(tmp_path, forecast):
    def alone(number):
        rows = tuple(row | {"row": f"{number}-{row['row']}"} for row in forecast.training)
        return {"training": rows, "target": forecast.target | {"run_id": f"t{number}"}}

    first, second, third, fourth = map(alone, range(4))
    second["training"] = (*second["training"], first["training"][0])
    fourth["target"] = second["target"]
    for number, changed in enumerate((first, second, third, fourth)):
        freeze(tmp_path / f"s{number}", forecast, 2.2, **changed)
    a, b, c, d = (one.group for one in outcomes_of(survey([tmp_path]).entries))
    assert a == b == d != c


def test_an_outcome_says_how_the_forecast_fared(tmp_path, forecast):
    low = forecast.interval["low"]
    freeze(tmp_path / "s", forecast, low)
    (one,) = outcomes_of(survey([tmp_path]).entries)
    assert one.rank == pytest.approx(0.05) and one.reached == pytest.approx(0.9)
    assert one.error > 0 and one.z == pytest.approx(1.645, abs=1e-3) and one.parts == forecast.parts


def test_damaged_files_are_left_out_by_name_and_a_place_that_is_not_there_is_refused(tmp_path, forecast):
    kept = freeze(tmp_path / "good", forecast)
    freeze(tmp_path / "bad", forecast)
    (tmp_path / "bad" / "forecasts" / f"{kept.hash}.json").write_text("{}")
    (tmp_path / "published_forecasts.csv").write_text("name\n")
    found = survey([tmp_path])
    assert len(found.entries) == 1 and len(found.unreadable) == 2
    assert "was changed after" in str(found.unreadable[1]) and "published" in str(found.unreadable[0])
    with pytest.raises(AnalysisError, match="column 'source' is missing"):
        survey([tmp_path / "published_forecasts.csv"])
    shutil.rmtree(tmp_path / "good")
    with pytest.raises(AnalysisError, match="good: is not there"):
        survey([tmp_path / "good", tmp_path])
