"""Fits of curve laws, schedules out of logged curves, and the schedule that a law thinks best."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import CURVE_LAWS, AnalysisError, BestSchedule, best_schedule, fit, schedules
from tests.analysis.curves import AT, NEVER, ONE, PEAK, RUN, TRUTH, T, losses, table


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTH)
def test_parameters_come_back_and_the_best_schedule_beats_the_usual(name):
    law = CURVE_LAWS[name]
    fitted = fit(law, table(name), schedules=RUN, delta=1e-3, bootstrap=0)
    assert fitted.solution == pytest.approx(TRUTH[name], rel=1e-4)
    found = schedules.predict(law, fitted, NEVER, steps=AT.tolist())
    assert found["loss"].to_numpy() == pytest.approx(losses(name, NEVER, AT), rel=1e-7)
    best = best_schedule(law, fitted, 2 * T, peak=PEAK, end=PEAK / 10, warmup=30)
    rates = best.rates
    assert (np.diff(rates[30:]) <= 1e-12).all() and rates[30:].min() >= PEAK / 10 and rates.max() <= PEAK
    assert best.compared.loc["best", "loss"] == pytest.approx(
        losses(name, rates, np.array([2 * T]))[0], rel=1e-7
    )
    assert (best.compared["worse"].drop("best") > 1e-4).all()
    assert best.compared.loc["cosine", "worse_low"] > 0
    assert any("600 updates; the longest fitted schedule has 300" in note for note in best.notes)
    with pytest.raises(AnalysisError, match="end < peak"):
        best_schedule(law, fitted, 100, peak=0.1, end=0.2)


def logged(every: int = 1, first: int = 1) -> pd.DataFrame:
    step = np.arange(first, 101, every)
    rate = np.minimum(step / 10, 1.0) * 0.3
    extra = pd.DataFrame({"run_id": "a", "step": [50], "train/learning_rate": [np.nan]})  # an evaluation
    return pd.concat([pd.DataFrame({"run_id": "a", "step": step, "train/learning_rate": rate}), extra])


def test_schedules_of_logged_curves():
    full = np.minimum(np.arange(1, 101) / 10, 1.0) * 0.3
    found, notes = schedules.schedules(logged())
    assert found["a"] == pytest.approx(full) and notes == ()
    says = (
        r"curve 'a': the rate is known at 5 of 100 updates, up to 20 apart; .*how the first 20 were reached"
    )
    with pytest.raises(AnalysisError, match=says):
        schedules.schedules(logged(20, 20))
    with pytest.raises(AnalysisError, match="warmup="):
        schedules.schedules(logged(20, 20), interpolate=True)
    found, notes = schedules.schedules(logged(20, 20), interpolate=True, warmup=10)
    assert found["a"] == pytest.approx(full) and "up to 20 apart" in notes[0]
    with pytest.raises(AnalysisError, match="'step' are missing"):
        schedules.schedules(logged().drop(columns="step"))


@pytest.mark.slow
def test_the_figure_has_every_curve_and_marks_the_unseen():
    from analysis.figures import curves_and_law

    law, name = CURVE_LAWS["annealing"], "annealing"
    fitted = fit(
        law,
        table(name).iloc[::4],
        schedules=RUN,
        delta=1e-3,
        bootstrap=0,
        fixed={"memory": 60.0, "alpha": 0.45},
    )
    never = pd.DataFrame({"curve": "never", "step": AT, "loss": 1.01 * losses(name, NEVER, AT)})
    both = pd.concat([table(name), never])
    above, left, rate = curves_and_law(law, fitted, both, RUN | {"never": NEVER}, heldout=["never"])
    assert len(rate.lines) == 4 and len(above.lines) == 8
    assert left.lines[3].get_ydata() == pytest.approx(1.0, abs=1e-3)
    assert [x.get_text() for x in above.get_legend().get_texts()][3] == "never (held out)"
    with pytest.raises(AnalysisError, match="never have no schedule"):
        curves_and_law(law, fitted, both, RUN)


@pytest.mark.slow
def test_the_best_schedule_is_no_worse_than_a_usual_one_that_no_knots_reach(monkeypatch):
    law = CURVE_LAWS["annealing"]
    fitted = fit(
        law,
        table("annealing").iloc[::4],
        schedules=RUN,
        delta=1e-3,
        bootstrap=0,
        fixed={"memory": 60.0, "alpha": 0.45},
    )
    poor = ONE["constant"]
    monkeypatch.setattr(schedules, "_lowest", lambda *_: (poor, True))
    best = best_schedule(law, fitted, T, peak=PEAK, end=PEAK / 10, warmup=30)
    assert (
        best.compared["loss"].min()
        == best.compared.loc["best", "loss"]
        < best.compared.loc["constant", "loss"]
    )
    again = json.loads(best.to_json())
    assert again["rates"] == best.rates.tolist() and again["names"] == list(best.compared.index)
    assert best._repr_html_().startswith("<pre>final loss")


def test_a_schedule_comes_back_from_its_json():
    compared = pd.DataFrame({"loss": [2.0, 2.1], "low": [1.9, np.nan]}, index=["best", "cosine"])
    best = BestSchedule(np.array([0.1, 0.05]), compared, {"cosine": np.array([0.1, 0.0])}, 0.9, ("n",))
    text = best.to_json()
    again = BestSchedule.from_json(text)
    pd.testing.assert_frame_equal(again.compared, compared)
    assert again.to_json() == text and str(again) == str(best) and again.rates.tolist() == [0.1, 0.05]
    assert again.others["cosine"].tolist() == [0.1, 0.0] and again.notes == ("n",)
    for broken in ("[]", "{", text.replace('"schema": 1', '"schema": 0'), text.replace('"rates"', '"rate"')):
        with pytest.raises(AnalysisError, match="best schedule"):
            BestSchedule.from_json(broken)
