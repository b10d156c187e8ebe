"""What a design is expected to identify, against fits of simulated studies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from analysis import fit
from analysis.errors import AnalysisError
from analysis.fits.discrepancy import shipped
from analysis.fits.rates import Power
from analysis.laws.lookup import require
from analysis.planning.estimates import EFFICIENCY
from analysis.planning.expected import expect
from analysis.planning.information import Information
from analysis.planning.prior import NoiseLevel, Prior
from analysis.planning.simulate import simulate
from analysis.planning.statement import expected_text, simulated_text
from analysis.planning.target import Target, optimum_of
from analysis.solve.multistart import solve

SIZES = np.geomspace(5e7, 1e10, 6)
RATIOS = (5, 10, 20, 40, 80)
PRIOR = Prior.published("chinchilla", NoiseLevel(0.003, 0.002))


def table(sizes: np.ndarray = SIZES, ratios: tuple[float, ...] = RATIOS) -> pd.DataFrame:
    cells = [(n, n * ratio) for n, ratio in product(sizes, ratios)]
    frame = pd.DataFrame(cells, columns=["params", "tokens"])
    return frame.assign(flops=6 * frame["params"] * frame["tokens"], seed=0)


def simulated(count: int) -> tuple[Information, Iterator[np.ndarray]]:
    """The law on the table, and losses of studies of it (n,)."""
    seen, rng = Information.of(PRIOR, table()), np.random.default_rng(0)
    noise = (
        rng.normal(0, 0.003, len(seen.frame)) + rng.normal(0, 0.002, seen.clusters)[seen.cluster]
        for _ in range(count)
    )
    return seen, (seen.frame["L"].to_numpy() * np.exp(shift) for shift in noise)


def test_spread_is_that_of_simulated_studies() -> None:
    seen, studies = simulated(60)
    found = []
    for losses in studies:
        problem = replace(seen.problem, target=losses)
        found.append(problem.shift(solve(problem, start=seen.u[None]).u, 1.0))
    optima = optimum_of(seen.problem, Power(6.0), 1e23)(np.array(found))
    expected = expect(PRIOR, table(), [Target.at_compute(1e23)])
    at = dict(zip(seen.problem.names, np.array(found).T, strict=True))
    at |= {"N*(C = 1e+23)": optima[:, 0], "loss(C = 1e+23)": optima[:, 2]}
    for name, values in at.items():
        # 60 studies know a standard deviation to 9 %
        spread = expected[name].spread * np.sqrt(EFFICIENCY)
        assert spread == pytest.approx(1.6449 * np.std(values), rel=0.28), name
        assert expected[name].half_width > expected[name].spread


def test_a_ray_says_not_identifiable_and_a_grid_does_not() -> None:
    ray = expect(PRIOR, table(np.geomspace(5e7, 1e10, 8), (20,)))
    assert ray.verdict == "not_identifiable"
    assert "D is proportional to N" in ray.reason and "alpha - beta" in ray.reason
    assert {"alpha", "beta", "a"} <= {*ray.weak}
    assert expect(PRIOR, table()).reason == ""


def test_condition_of_a_ray_goes_as_the_inverse_square_of_the_difference_of_exponents() -> None:
    def smallest(difference: float) -> float:
        values = {**PRIOR.params, "beta": PRIOR.params["alpha"] + difference}
        seen = Information.of(Prior(PRIOR.law, values, PRIOR.noise, "here"), table(ratios=(19.9, 20.1)))
        return float(seen.estimates.spread(np.eye(5)[3:4])[0])

    assert smallest(0.05) / smallest(0.1) == pytest.approx(2, rel=0.35)


def test_noise_that_clusters_share_widens_and_more_runs_narrow() -> None:
    alone = Prior.published("chinchilla", NoiseLevel(0.003))
    few = expect(alone, table())["E"]
    assert expect(PRIOR, table())["E"].spread > 1.2 * few.spread
    twice = pd.concat([table(), table().assign(seed=1)])
    assert expect(alone, twice)["E"].spread == pytest.approx(few.spread / np.sqrt(2), rel=1e-6)


def test_too_few_runs_say_so() -> None:
    few = expect(PRIOR, table(SIZES[:2], (5, 10)))
    assert few.verdict == "not_identifiable" and "4 usable runs" in few.reason


def test_a_prior_of_a_fit_splits_its_noise_by_cluster() -> None:
    seen, studies = simulated(1)
    one = fit("chinchilla", seen.frame.drop(columns="L").assign(loss=next(studies), role="fit"), bootstrap=0)
    split = Prior.of_fit(one, "a fit").noise
    assert split.run == pytest.approx(0.003, rel=0.3)
    assert split.shared == pytest.approx(0.002, rel=0.9)
    assert split.run**2 + split.shared**2 == pytest.approx(one.noise.sd**2)


def test_another_law_takes_the_values_that_are_nearest() -> None:
    inputs = {"N": table()["params"].to_numpy(), "D": table()["tokens"].to_numpy()}
    tied = PRIOR.as_law(require("tied"), inputs)  # type: ignore[arg-type]
    assert np.abs(np.log(tied.losses(inputs) / PRIOR.losses(inputs))).max() < 0.01
    assert expect(tied, table()).prior.law.name == "tied"


def test_simulated_studies_without_a_fit_say_why_in_place_of_a_table() -> None:
    found = simulate(PRIOR, table(ratios=(20,)).assign(tokens=2e10), studies=2, bootstrap=0)
    text = simulated_text(found)
    assert found.status == {"not_identified": 2} and "quantity" not in text
    assert text.endswith(
        "none has a fit to look at: 1 distinct token count (D); its exponent needs at least 3"
    )
    assert found.to_dict()["reason"] == found.reason


def test_ranges_move_the_prior_and_what_is_wrong_is_said_at_once() -> None:
    moved = PRIOR.with_values({"alpha": (0.3, 0.4), "A": (100, 10_000)})
    assert moved.params["alpha"] == pytest.approx(0.35) and moved.params["A"] == pytest.approx(1000)
    assert moved.to_dict()["ranges"]["alpha"] == [0.3, 0.4]
    wrong = {"gamma": (0, 1), "alpha": (0.4, 0.3), "beta": (-1, -1), "B": (0, 0), "E": (0.0, np.inf)}
    with pytest.raises(AnalysisError) as caught:
        PRIOR.with_values(wrong)
    assert len(caught.value.problems) == 5
    assert "beta = -1:-1 must lie within 0.001 to 3" in str(caught.value)


@pytest.mark.parametrize("flops", [0, -1, np.nan, np.inf])
def test_a_target_is_of_some_compute(flops: float) -> None:
    with pytest.raises(AnalysisError, match="must be positive and finite"):
        Target.at_compute(flops)


def test_a_forecast_of_the_target_has_the_parts_that_forecasts_have() -> None:
    n, d = 2e10, 1.6e12
    found = expect(PRIOR, table(), [Target({"N": n, "D": d, "C": 6 * n * d}, "big")])
    big = found.ahead
    assert big is not None and big.run == pytest.approx(np.hypot(0.003, 0.002))
    assert big.law == pytest.approx(found["loss(big)"].half_width / 1.6449, rel=1e-4)
    assert big.half_width == pytest.approx(
        1.6449 * np.sqrt(big.law**2 + big.run**2 + big.discrepancy**2), rel=1e-4
    )
    # the improvement that the law promises, along compute
    p = PRIOR.params
    terms = p["alpha"] * p["A"] / n ** p["alpha"] + p["beta"] * p["B"] / d ** p["beta"]
    far = np.log(6 * n * d / table()["flops"].max())
    alone = p["alpha"] * p["A"] / n ** p["alpha"] * np.log(n / table()["params"].max())  # or along N, if more
    gain = max(0.5 * terms * far, alone) / found["loss(big)"].value
    assert big.discrepancy == pytest.approx(shipped().kappa * shipped().promised * gain, rel=1e-3)
    inside = expect(PRIOR, table(), [Target({"N": 1e9, "D": 2e10, "C": 1.2e20}, "small")]).ahead
    assert inside is not None and inside.discrepancy == 0


def test_a_target_too_far_out_to_have_a_best_run_has_no_forecast() -> None:
    """Where compute is no power of N and D, the best size is looked for near the table's."""
    far, runs = Target.at_compute(1e32), table()
    runs["flops"] *= 1 + (1e9 / runs["params"]) ** 0.5
    found = expect(PRIOR, runs, [far])
    assert found.ahead is None and "nan" not in expected_text(found)
    assert found.without_best_size
    assert not expect(PRIOR, runs, [Target.at_compute(1e23)]).without_best_size


def test_the_width_of_a_range_counts_in_what_is_expected() -> None:
    about = {"N": table()["params"].to_numpy(float), "D": table()["tokens"].to_numpy(float)}
    wide = PRIOR.with_values({"alpha": (0.2, 0.6), "B": (1500, 3000)}, about)
    assert len(wide.drawn) > 20
    for name, (low, high) in wide.ranges.items():
        values = np.array([one[name] for one in wide.drawn])
        assert (
            low <= values.min() < low + 0.1 * (high - low)
            and high - 0.1 * (high - low) < values.max() <= high
        )
    middle = {x: np.array([np.exp(np.log(v).mean())]) for x, v in about.items()}
    terms = [one["A"] * middle["N"][0] ** -one["alpha"] for one in (wide.params, *wide.drawn)]
    assert terms == pytest.approx([PRIOR.params["A"] * middle["N"][0] ** -PRIOR.params["alpha"]] * len(terms))
    target = [Target.at_compute(1e23)]
    found, narrow = expect(wide, table(), target), expect(PRIOR, table(), target)
    each = sorted(expect(one, table(), target)["alpha"].half_width for one in wide.others())
    widths = found["alpha"].widths
    assert widths is not None and narrow["alpha"].widths is None
    assert each[0] <= widths.low < found["alpha"].half_width < widths.high <= each[-1]
    assert found.aheads is not None and found.ahead is not None
    assert found.aheads.low < found.ahead.half_width < found.aheads.high
    assert f"+-{found.aheads.low:.2%} to +-{found.aheads.high:.2%} over the prior" in expected_text(found)
    verdict = expect(PRIOR.with_values({"alpha": (0.02, 0.7)}, about), table())["alpha"].verdict
    assert verdict.verdict == "no" and re.fullmatch(
        r"identified at \d\d% of values within the prior", verdict.reason
    )
