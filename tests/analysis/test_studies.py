"""IsoFLOP, back-test, forecast, score, figures and text on one simulated study."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, backtest, fit, forecasts, isoflop, summaries
from analysis.forecasting.forecasts import Trial


@pytest.fixture(scope="module")
def parts(study):
    fitted = fit("chinchilla", study, bootstrap=60)
    minima = isoflop.minima(study)
    tested = backtest.run("chinchilla", study, bootstrap=60)
    target = study[study["role"] == "holdout"].iloc[0].to_dict()
    return fitted, minima, tested, target


@pytest.fixture(scope="module")
def forecast(study, parts):
    fitted, minima, tested, target = parts
    return forecasts.freeze(fitted, target, backtest=tested, isoflop=minima, offsets=[0.8, 0.9, 1.0])


def test_minima_of_exact_parabolas():
    rows = []
    for c in (1e18, 1e19, 1e20):
        for step in (-1.0, -0.4, 0.0, 0.5, 1.1):
            n = 0.1 * c**0.45 * np.exp(step)
            rows.append(
                {
                    "params": n,
                    "tokens": c / (6 * n),
                    "flops": c,
                    "loss": 50 * c**-0.05 * np.exp(0.04 * step**2),
                }
            )
    found = isoflop.minima(pd.DataFrame(rows))
    assert [m.interior for m in found.minima] == [True] * 3
    assert found.size.slope == pytest.approx(0.45) and found.tokens.slope == pytest.approx(0.55)
    assert found.baseline(1e21) == pytest.approx(50 * 1e21**-0.05)
    assert found.minima[0].se_log_N == pytest.approx(0, abs=1e-6)


def test_a_minimum_at_the_edge_is_no_minimum(study):
    large = study[study["params"] > 5e4]
    found = isoflop.minima(large)
    assert not any(m.interior for m in found.minima) and found.size is None and found.baseline(1e12) is None
    assert found.minima[0].reason == "minimum at the smallest size" and found.minima[0].N is None


def test_a_best_run_at_the_end_makes_no_interior_minimum():
    n = np.array([1e3, 2e3, 4e3, 8e3, 16e3])
    frame = pd.DataFrame({"params": n, "tokens": 1e9 / n, "flops": 1e9, "loss": [2.6, 2.5, 2.45, 2.44, 2.43]})
    found = isoflop.minima(frame).minima[0]
    assert -found.coefficients[1] / (2 * found.coefficients[2]) + found.centre < np.log(n[-1])
    assert not found.interior and found.reason == "minimum at the largest size"


def test_budgets_are_found_without_a_column(study):
    jitter = np.random.default_rng(0).uniform(0.9, 1.1, len(study))
    found = isoflop.minima(study.assign(flops=study["flops"] * jitter))
    assert len(found.minima) == 4 and [m.n for m in found.minima] == [7] * 4


def test_frontier_is_the_lower_envelope():
    frame = pd.DataFrame({"params": 1.0, "tokens": 1.0, "flops": [1, 2, 3, 4, 4], "loss": [5, 6, 4, 3, 2]})
    assert isoflop.frontier(frame)["L"].tolist() == [5, 4, 2]


def test_backtest_predicts_the_largest_budget_only_from_below(study):
    found = backtest.run("chinchilla", study, bootstrap=0)
    assert found.budget == 8e11 and found.n_train == 21 and len(found.runs) == 7
    assert found.extrapolation == pytest.approx(2)
    spoiled = study.copy()
    last = (spoiled["role"] == "fit") & (spoiled["flops"] == 8e11)
    spoiled.loc[last, "loss"] *= 0.9
    shifted = backtest.run("chinchilla", spoiled, bootstrap=0)
    assert [r["predicted"] for r in shifted.runs] == [r["predicted"] for r in found.runs]
    assert shifted.bias == pytest.approx((1 + found.bias) / 0.9 - 1) and shifted.inside < found.inside
    assert backtest.run("chinchilla", study, below=4e11, bootstrap=0).n_train == 14
    ahead = [run["forecast"] / run["loss"] - 1 for run in found.runs]
    assert found.forecast_bias == pytest.approx(np.mean(ahead)) and found.forecast_bias != found.bias
    assert all(np.sqrt(run["low"] * run["high"]) == pytest.approx(run["forecast"]) for run in found.runs)


def test_backtest_without_enough_budgets_says_so(study, found):
    none = backtest.run("chinchilla", study[study["flops"] == 1e11])
    assert not none.usable and none.bias is None and "one budget" in none.message
    assert "not possible" in summaries.study_summary(found, backtest=none)


def test_forecast_interval_holds_law_run_and_discrepancy(study, parts, forecast):
    fitted, minima, tested, target = parts
    bare = forecasts.freeze(fitted, target, offsets=[])
    assert bare.baseline is None and bare.backtest is None and bare.parts == forecast.parts
    said = fitted.predict({k: [v] for k, v in target.items()}).frame.iloc[0]
    assert {*bare.parts} == {"law", "run", "discrepancy"} and bare.parts["discrepancy"] > 0
    assert bare.se_log == pytest.approx(np.sqrt(sum(part**2 for part in bare.parts.values())))
    assert (bare.prediction, bare.law_loss) == pytest.approx((said["forecast"], said["loss"]))
    assert bare.interval["high"] == pytest.approx(said["new_high"])
    assert bare.parts["run"] >= fitted.noise.seeds.sd_log * 0.999
    assert forecast.backtest["bias"] == pytest.approx(tested.bias)
    assert forecast.baseline == pytest.approx(minima.baseline(2.4e12))
    assert [row["E"] for row in forecast.sensitivity] == [0.8, 0.9, 1.0]
    assert forecast.extrapolation == pytest.approx(3)


def test_the_same_table_in_another_order_is_the_same_forecast(study, parts, forecast):
    target = parts[3]
    shuffled = study.sample(frac=1, random_state=1)
    again = forecasts.freeze(
        fit("chinchilla", shuffled, bootstrap=60), target,
        backtest=backtest.run("chinchilla", shuffled, bootstrap=60), isoflop=isoflop.minima(shuffled),
        offsets=[0.8, 0.9, 1.0],
    )  # fmt: skip
    assert again.hash == forecast.hash


def test_a_target_inside_the_fitted_set_is_refused(study, parts):
    fitted, _, _, target = parts
    with pytest.raises(AnalysisError, match="in the fitted set"):
        forecasts.freeze(fitted, target | {"run_id": "000000000003"})


def test_score_signs(forecast):
    loss = forecast.prediction / 1.01
    result = forecasts.score(forecast, loss)
    assert result.error == pytest.approx(0.01) and result.standard_errors == pytest.approx(
        np.log(1.01) / forecast.se_log
    )
    assert result.baseline_error == pytest.approx(forecast.baseline / loss - 1)
    assert result.inside and not forecasts.score(forecast, 1.2 * forecast.interval["high"]).inside
    with pytest.raises(AnalysisError, match="no score"):
        forecasts.score(forecast, float("nan"))


def test_summary_tells_the_whole_story(parts, forecast):
    fitted, minima, tested, _ = parts
    text = summaries.study_summary(
        fitted, minima, tested, [Trial(forecast, "frozen", forecasts.score(forecast, 1.9))]
    )
    for words in (
        "descriptive",
        "N* ~ C^",
        "BACK-TEST",
        "3x beyond",
        "sensitivity to E",
        "OUTSIDE",
        "naive baseline",
    ):
        assert words in text
    assert forecast.hash in text and "clusters by trunk" in text
    assert not re.search(r"\bnan\b|None", text)


def test_seeds_of_one_cell_are_forecast_once_and_each_has_its_outcome(parts, forecast):
    named = [replace(forecast, target=forecast.target | {"label": f"big-s{seed}"}) for seed in (0, 1)]
    trials = [
        Trial(one, "frozen", forecasts.score(one, loss)) for one, loss in zip(named, (2.2, 1.9), strict=True)
    ]
    text = summaries.study_summary(parts[0], trials=[*trials, Trial(named[0], "recomputed")])
    assert text.count("FORECAST") == 2 and text.count("OUTCOME") == 1
    assert "  big-s0, big-s1: N = " in text and f"(frozen as {named[0].hash}, {named[1].hash})" in text
    assert "  big-s0: measured 2.2000" in text and "  big-s1: measured 1.9000" in text


def test_budgets_without_sizes_take_one_line(study, parts):
    small = study["params"] <= sorted(set(study["params"]))[1]
    text = summaries.study_summary(parts[0], isoflop.minima(study[small]))
    assert text.endswith("ISOFLOP\n  4 budgets of 4 have fewer than the 3 sizes that a parabola needs")
    both = isoflop.minima(study[small | (study["flops"] == 8e11)])
    text = summaries.study_summary(parts[0], both)
    assert "3 budgets of 4 have fewer than the 3 sizes" in text and text.count("  C = ") == 1


def test_figures_are_drawn_and_change_no_settings(tmp_path, study, parts, forecast):
    import matplotlib as mpl

    from analysis.figures import draw_all

    fitted, minima, tested, _ = parts
    tokens = np.geomspace(1e4, 1e6, 50)
    curves = pd.concat(
        pd.DataFrame(
            {"run_id": run, "tokens": tokens, "train/loss": 2 + 100 * tokens**-0.4, "eval/loss": np.nan}
        )
        for run in study["run_id"]
    )
    before = dict(mpl.rcParams)
    trial = Trial(forecast, "frozen", forecasts.score(forecast, 2.2))
    drawn = draw_all(study, curves, fitted, minima, trial, tmp_path, backtest=tested)
    assert set(drawn.skipped) == {"collapse"}  # curves of other tokens per parameter
    assert {p.stem for p in drawn.paths} == {
        "overview", "loss_against_compute", "isoflop", "fit_and_residuals", "training_curves",
        "forecast_and_outcome",
    }  # fmt: skip
    assert all(p.stat().st_size > 20_000 for p in drawn.paths)
    assert dict(mpl.rcParams) == before


def test_the_overview_shows_law_forecast_and_outcome(parts, forecast, study):
    from analysis.figures import overview

    fitted, minima, _, _ = parts
    axes = overview(study, fitted, minima, Trial(forecast, "frozen", forecasts.score(forecast, 2.2)))
    handles, labels = axes.get_legend_handles_labels()
    drawn = dict(zip(labels, handles, strict=True))
    beyond = drawn["beyond the fitted runs"].get_xdata()
    assert beyond[-1] > max(fitted.data["C"]) and beyond[0] >= 0.9 * max(fitted.data["C"])
    best = fitted.optimal(beyond)
    assert drawn["beyond the fitted runs"].get_ydata() == pytest.approx(best["loss"])
    low, high = overview(study, fitted, minima).get_ylim()
    assert low < best["new_low"].iloc[-1] < best["new_high"].iloc[-1] < high
    (star,) = (handle for label, handle in drawn.items() if label.startswith("measured"))
    assert star.get_offsets().tolist() == [[forecast.target["C"], 2.2]]
    (bar,) = (handle for label, handle in drawn.items() if label.startswith("forecast for $N$ = "))
    (ends,) = (segment[:, 1] for segment in bar[2][0].get_segments())
    assert ends == pytest.approx([forecast.interval["low"], forecast.interval["high"]])
    (inset,) = axes.child_axes
    assert len(inset.containers) == 1 and len(inset.containers[0][0].get_xdata()) == len(
        [m for m in minima.minima if m.N is not None]
    )


def test_figures_of_a_table_that_determines_nothing(tmp_path, study):
    from analysis.figures import draw_all

    one = study[study["width"] == 24]
    drawn = draw_all(one, None, fit("chinchilla", one), isoflop.minima(one), None, tmp_path)
    assert {p.stem for p in drawn.paths} == {"loss_against_compute"}
    rest = {"overview", "isoflop", "fit_and_residuals", "training_curves", "collapse", "forecast_and_outcome"}
    assert set(drawn.skipped) == rest
    assert "distinct" in drawn.skipped["fit_and_residuals"]
