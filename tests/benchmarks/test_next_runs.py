"""The cases of benchmarks/next_runs.py, and what is bought in them."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import next_runs
from forecasting.sets import Set


@pytest.fixture(scope="module")
def case() -> next_runs.Case:
    cells = [(n, d) for n in np.geomspace(1e7, 1e9, 10) for d in np.geomspace(1e8, 1e11, 10)]
    runs = pd.DataFrame(cells, columns=["params", "tokens"])
    noise = np.random.default_rng(0).normal(0, 0.003, len(runs))
    loss = (1.8 + 480 / runs["params"] ** 0.35 + 2100 / runs["tokens"] ** 0.37) * np.exp(noise)
    runs = runs.assign(flops=6 * runs["params"] * runs["tokens"], loss=loss)
    runs = runs.sort_values("flops", ignore_index=True)
    (found,) = next_runs.cases(Set("family", "set", runs.drop(index=runs.index[:40])), 1)
    return found


def test_known_runs_offers_and_targets_are_apart(case: next_runs.Case) -> None:
    most = case.targets["flops"].max()
    assert case.known["flops"].max() <= most / 30 and len(case.known) >= next_runs.LEAST
    assert case.known["flops"].min() < case.offer["flops"].max() <= most / 4
    both = pd.concat([case.known, case.offer, case.targets])
    assert not both.duplicated(["params", "tokens"]).any()


@pytest.mark.parametrize("method", next_runs.METHODS)
def test_no_method_spends_more_than_its_budget(case: next_runs.Case, method: str) -> None:
    budget, cost = 2 * float(case.known["flops"].sum()), case.offer["flops"].to_numpy()
    for rows in next_runs.choices(case, method, budget, 3):
        assert 0 < len(rows) <= next_runs.MANY and len({*rows}) == len(rows)
        assert cost[rows].sum() <= budget * (1 + 1e-9)
    if method == "dearest":
        assert cost[rows[0]] == cost[cost <= budget].max()
