"""The law before its largest budget: one fit behind the back-test and the forecast."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, backtest, fit
from analysis.fits.earlier import Earlier


@pytest.fixture(scope="module")
def runs(study):
    return study[study["role"] == "fit"]


def test_it_is_the_fit_of_the_runs_below(runs):
    whole, below = (fit("chinchilla", rows, bootstrap=0) for rows in (runs, runs[runs["flops"] < 8e11]))
    before = whole.earlier
    assert before.budget == pytest.approx(8e11) and before.far == pytest.approx(2)
    assert before.fit.objective.n == len(below.data["L"]) == before.early.sum()
    below = replace(below, identified=whole.identified, status=whole.status)
    asked = {"N": 1e5, "D": 1e7}
    ours, theirs = (one.predict(**asked).frame.iloc[0] for one in (before.fit, below))
    columns = ["loss", "low", "high", "forecast", "new_low", "new_high"]
    assert ours[columns].to_numpy(float) == pytest.approx(theirs[columns].to_numpy(float), rel=1e-4)


def test_a_delta_that_was_given_is_kept(runs):
    whole = fit("chinchilla", runs, bootstrap=0, delta=0.002)
    assert whole.setup.delta == 0.002 == whole.earlier.problem.loss.delta
    assert fit("chinchilla", runs, bootstrap=0).setup.delta is None


def test_back_test_and_forecast_share_it(runs, monkeypatch):
    whole, made = fit("chinchilla", runs, bootstrap=0), []
    monkeypatch.setattr(
        Earlier, "of", classmethod(lambda cls, *asked, of=Earlier.of: made.append(asked[0]) or of(*asked))
    )
    tested, own = backtest.of(whole, runs), whole.forecast().own
    assert [one is whole for one in made].count(True) == 1 and own.far == tested.extrapolation
    errors = np.log([run["predicted"] / run["loss"] for run in tested.runs])
    assert 0 < own.error <= np.sqrt(np.mean(errors**2))


def test_too_few_runs_say_so(runs):
    with pytest.raises(AnalysisError, match="one budget"):
        _ = fit("chinchilla", runs[runs["flops"] == 8e11], bootstrap=0).earlier
    assert backtest.of(fit("chinchilla", runs, bootstrap=0), runs, below=1e11).message


def test_a_group_of_the_largest_budget_alone_is_not_back_tested(runs):
    both = pd.concat([runs.assign(variant="a"), runs[runs["flops"] == 8e11].assign(variant="b")])
    both["run_id"] = [f"r{i}" for i in range(len(both))]
    whole = fit("chinchilla", both, groups="variant", bootstrap=0)
    assert "no run of variant b" in backtest.of(whole, both).message
    assert whole.usable and whole.forecast().own is None


@pytest.mark.parametrize("known", ["nothing", "the largest budget"])
def test_losses_that_show_nothing_are_not_back_tested(runs, known):
    noise = 1.3 * np.exp(np.random.default_rng(0).normal(0, 0.02, len(runs)))
    late = runs["flops"].to_numpy() > 7e11
    table = runs.assign(loss=np.where(late & (known == "the largest budget"), 1.0, noise))
    whole = fit("chinchilla", table, bootstrap=0)
    assert whole.usable == (known == "the largest budget")
    tested = backtest.of(whole, table)
    assert tested.message and not tested.usable and tested.rms is None
