"""The methods of benchmarks/scalebench.py: budgets, initial designs, and how residuals are split."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.laws.lookup import require
from analysis.planning.field import Field, Misfit, places
from analysis.planning.prior import NoiseLevel
from analysis.solve.problem import Loss, Problem

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from buying import beliefs, methods  # noqa: E402
from buying.instances import Group, Outputs  # noqa: E402

PARAMS = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}


def problem(n, d):
    law = require("chinchilla")
    inputs = {"N": np.asarray(n, float), "D": np.asarray(d, float)}
    return Problem(law, inputs, law.values(PARAMS, inputs), Loss(space="raw"))


@pytest.fixture(scope="module")
def group():
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e8, 1e10, 6)))
    pool, target = problem(n, d), problem([3e9], [6e10])
    return Group(n * d / 1e15, [Outputs(pool, target)], [np.arange(len(n))], 5, 1)


@pytest.mark.parametrize("method", methods.METHODS)
def test_no_method_spends_more_than_its_budget_and_ours_knows_the_law(group, method):
    bought = np.zeros(len(group.cost), bool)
    budget = 0.05 * group.cost.sum()
    if method in methods.CHOOSE:
        bought = methods.planned(group, method, bought, budget)
        found, truth = group.scored(group.fit(bought))
        assert found == pytest.approx(truth, rel=1e-4)
    else:
        bought = methods.filled(np.argsort(group.cost), group.cost, bought, budget)
    assert 0.5 * budget < group.cost[bought].sum() <= budget * (1 + 1e-9)
    assert not (~bought & (group.cost <= budget - group.cost[bought].sum())).any()


def test_the_initial_design_is_the_cheapest_runs_and_one_where_none_fits_two_percent(group):
    first = methods.initial(group, 0.01 * group.cost.sum())
    assert first.sum() == 12 and group.cost[first].max() <= group.cost[~first].min()
    dear = replace(group, cost=np.full(len(group.cost), 1.0))
    assert methods.initial(dear, 5.0).sum() == 1 and methods.initial(dear, 0.5).sum() == 0


@pytest.mark.parametrize(("noise", "bend"), [(0.03, 0.0), (0.0, 0.03)])
def test_residuals_are_split_into_noise_and_misfit(group, noise, bend):
    pool = group.outputs[0].pool
    at, rng, shares = places(pool.inputs), np.random.default_rng(0), []
    count, cells = len(group.cost), np.arange(len(group.cost))
    for _ in range(10):
        middle = at[-1]
        cov = Misfit(bend).covariance(at, middle) + (noise**2 + 1e-12) * np.eye(count)
        residuals = np.linalg.cholesky(cov) @ rng.standard_normal(count)
        plain = Field(pool, pool.coordinates(PARAMS), Misfit(1e-9), NoiseLevel(0.01), cells,
                      np.zeros((0, 5)), cells[-1:])  # fmt: skip
        found = beliefs.apart(plain, cells, residuals, float(residuals.std()), 2.5)
        shares.append(found.misfit.size**2 / (found.misfit.size**2 + found.noise.run**2))
    assert np.mean(shares) < 0.3 if bend == 0 else np.mean(shares) > 0.6


def test_shuffled_runs_keep_their_inputs_costs_and_losses(group):
    """Two outputs in one problem, as of the mixtures of domains."""
    pool = group.outputs[0].pool
    twice = replace(pool, inputs={x: np.tile(v, 2) for x, v in pool.inputs.items()},
                    target=np.append(pool.target, 1 + pool.target), group=np.repeat([0, 1], len(group.cost)),
                    labels=("1", "2"), own=("E",))  # fmt: skip
    both = replace(group, outputs=[replace(group.outputs[0], pool=twice)], rows=[np.tile(group.rows[0], 2)])
    mixed = both.shuffled(np.random.default_rng(1))
    found, count = mixed.outputs[0].pool, len(group.cost)
    assert (mixed.cost != group.cost).any() and sorted(mixed.cost) == sorted(group.cost)
    for part in (slice(count), slice(count, None)):
        assert found.inputs["N"][part] * found.inputs["D"][part] == pytest.approx(mixed.cost * 1e15)
    assert found.target[count:] == pytest.approx(1 + found.target[:count])
    assert (found.group == twice.group).all()


@pytest.mark.slow
def test_what_is_kept_is_not_run_again(published, tmp_path):
    kept = tmp_path / "scores.jsonl"
    chosen = ["--task", "parallel", "--law", "sl_9", "--method", "random", "--repeats", "1"]
    command = [sys.executable, str(ROOT / "benchmarks" / "scalebench.py"), *chosen, "--scores", str(kept)]
    environment = os.environ | {"SCALING_PUBLISHED_DATA": str(published)}

    def told():
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    first, rows = told(), kept.read_text().splitlines()
    assert "parallel sl_9 random 0" in first and len(rows) == 1
    changed = json.loads(rows[0]) | {"scores": [0.25, 0.5]}
    kept.write_text(json.dumps(changed) + "\n")
    again = told()
    assert "sl_9 random 0" not in again and "1%: random +0.25" in again and "5%: random +0.50" in again
