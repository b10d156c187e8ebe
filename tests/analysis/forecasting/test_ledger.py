"""Frozen forecasts: bytes, states, scores, and which one counts. The forecasts are made by hand."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, fit, forecasts, ledger


@pytest.fixture(scope="module")
def forecast(study, found):
    target = study[study["role"] == "holdout"].iloc[0].to_dict()
    return forecasts.freeze(found, target, offsets=[])


def other(forecast, factor):
    """A forecast of the same target from a changed loss."""
    first, *rest = forecast.training
    training = (first | {"loss": first["loss"] * factor}, *rest)
    return dataclasses.replace(forecast, training=training, prediction=forecast.prediction * factor)


def state(forecast, folder):
    return ledger.status(forecast, folder)["state"]


def test_frozen_bytes_are_hashed_and_never_change(tmp_path, forecast):
    assert ledger.save(forecast, tmp_path) == forecast
    path = ledger.path(forecast, tmp_path)
    before = path.read_bytes()
    assert path.name == f"{forecast.hash}.json" and ledger.load(path) == forecast
    assert ledger.save(forecast, tmp_path) == forecast and path.read_bytes() == before
    assert len(forecast.training) == 28 and forecast.training[0]["row"] == "000000000000"
    path.write_text(path.read_text().replace('"role"', '"rule"').replace("1", "2", 1))
    with pytest.raises(AnalysisError, match="changed after it was frozen"):
        ledger.load(path)
    with pytest.raises(AnalysisError, match="changed after it was frozen"):
        ledger.save(forecast, tmp_path)


@pytest.mark.parametrize("kind", ["status", "score", "forecast"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", b'{"state": "fine"}'])
def test_a_damaged_file_is_refused_by_name(tmp_path, forecast, kind, content):
    ledger.save(forecast, tmp_path)
    ledger.save_score(forecasts.score(forecast, 2.2), tmp_path)
    name = f"{forecast.hash}.json" if kind == "forecast" else f"{forecast.hash}.{kind}.json"
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AnalysisError, match=name):
        ledger.standing(tmp_path)
        ledger.load_score(tmp_path, forecast)


def test_a_changed_input_supersedes_unscored_forecasts_only(tmp_path, forecast):
    first, second = other(forecast, 1.01), other(forecast, 1.02)
    for new in (forecast, first):
        ledger.save(new, tmp_path)
    assert state(forecast, tmp_path) == "superseded" and state(first, tmp_path) == "open"
    assert ledger.status(forecast, tmp_path)["by"] == first.hash
    ledger.save_score(forecasts.score(first, 2.2), tmp_path)
    ledger.save(second, tmp_path)
    assert state(first, tmp_path) == "open" and state(second, tmp_path) == "hindsight"
    assert {f.hash for f in ledger.read(tmp_path)} == {forecast.hash, first.hash, second.hash}


def test_going_back_to_old_inputs_opens_the_old_forecast_again(tmp_path, forecast):
    changed = other(forecast, 1.01)
    for new in (forecast, changed, forecast):
        ledger.save(new, tmp_path)
    assert state(forecast, tmp_path) == "open" and state(changed, tmp_path) == "superseded"


def test_once_the_outcome_is_known_nothing_is_superseded(tmp_path, forecast):
    late = other(forecast, 1.01)
    ledger.save(forecast, tmp_path)
    ledger.save(late, tmp_path, outcome_known=True)
    assert state(forecast, tmp_path) == "open" and state(late, tmp_path) == "hindsight"
    assert ledger.standing(tmp_path) == [(forecast, "frozen")]


@pytest.mark.parametrize("greater", [True, False])
def test_the_genuine_forecast_counts_whatever_the_hashes(tmp_path, forecast, greater):
    late = next(
        f for k in range(1, 9999) if ((f := other(forecast, 1 + k / 1e3)).hash > forecast.hash) == greater
    )
    ledger.save(forecast, tmp_path)
    ledger.save(late, tmp_path, outcome_known=True)
    assert ledger.standing(tmp_path) == [(forecast, "frozen")]


def test_a_hindsight_forecast_is_never_scored(tmp_path, forecast):
    ledger.save(forecast, tmp_path, outcome_known=True)
    assert ledger.standing(tmp_path) == [(forecast, "hindsight")]
    with pytest.raises(AnalysisError, match="after the outcome was known"):
        ledger.save_score(forecasts.score(forecast, 2.2), tmp_path)


def test_another_machines_rounding_makes_no_second_forecast(tmp_path, forecast):
    near = dataclasses.replace(
        forecast,
        prediction=forecast.prediction * (1 + 1e-9),
        params={name: value * (1 + 1e-9) for name, value in forecast.params.items()},
        objective=forecast.objective | {"delta": forecast.objective["delta"] * (1 + 1e-9)},
    )
    assert near.hash != forecast.hash
    ledger.save(forecast, tmp_path)
    assert ledger.save(near, tmp_path) == forecast
    assert ledger.save(near, tmp_path, outcome_known=True) == forecast
    assert ledger.read(tmp_path) == [forecast] and state(forecast, tmp_path) == "open"


@pytest.mark.parametrize(
    "change",
    [
        {"convention": "body"},
        {"objective": {"delta": 1e-3}},
        {"objective": {"fixed": {"E": 1.0}}},
        {"interval": {"level": 0.5}},
        {"target": {"D": 1e9}},
        {"law": {"name": "mine"}},
    ],
)
def test_every_input_tells_forecasts_apart(forecast, change):
    ((name, value),) = change.items()
    old = getattr(forecast, name)
    new = dataclasses.replace(forecast, **{name: old | value if isinstance(value, dict) else value})
    assert not new.same_inputs(forecast) and not forecast.same_inputs(new)
    assert not other(forecast, 1 + 1e-6).same_inputs(forecast)


def test_a_lost_status_file_reads_as_open(tmp_path, forecast):
    ledger.save(forecast, tmp_path)
    (tmp_path / f"{forecast.hash}.status.json").unlink()
    assert state(forecast, tmp_path) == "open" and ledger.standing(tmp_path) == [(forecast, "frozen")]
    late = other(forecast, 1.01)
    ledger.save(late, tmp_path)
    assert state(forecast, tmp_path) == "superseded" and ledger.standing(tmp_path) == [(late, "frozen")]


def test_a_score_is_written_once(tmp_path, forecast):
    ledger.save(forecast, tmp_path)
    result = forecasts.score(forecast, 2.2)
    path = ledger.save_score(result, tmp_path)
    assert json.loads(path.read_text())["loss"] == 2.2 and ledger.load_score(tmp_path, forecast) == result
    before = path.read_bytes()
    ledger.save_score(dataclasses.replace(result, standard_errors=result.standard_errors + 1e-15), tmp_path)
    assert path.read_bytes() == before
    with pytest.raises(AnalysisError, match="never overwritten"):
        ledger.save_score(forecasts.score(forecast, 2.0), tmp_path)


def test_errors_that_are_not_of_log_loss_are_refused(study, found):
    target = study[study["role"] == "holdout"].iloc[0].to_dict()
    other_space = fit("chinchilla", study, objective="log1p-ls", bootstrap=0)
    with pytest.raises(AnalysisError, match=r"'log1p-ls': its residuals are not of log loss.*'huber'"):
        forecasts.freeze(other_space, target, offsets=[])
    below = tuple((-1e4, -1e4, -1e4, *u[3:]) for u in found.replicates)  # all coefficients 0: no logarithm
    with pytest.raises(AnalysisError, match="at or below 0"):
        forecasts.freeze(dataclasses.replace(found, replicates=below), target, offsets=[])


@pytest.mark.parametrize(
    ("law", "columns", "lacks"),
    [
        ("power-params", ["params"], "lacks tokens (D), flops (C)"),
        ("power", ["flops"], "lacks params (N), tokens (D)"),
        ("power", ["flops", "params", "tokens"], "lacks params (N), in every row or in some"),
    ],
    ids=["N alone", "C alone", "an empty cell"],
)
def test_a_forecast_needs_what_it_keeps_of_the_fitted_runs(study, law, columns, lacks):
    table = study[["run_id", "label", "role", "loss", *columns]].copy()
    if "tokens" in columns:
        table.loc[2, "params"] = np.nan
    found, target = fit(law, table, bootstrap=0), {"N": 1e5, "D": 1e7, "C": 1e13}
    with pytest.raises(AnalysisError, match=f"'{law}': .*{re.escape(lacks)}.*Add them and fit again"):
        forecasts.freeze(found, target, offsets=[])


@pytest.mark.parametrize("target", [None, {"N": [1e5, 1e6], "D": 1e7, "C": 1e13}, {"N": "x", "D": 1, "C": 1}])
def test_a_target_is_one_run(study, target):
    found = fit("power", study, bootstrap=0)
    with pytest.raises(AnalysisError, match=r"target.*(give one planned run|must be one number each)"):
        forecasts.freeze(found, target, offsets=[])


def test_sensitivity_solves_the_problem_that_was_fitted(study):
    """With its target, weights, groups and bounds: holding the offset where it was found changes nothing."""
    whole = study.assign(c4=1.3 * study["loss"], w=1 + (study["width"] > 40), loss=1.0, set="a")
    both = [whole, whole.assign(set="b", c4=whole["c4"] + 0.5, run_id="b" + whole["run_id"])]
    table = pd.concat(both, ignore_index=True)
    found = fit("chinchilla", table, target="c4", weights="w", groups="set", own=("E",), bootstrap=0,
                bounds={"alpha": (0.05, 0.26)})  # fmt: skip
    target = {"N": 1e5, "D": 1e7, "C": 1e13, "set": "b"}
    (row,) = forecasts.sensitivity(found, target, [found.solution["E[b]"]])
    assert row["prediction"] == pytest.approx(found.predict({k: [v] for k, v in target.items()})["loss"][0])
    assert row["objective"] == pytest.approx(found.objective.value, rel=1e-6)
    assert len(forecasts.sensitivity(found, target)) == 5
