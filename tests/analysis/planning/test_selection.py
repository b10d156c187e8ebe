"""Which runs are chosen, against the variances that their purchase leaves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.laws.law import Law
from analysis.planning.field import Field, Misfit
from analysis.planning.prior import NoiseLevel, Prior
from analysis.planning.selection import Market
from analysis.planning.shop import Shop
from analysis.planning.target import Target
from analysis.solve.problem import Loss, Problem

PRIOR = Prior.published("chinchilla", NoiseLevel(0.003, 0.002))

USUAL = Misfit()


def market(misfit: Misfit = USUAL) -> tuple[Market, np.ndarray, np.ndarray]:
    """24 cells on offer beside 8 on a ray, and a target further out."""
    known = [(n, 20 * n) for n in np.geomspace(5e7, 1e9, 8)]
    offered = [(n, ratio * n) for n in np.geomspace(5e7, 3e9, 8) for ratio in (5, 20, 80)]
    n, d = np.array([*known, *offered, (1e10, 2e11)]).T
    cluster = np.unique(n, return_inverse=True)[1]
    index = np.arange(len(n))
    field = Field.of(PRIOR, {"N": n, "D": d}, cluster, misfit, targets=index[-1:])
    last = index == index[-1]
    return Market([field], index < 8, (index >= 8) & ~last, last, 6 * n * d), n, d


def test_what_a_purchase_leaves_is_the_variance_given_all_that_is_bought() -> None:
    shop, n, d = market()
    choice = shop.buy(5e20, most=4)
    cells = [*range(8), *(one.cell for one in choice.purchases), len(n) - 1]
    # the law's coordinates are centred at other runs: its prior is another, so compare under the same field
    index = np.arange(len(n))
    again = Market(
        [Field.of(PRIOR, {"N": n, "D": d}, np.unique(n, return_inverse=True)[1], USUAL, targets=index[-1:])],
        np.isin(index, cells[:-1]), ~np.isin(index, cells), index == len(n) - 1, 6 * n * d,
    )  # fmt: skip
    assert len(choice.purchases) == 4
    assert choice.after == pytest.approx(again.before, rel=1e-4)
    assert choice.after < choice.before == pytest.approx(shop.before)
    assert choice.cost <= 5e20


def test_a_larger_budget_leaves_no_more_variance() -> None:
    shop, *_ = market()
    ends = [shop.buy(budget).after for budget in (1e19, 1e20, 1e21, 1e22)]
    assert ends == sorted(ends, reverse=True) and ends[-1] < 0.7 * ends[0]


def test_misfit_keeps_small_sizes_from_being_bought() -> None:
    def share(size: float) -> float:
        shop, n, _ = market(Misfit(size))
        bought = shop.buy(1e21, most=12).purchases
        return float(np.mean([n[one.cell] < 3e8 for one in bought]))

    assert share(0.02) < share(1e-5)


def test_halving_takes_the_cheapest_and_says_why() -> None:
    runs = pd.DataFrame({"params": np.geomspace(5e7, 1e9, 8)})
    runs = runs.assign(tokens=20 * runs["params"], seed=0)
    runs["flops"] = 6 * runs["params"] * runs["tokens"]
    cells = pd.DataFrame({"params": np.repeat(np.geomspace(5e7, 3e9, 8), 3)})
    cells = cells.assign(tokens=cells["params"] * np.tile([5.0, 20, 80], 8), seed=0)
    cells["flops"] = 6 * cells["params"] * cells["tokens"]
    cells["cost"] = cells["flops"]
    target = Target({"N": 1e10, "D": 2e11, "C": 1.2e22}, "big")
    found = Shop.of(PRIOR, runs, cells, target).halving()
    assert found.halves and found.after <= 0.5 * found.before * 1.001
    assert all(run.cost == 6 * run.N * run.D for run in found.runs)
    largest = max(found.runs, key=lambda run: run.N)
    assert largest.N > 1e9 and "the largest, C " in largest.why
    size = Shop.of(PRIOR, runs, cells, target, goal="size").halving()
    assert size.name == "N*(C = 1.2e+22)" and size.after < size.before
    with pytest.raises(AnalysisError, match="no run to choose from"):
        Shop.of(PRIOR, runs, cells[:0], target)


def test_a_coefficient_of_any_size_leaves_room_for_noise() -> None:
    """A coefficient that may be a billion: squares of its prior have no digits left for noise."""
    law = Law("plain", function=lambda E, A, b, N: E + A * N**-b, linear=("E", "A"), domains=
              {"E": (0.0, 10.0), "A": (-1e9, 1e9), "b": (0.0, 2.0)})  # fmt: skip
    n = np.append(np.geomspace(1e4, 1e7, 30), 1e8)
    problem = Problem(law, {"N": n}, np.full(len(n), 2.0), Loss(space="raw"))
    index = np.arange(len(n))
    u = problem.coordinates({"E": 1.5, "A": 3.0, "b": 0.1})
    field = Field(problem, u, Misfit(1e-9), NoiseLevel(0.006), index, np.zeros((0, 3)), index[-1:])
    bought = Market([field], index < 3, (index >= 3) & (index < 30), index == 30, n).buy().purchases
    assert len(bought) == 27
    assert bought[-1].after < 0.01
