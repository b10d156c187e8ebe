"""Coverage, spread and ratio of simulated forecasts whose distribution is known."""

import json

import numpy as np
import pytest
from scipy import stats

from analysis import AnalysisError
from analysis.figures import draw_calibration
from analysis.forecasting.calibration import Outcome, calibrate, published_outcomes, rank
from analysis.forecasting.published import Published
from analysis.forecasting.ratio import discrepancy_ratio

NOISE, DISCREPANCY = {"law": 0.004, "run": 0.003}, 0.02


def outcomes(rng, groups, each=1, *, ratio=1.0, promised=1.0, shift=0.0):
    """Normal errors, the same in a group, of ``ratio`` times the discrepancy; forecast with ``promised``
    times their spread."""
    parts = NOISE | {"discrepancy": DISCREPANCY}
    real = np.sqrt(0.005**2 + (ratio * DISCREPANCY) ** 2)
    found = []
    for group in range(groups):
        error = float(shift + real * rng.standard_normal())
        below = float(stats.norm.cdf(-error / (promised * real)))
        found += [Outcome("run", group, error, below, 5.0, 2 * error, parts)] * each
    return found


def test_intervals_of_calibration_and_ratio_cover_the_truth_as_often_as_they_say():
    rng, held = np.random.default_rng(0), []
    for _ in range(150):
        drawn = outcomes(rng, 8, 3, ratio=1.5)
        found, ratio = calibrate(drawn), discrepancy_ratio(drawn)
        held.append([
            found.spread_interval.low <= 1 <= found.spread_interval.high,
            found.bias_interval.low <= 0 <= found.bias_interval.high,
            ratio.interval.low <= 1.5 <= ratio.interval.high,
            found.coverage[1].interval.low <= 0.8 <= found.coverage[1].interval.high,
        ])  # fmt: skip
    shares = np.mean(held, axis=0)
    assert ((shares[:3] > 0.83) & (shares[:3] < 0.97)).all() and shares[3] > 0.9, shares
    assert found.groups == 8 and ratio.groups == 8 and ratio.forecasts == 24
    assert found.rms_beside == pytest.approx(found.baseline_rms / 2)


@pytest.mark.parametrize(("promised", "code"), [(0.4, "too_narrow"), (1.0, "consistent"), (3.0, "too_wide")])
def test_a_verdict_says_which_way_intervals_are_wrong(promised, code):
    found = calibrate(outcomes(np.random.default_rng(1), 40, promised=promised))
    assert found.status.code == code and code in found.summary()
    nominal, share = found.curve()
    assert (np.diff(nominal) >= 0).all() and share[-1] == pytest.approx(1)
    assert np.interp(0.5, nominal, share) == pytest.approx(2 * stats.norm.cdf(promised * 0.674) - 1, abs=0.2)
    assert json.loads(found.to_json())["status"]["code"] == code


def test_many_forecasts_of_one_fit_count_once():
    rng = np.random.default_rng(2)
    one, five = calibrate(outcomes(rng, 1, 20)), calibrate(outcomes(rng, 5, 4))
    assert one.bias_interval is None and one.coverage[2].interval.low == pytest.approx(0.05, abs=1e-6)
    assert five.bias_interval is not None and len(one.outcomes) == len(five.outcomes) == 20
    uneven = [*outcomes(rng, 1, 9, shift=0.5), Outcome("run", 1, 0.0, 0.5)]
    assert calibrate(uneven).bias == pytest.approx(uneven[0].error / 2)  # nine of one group weigh as one


def test_a_ratio_says_that_errors_are_below_noise_or_that_nothing_was_promised():
    rng = np.random.default_rng(3)
    exact = [Outcome("run", g, 1e-5, 0.5, parts=NOISE | {"discrepancy": 0.02}) for g in range(6)]
    ratio = discrepancy_ratio(exact)
    assert ratio.smaller and ratio.value == 0 and ratio.interval == (0, 0)
    assert not discrepancy_ratio(outcomes(rng, 6)).smaller
    assert discrepancy_ratio([Outcome("run", 0, 0.01, 0.5, parts=NOISE | {"backtest": 0.02})]) is None


@pytest.mark.parametrize("degrees", [1.5, 5, 25, np.inf])
@pytest.mark.parametrize("level", [0.5, 0.9])
def test_a_rank_is_that_of_the_distribution_that_the_interval_came_from(degrees, level):
    se, error = 0.02, 0.03
    half = se * stats.t.ppf(0.5 + level / 2, degrees)
    assert rank(error, half, level, se) == pytest.approx(stats.t.cdf(-error / se, degrees), rel=1e-6)
    assert rank(-half, half, level, se) == pytest.approx(0.5 + level / 2)  # an outcome on its very end


def test_an_interval_without_a_known_scale_is_taken_as_normal():
    assert rank(-0.02, 0.02, 0.9, None) == pytest.approx(0.95)
    assert rank(-0.02, 0.02, 0.9, 0.02) == pytest.approx(0.95)  # narrower than any t of that scale
    assert rank(0.01, 0.0, 0.9, 0.0) is None


def test_published_ones_are_grouped_by_source_and_need_no_interval():
    given = [
        Published("a", "one", "with", predicted=2.0, measured=2.1, flops=1e22, fitted_flops=1e20),
        Published("b", "one", "with", low=1.9, high=2.2, level=0.9, measured=2.2),
        Published("c", "two", "before", predicted=2.0, low=1.9, high=2.2, level=0.9, measured=1.9),
        Published("d", "two", "before", predicted=2.0),
    ]
    a, b, c = published_outcomes(given)
    assert a.group == b.group != c.group and (a.rank, a.extrapolation) == (None, 100)
    assert b.rank == pytest.approx(0.95) and c.rank == pytest.approx(0.05)
    found = calibrate([a, b, c])
    assert found.coverage[2].n == 2 and found.without_reach == 2
    assert calibrate([a]).status.code == "no_interval" and "rms" in calibrate([a]).summary()


def test_no_outcome_is_refused():
    with pytest.raises(AnalysisError, match="no forecast has an outcome yet"):
        calibrate([])


def test_the_figure_is_the_same_bytes_again(tmp_path):
    rng = np.random.default_rng(4)
    found, other = calibrate(outcomes(rng, 12, 2)), calibrate([Outcome("x", 0, 0.1, None)])
    (path,) = draw_calibration(found, other, tmp_path).paths
    before = path.read_bytes()
    draw_calibration(found, other, tmp_path)
    assert path.name == "calibration.png" and path.read_bytes() == before
    draw_calibration(found, None, tmp_path)
    assert path.read_bytes() != before
