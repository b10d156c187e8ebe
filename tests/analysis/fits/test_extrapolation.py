"""Forecasts beyond the data: what they are made of, and where they pass into the law."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.errors import AnalysisError
from analysis.fits import discrepancy
from analysis.fits.promise import unsettled
from analysis.fits.result import Fit

ROOT = Path(__file__).parents[3]
CHINCHILLA = ROOT / "results" / "reference" / "quickstart" / "fits" / "chinchilla.json"
FAR = {"N": 2e9, "D": 4e10}


def loss(n, d, bend=0.0):
    """Chinchilla's law; with ``bend``, lower at the largest compute than it says."""
    law = 1.8 + 480 / n**0.35 + 2100 / d**0.37
    return law * np.exp(-bend * np.maximum(0, np.log(6 * n * d / 1e18)) ** 2)


def table(bend=0.0, noise=0.003, seed=0):
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 3e8, 6), np.geomspace(3e8, 6e9, 5)))
    wiggle = np.exp(noise * np.random.default_rng(seed).standard_normal(len(n)))
    return pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "loss": loss(n, d, bend) * wiggle})


@pytest.fixture(scope="module")
def fit():
    return analysis.fit("chinchilla", table(), bootstrap=100)


def test_inside_the_data_a_new_run_is_the_law_and_the_residuals(fit):
    row = fit.predict(N=1e8, D=2e9).frame.iloc[0]
    assert row["forecast"] == row["loss"] and row["se_discrepancy"] == 0
    reach = stats.t.ppf(0.95, fit.intervals.degrees) * np.hypot(row["se_log"], fit.noise.sd)
    assert row["new_high"] == pytest.approx(row["loss"] * np.exp(reach))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.99])
def test_every_level_comes_from_the_same_parts(fit, level):
    row = fit.predict(**FAR, level=level).frame.iloc[0]
    se = np.sqrt(row["se_law"] ** 2 + row["se_run"] ** 2 + row["se_discrepancy"] ** 2)
    z = stats.norm.ppf(0.5 + level / 2)
    assert row[["new_low", "new_high"]].tolist() == pytest.approx(row["forecast"] * np.exp([-z * se, z * se]))
    same = fit.predict(**FAR).frame.iloc[0]
    assert row[["se_law", "se_run", "se_discrepancy", "forecast"]].equals(
        same[["se_law", "se_run", "se_discrepancy", "forecast"]]
    )


def test_the_discrepancy_is_what_the_constants_say(fit):
    outlook, known = fit.forecast(), discrepancy.shipped()
    at = {"N": np.array([FAR["N"]]), "D": np.array([FAR["D"]]), "C": np.array([6 * FAR["N"] * FAR["D"]])}
    parts = outlook.at(at, np.zeros(1, int))
    h = np.log(at["C"][0] / fit.data["C"][-1])
    own = outlook.own.error * max(1.0, h / np.log(outlook.own.far))
    # the improvement along compute of a law in N and D
    e, a, b, alpha, beta = np.exp(outlook.point[0])[[0, 1, 2]].tolist() + outlook.point[0][[3, 4]].tolist()
    terms = alpha * a / FAR["N"] ** alpha + beta * b / FAR["D"] ** beta
    promised = known.promised * 0.5 * terms / parts.refit[0] * h
    assert own < promised
    by_hand = known.kappa * own**known.backtest * promised ** (1 - known.backtest)
    alone = replace(outlook, draws=outlook.point).at(at, np.zeros(1, int))
    assert alone.discrepancy[0] == pytest.approx(by_hand, rel=1e-4)
    assert parts.discrepancy[0] == pytest.approx(by_hand, rel=0.02)
    assert e == pytest.approx(outlook.problem.parameters(outlook.point)[0][0])


def test_the_discrepancy_does_not_fall_with_distance(fit):
    """Where the law holds what is left of the loss irreducible, as far out or of a large exponent."""
    beyond = np.sqrt([2.0, 10.0, 1e3, 1e6, 1e12, 1e24])
    at = {"N": 3e8 * beyond, "D": 6e9 * beyond}
    at["C"] = 6 * at["N"] * at["D"]
    outlook = replace(fit.forecast(), own=None)
    steep = outlook.point * np.where(np.array(fit.law.names) == "alpha", 3.0, 1.0)
    for draws in (outlook.draws, steep):
        parts = replace(outlook, draws=draws, point=draws[:1]).at(at, np.zeros(6, int))
        grown = parts.discrepancy[1:] / parts.discrepancy[:-1]
        assert (grown > 0.99).all() and grown[0] > 1.5


def test_on_no_line_of_a_family_does_the_discrepancy_of_the_quickstart_fall():
    made = Fit.from_json(CHINCHILLA.read_text("utf-8"))
    outlook, data = replace(made.forecast(), own=None), {x: np.array(made.data[x]) for x in "NDC"}
    times, largest = np.sqrt(np.geomspace(2, 1e12, 60)), data["C"].argmax()
    for start in (
        {x: data[x][largest] for x in "ND"},
        {x: data[x].max() for x in "ND"},
        {"N": 3 * data["N"].max(), "D": data["D"].min()},
    ):
        at = {x: value * times for x, value in start.items()}
        at["C"] = 6 * at["N"] * at["D"]
        found = outlook.at(at, np.zeros(60, int)).discrepancy
        assert (found[1:] > 0.99 * np.maximum.accumulate(found)[:-1]).all(), start


def test_what_is_irreducible_is_known_as_well_as_the_draws_say(fit):
    """Two draws that agree on the data, one of which holds nearly all of the loss irreducible."""
    outlook, at = replace(fit.forecast(), own=None), {x: np.array([v]) for x, v in FAR.items()}
    at["C"] = 6 * at["N"] * at["D"]
    much = outlook.point.copy()
    much[:, :3] += np.log([[1.1, 0.2, 0.2]])
    one, two = (replace(outlook, draws=draws).at(at, np.zeros(1, int)).discrepancy[0] for draws in (
        much, np.concatenate([outlook.point] * 20 + [much] * 20)))  # fmt: skip
    whole = replace(outlook, draws=outlook.point).at(at, np.zeros(1, int)).discrepancy[0]
    assert one < 0.3 * whole and two == pytest.approx(np.sqrt((one**2 + whole**2) / 2))


def test_a_fit_at_a_bound_promises_no_less_than_a_power_law_through_the_data(fit):
    frame = table()
    held = analysis.fit("chinchilla", frame, bounds={"alpha": (1.0, 3.0)}, bootstrap=100)
    at = {x: np.array([v, 10 * v]) for x, v in FAR.items()}
    at["C"] = 6 * at["N"] * at["D"]
    outlook, group = replace(held.forecast(), own=None), np.zeros(2, int)
    assert held.status.code == "at_bound" and outlook.least is not None
    share = np.sqrt((frame["flops"] / frame["flops"].max()) ** 0.25).to_numpy()[:, None]
    columns = np.log(frame[["params", "tokens"]].to_numpy())
    rows = share * np.column_stack([columns, np.ones(len(frame))])
    slopes = -np.linalg.lstsq(rows, share[:, 0] * np.log(frame["loss"].to_numpy()), rcond=None)[0][:2]
    gain = 0.5 * slopes.sum() * np.log(at["C"] / frame["flops"].max())
    known = outlook.constants
    parts = outlook.at(at, group)
    assert parts.discrepancy == pytest.approx(known.kappa * known.promised * gain)
    assert (parts.discrepancy > 1.5 * replace(outlook, least=None).at(at, group).discrepancy).all()
    assert replace(outlook, least=None).leans[0] == outlook.leans[0]  # wider, and no other
    assert any("does not settle what is irreducible" in note for note in held.predict(**FAR).notes)
    assert fit.status.code == "ok" and fit.forecast().least is None
    assert not any("irreducible" in note for note in fit.predict(**FAR).notes)


def test_a_fit_whose_offset_is_not_identified_is_not_settled(fit):
    for verdict in ("no", "one_sided"):
        for code, open_ in (("wide", True), ("few_clusters", False)):
            weak = fit.identified | {"E": replace(fit.identified["E"], verdict=verdict, code=code)}
            assert unsettled(replace(fit, identified=weak)) == open_
    loose = fit.identified | {"A": replace(fit.identified["A"], verdict="no")}
    partly = replace(fit.status, code="partly_identified")
    assert not unsettled(replace(fit, identified=loose, status=partly))


@pytest.fixture(scope="module")
def decades():
    """Of budgets a factor of 10 apart, the back-test reaches as far."""
    c, n = (x.ravel() for x in np.meshgrid([1e17, 1e18, 1e19], np.geomspace(0.3, 3, 6)))
    n *= np.sqrt(c / 120)
    d = c / (6 * n)
    wiggle = np.exp(0.003 * np.random.default_rng(0).standard_normal(len(n)))
    frame = pd.DataFrame({"params": n, "tokens": d, "flops": c, "loss": loss(n, d) * wiggle})
    return analysis.fit("chinchilla", frame, bootstrap=100)


def test_the_mean_error_of_laws_is_taken_off_alike_at_any_distance(decades):
    known, outlook, best = discrepancy.shipped(), decades.forecast(), np.sqrt(1e19 / 120)
    n, d = (edge * np.sqrt([2.0, 10.0, 100.0, 2.0]) for edge in (best, 20 * best))
    n[3], d[3] = best / 5, 10 * d[0] / np.sqrt(2)  # twice the compute, of a small model
    at = {"N": n, "D": d, "C": 6 * n * d}
    parts, rows = outlook.at(at, np.zeros(4, int)), decades.predict(**at).frame
    assert outlook.own.far == pytest.approx(10)
    assert parts.lean == pytest.approx(parts.lean[0])
    assert rows["forecast"].to_numpy() == pytest.approx(parts.refit * np.exp(-parts.lean[0]))
    assert (rows["forecast"] < rows["loss"]).all()
    assert parts.lean[0] == pytest.approx(known.mean * parts.discrepancy[0], rel=0.15)  # at twice the compute
    assert (parts.discrepancy[1:] > 1.05 * parts.discrepancy[0]).all()


def test_centre_passes_from_the_law_to_the_refit_within_twice_the_compute(fit):
    at = {x: np.array([v * np.sqrt(1.5)]) for x, v in {"N": 3e8, "D": 6e9}.items()}
    at["C"] = 6 * at["N"] * at["D"]
    parts, row = fit.forecast().at(at, np.zeros(1, int)), fit.predict(**at).frame.iloc[0]
    share = np.log(1.5) / np.log(2)
    between = row["loss"] * (parts.refit[0] * np.exp(-parts.lean[0]) / row["loss"]) ** share
    assert row["forecast"] == pytest.approx(between) and parts.lean[0] > 0


def test_a_back_test_worse_than_published_ones_counts_for_more():
    known, gain = discrepancy.shipped(), np.array([0.1])
    promised = known.promised * gain
    at, above = (known.sd(gain, factor * promised)[0] for factor in (1.0, 16.0))
    below = known.sd(gain, promised / 16)[0]
    assert above / at == pytest.approx(16**known.worse) and at / below == pytest.approx(16**known.backtest)
    assert at == pytest.approx(known.kappa * promised[0]) == known.sd(gain)[0]


def test_forecasts_pass_into_the_law_at_the_edge(fit):
    edge = {"N": max(fit.data["N"]), "D": max(fit.data["D"])}
    steps = [
        fit.predict(**{x: v * f for x, v in edge.items()}).frame.iloc[0] for f in (1.0, 1.02, 1.04, 2, 4)
    ]
    widths = [np.log(row["new_high"] / row["new_low"]) for row in steps]
    assert widths[1] == pytest.approx(widths[0], rel=0.1) and widths[2] == pytest.approx(widths[1], rel=0.1)
    assert widths[3] < widths[4]
    gaps = [abs(np.log(row["forecast"] / row["loss"])) for row in steps]
    assert gaps[0] == 0 and gaps[1] < 0.1 * gaps[4]


def test_the_refit_follows_the_frontier_where_the_law_bends():
    bent = analysis.fit("chinchilla", table(bend=0.003), bootstrap=100)
    row, truth = bent.predict(N=6e8, D=1.2e10).frame.iloc[0], loss(6e8, 1.2e10, bend=0.003)
    assert abs(np.log(row["forecast"] / truth)) < 0.9 * abs(np.log(row["loss"] / truth))
    assert row["new_low"] < truth < row["new_high"] and not row["low"] < truth < row["high"]
    assert (
        bent.forecast().own.error
        > 2 * analysis.fit("chinchilla", table(), bootstrap=100).forecast().own.error
    )


def test_where_compute_is_that_of_the_data_the_law_is_the_centre(fit):
    wide = fit.predict(N=1.2e9, D=3e8).frame.iloc[0]  # four times the sizes, a fifth of the compute
    assert wide["forecast"] == pytest.approx(wide["loss"]) and wide["se_run"] == pytest.approx(fit.noise.sd)
    assert wide["se_discrepancy"] > 0.003


def test_a_smaller_run_is_forecast_by_the_law(fit):
    row = fit.predict(N=1e6, D=3e7).frame.iloc[0]
    assert row["forecast"] == pytest.approx(row["loss"]) and row["se_discrepancy"] > 0.01


def test_a_new_run_is_never_surer_than_the_law_of_few_clusters(fit):
    runs = table(noise=0.01, seed=3)
    few = analysis.fit(
        "chinchilla", runs.assign(trunk_id=runs["params"].rank(method="dense") // 2), bootstrap=100
    )
    few = replace(few, identified=fit.identified, status=fit.status)  # settled, so that the law is most of it
    row = few.predict(**FAR).frame.iloc[0]
    assert few.intervals.degrees <= 3 and row["forecast"] < row["loss"]
    law = stats.t.ppf(0.95, few.intervals.degrees) * row["se_law"]
    assert 0.5 * np.log(row["new_high"] / row["new_low"]) == pytest.approx(law)
    se = np.sqrt(row["se_law"] ** 2 + row["se_run"] ** 2 + row["se_discrepancy"] ** 2)
    assert row["new_high"] / row["new_low"] > np.exp(2 * stats.norm.ppf(0.95) * se) * 1.01


def test_the_band_is_of_the_law_alone(fit):
    band, whole = fit.band(**FAR).frame, fit.predict(**FAR).frame
    assert not {"new_low", "forecast", "se_run"} & set(band)
    assert band[["loss", "low", "high"]].equals(whole[["loss", "low", "high"]])


def test_what_is_no_log_loss_is_not_calibrated():
    frame = table()
    raw = analysis.fit("chinchilla", frame, objective="raw-ls", bootstrap=100)
    row = raw.predict(**FAR).frame.iloc[0]
    assert row["forecast"] == row["loss"] and np.isnan(row["se_discrepancy"])
    with pytest.raises(AnalysisError, match="not of log loss"):
        raw.forecast()
    rate = analysis.fit("power-params", frame.assign(rate=frame["params"] ** -0.5 * 1.1), target="rate")
    assert rate.predict(N=1e11).frame["se_discrepancy"].iloc[0] == 0
    with pytest.raises(AnalysisError, match="column 'rate'"):
        rate.forecast()


def test_groups_reach_from_their_own_data():
    both = pd.concat([
        table().assign(corpus="wide"),
        table(seed=1).query("flops < 1e18").assign(corpus="narrow"),
    ])  # fmt: skip
    shared = analysis.fit("chinchilla", both, groups="corpus", own=("E",), bootstrap=100)
    asked = pd.DataFrame({"params": [FAR["N"]] * 2, "tokens": [FAR["D"]] * 2, "corpus": ["wide", "narrow"]})
    wide, narrow = shared.predict(asked).frame["se_discrepancy"]
    assert narrow > 1.2 * wide


def test_a_law_of_tokens_alone_reaches_in_tokens():
    n = 1e8
    d = np.geomspace(1e9, 1e11, 12)
    wiggle = np.exp(0.001 * np.random.default_rng(0).standard_normal(12))
    frame = pd.DataFrame({"tokens": d, "loss": loss(n, d) * wiggle})
    alone = analysis.fit("power-offset-tokens", frame, bootstrap=100)
    near, far = (alone.predict(D=x).frame["se_discrepancy"].iloc[0] for x in (2e11, 1e12))
    assert 0 < near < far
