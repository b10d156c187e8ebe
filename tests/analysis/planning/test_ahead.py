"""What forecasts are worth with more runs, against forecasts of those runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.fits.extrapolation import Own
from analysis.fits.promise import promised
from analysis.planning.ahead import Ahead
from analysis.planning.expected import expect
from analysis.planning.help import falls
from analysis.planning.information import Information
from analysis.planning.prior import NoiseLevel, Prior
from analysis.planning.reach import Reach
from analysis.planning.selection import Market
from analysis.planning.shop import Shop
from analysis.planning.statement import help_text
from analysis.planning.target import Target

PRIOR = Prior.published("chinchilla", NoiseLevel(0.003, 0.002))
BIG = Target({"N": 2e10, "D": 4e11, "C": 4.8e22}, "big")


def grid(sizes: np.ndarray, ratios: tuple[float, ...]) -> pd.DataFrame:
    cells = pd.DataFrame([(n, ratio * n) for n in sizes for ratio in ratios], columns=["params", "tokens"])
    return cells.assign(flops=6 * cells["params"] * cells["tokens"], seed=0)


RUNS = grid(np.geomspace(5e7, 2e9, 5), (5.0, 20.0, 80.0))
CELLS = grid(np.geomspace(6e7, 5e9, 6), (10.0, 40.0)).assign(cost=lambda table: table["flops"])


@pytest.mark.parametrize("own", [None, Own(0.01, 4.0)])
@pytest.mark.parametrize(("n", "d"), [(2e10, 4e11), (2e10, 1e10), (2e7, 1e13)])
def test_reach_is_what_forecasts_take_for_it(n: float, d: float, own: Own | None) -> None:
    seen = Information.of(PRIOR, RUNS)
    at = {"N": n, "D": d, "C": 6 * n * d}
    reach = Reach.of(seen, at, own)
    rows = np.arange(0, len(RUNS), 2)
    data = {x: seen.frame[x].to_numpy(float)[rows] for x in "NDC"}
    asked = {x: np.array([value]) for x, value in at.items()}
    point = seen.problem.shift(seen.u, 1.0)[None]
    gain, h, _ = promised(seen.problem, point, data, asked, np.zeros(1, int))
    grown = None if own is None else own.grown(h)
    assert reach.sd(rows) == pytest.approx(reach.constants.sd(gain[0], grown)[0], rel=1e-9)
    rest = np.arange(1, len(RUNS), 2)
    with_each = [reach.sd(rows) ** 2 - reach.sd(np.append(rows, one)) ** 2 for one in rest]
    assert reach.taken(rows, rest) == pytest.approx(with_each)


def test_a_target_further_out_is_not_forecast_better() -> None:
    sure = replace(PRIOR, params={**PRIOR.params, "alpha": 1.2, "A": 1e9, "beta": 1.1, "B": 1e10})
    far = [expect(sure, RUNS, [Target.at_compute(c)]).ahead for c in (1e22, 1e23, 1e26, 1e32)]
    parts = np.array([one.discrepancy for one in far if one is not None])
    assert len(parts) == 4 and parts[0] > 0 and (parts[1:] / parts[:-1] > 0.99).all()


def test_what_is_said_of_cells_to_buy_is_what_a_plan_of_all_of_them_says() -> None:
    stated = expect(PRIOR, RUNS, [BIG])
    assert stated.ahead is not None
    found = Shop.of(PRIOR, RUNS, CELLS, BIG, said=stated.ahead).halving()
    assert found.now == stated.ahead and found.halves
    bought = CELLS.iloc[[run.offer for run in found.runs]].drop(columns="cost")
    then = expect(PRIOR, pd.concat([RUNS, bought], ignore_index=True), [BIG]).ahead
    assert then is not None
    for part in ("half_width", "law", "run", "discrepancy"):
        assert getattr(found.then, part) == pytest.approx(getattr(then, part), rel=1e-3), part


def test_the_size_is_stated_on_the_scale_of_the_plan() -> None:
    stated = expect(PRIOR, RUNS, [BIG, Target.at_compute(4.8e22)])
    found = Shop.of(PRIOR, RUNS, CELLS, BIG, goal="size", said=stated.size).halving()
    assert found.before == stated["N*(C = 4.8e+22)"].half_width and not found.now.discrepancy


def test_a_constant_that_a_fit_holds_at_zero_does_not_hide_what_runs_say() -> None:
    held = replace(PRIOR, params={**PRIOR.params, "E": 0.0})
    shop = Shop.of(held, RUNS, CELLS, BIG)
    free = expect(replace(PRIOR, params={**PRIOR.params, "E": 1e-3}), RUNS, [BIG]).ahead
    assert free is not None and 0 < shop.outlook.now.law < free.law < np.inf
    assert shop.advised(1e22, 4).runs


def test_nothing_is_known_of_too_few_runs_and_json_says_so() -> None:
    found = Shop.of(PRIOR, RUNS[:3], CELLS, BIG).halving()
    assert np.isinf(found.before) and found.reaches
    assert found.after <= found.aim * 1.001 == pytest.approx(0.5 * np.log(1.1) * 1.001)
    assert "bring it to what can be claimed, to" in help_text(
        found, {i: f"{i}" for i in range(len(CELLS))}, 0.0
    )
    shown = found.to_dict()
    assert shown["half_width_before"] is None and shown["runs"][0]["before"] is None
    assert shown["now"]["law"] is None


def test_half_of_an_interval_that_says_nothing_is_no_aim() -> None:
    """Eight sizes on one ray: twice as narrow would still be a factor of thousands."""
    n = np.geomspace(1e8, 5e8, 8)
    ray = pd.DataFrame({"params": n, "tokens": 20 * n, "flops": 120 * n**2, "seed": 0})
    for goal, claimed in (("loss", 1.1), ("size", 10.0)):
        found = Shop.of(PRIOR, ray, CELLS, Target.at_compute(1e21), goal=goal).halving()
        assert found.before > np.log(1e3) and found.aim == pytest.approx(0.5 * np.log(claimed))
        assert found.reaches and found.halves
    known = Shop.of(PRIOR, RUNS, CELLS, BIG).halving()
    assert known.aim == 0.5 * known.before


def test_parts_shrink_as_those_of_the_linearised_law_do() -> None:
    said = Ahead("big", 0.1, 0.04, 0.01, 0.03)
    then = said.as_seen(Ahead.of("big", 1.6, 0.01, 0.005, 0.01), Ahead.of("big", 1.6, 0.02, 0.005, 0.02))
    assert (then.law, then.run, then.discrepancy) == pytest.approx((0.02, 0.01, 0.015))
    assert then.half_width == pytest.approx(0.1 * np.hypot(np.hypot(0.02, 0.01), 0.015) / said.se)


def test_no_forecast_is_surer_than_its_law() -> None:
    """Of few clusters the law's own interval is by Student's t, and a nearer target lowers the other part."""
    said = Ahead("big", 0.1, 0.02, 0.0, 0.04, band=0.08)
    now, then = Ahead.of("big", 1.6, 0.02, 0.0, 0.04), Ahead.of("big", 1.6, 0.02, 0.0, 0.0)
    assert said.as_seen(then, now).half_width == pytest.approx(0.08) == said.as_seen(then, now).band
    assert said.as_seen(Ahead.of("big", 1.6, 0.01, 0.0, 0.0), now).half_width == pytest.approx(0.04)


def test_a_run_says_which_part_it_lowers() -> None:
    before = Ahead.of("big", 1.6, 0.01, 0.005, 0.03)
    assert falls(before, Ahead.of("big", 1.6, 0.001, 0.005, 0.02)) == "discrepancy 3.00% to 2.00%"
    assert falls(before, Ahead.of("big", 1.6, 0.005, 0.005, 0.03)) == "law 1.00% to 0.50%"
    assert falls(before, before) == "" == falls(Ahead.of("big", 1.6, np.inf, 0.005, 0.03), before)


def test_the_discrepancy_counts_where_cells_are_chosen() -> None:
    shop = Shop.of(PRIOR, RUNS, CELLS, BIG)

    def first(market: Market) -> float:
        bought = market.buy(most=1, powers=(0.5,)).purchases
        return float(shop.frame["C"].iloc[bought[0].cell])

    with_it, without = shop.market(), shop.market()
    without.reach = None
    assert first(with_it) == CELLS["flops"].max() > 3 * first(without)
    assert with_it.before > without.before


def test_advice_narrows_the_interval_as_it_is_stated_or_there_is_none() -> None:
    shop = Shop.of(PRIOR, RUNS[:8], CELLS, BIG)
    chosen = shop.within(2e19, 6)
    assert chosen.after > chosen.before, "few clusters and lopsided runs: a fit would state a wider interval"
    assert shop.advised(2e19, 6).after < 0.95 * chosen.before
    few = Shop.of(PRIOR, RUNS[:6], CELLS, BIG)
    for found in (few.advised(1e20, 6), few.halving(), shop.halving()):
        assert found.runs and found.after == min(run.after for run in found.runs)
        assert np.isinf(found.before) or found.after < 0.99 * found.before


def test_a_list_that_gains_next_to_nothing_is_none_and_says_what_the_interval_is_made_of() -> None:
    said = Ahead.of("big", 1.645, 1e-4, 1e-4, 0.03)
    found = Shop.of(PRIOR, RUNS, CELLS[:2], BIG, said=said).advised(1e19, 5)
    assert not found.runs and found.now.main == "discrepancy"
    text = help_text(found, {}, 0.0)
    assert "none of the 2 cells on offer narrows it by 1% or more; the discrepancy, 3.00%, is nearly" in text
    assert Ahead.of("big", 1.645, 0.03, 0.0, 0.03).main is None
