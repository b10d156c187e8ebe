"""Linearised covariances against brute force, on straight lines where they are exact."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import fit
from analysis.fits.covariance import sandwich, satterthwaite
from analysis.solve.multistart import solve
from analysis.solve.problem import Loss

CLUSTER = np.repeat(np.arange(8), 5)


def line(noise: np.ndarray) -> pd.DataFrame:
    n = np.exp(np.random.default_rng(1).uniform(7, 14, len(noise)))
    return pd.DataFrame({"params": n, "tokens": n, "loss": np.exp(1 - 0.2 * np.log(n) + noise)})


def problem(table, **options):
    found = fit("power-params", table, objective="log-ls", bootstrap=0, **options).problem
    return found, solve(found).u


def clustered(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.01 * rng.standard_normal(40) + 0.02 * rng.standard_normal(8)[CLUSTER]


@pytest.mark.parametrize("cluster", [CLUSTER, np.arange(40)])
def test_cr3_is_the_jackknife_of_a_line(cluster):
    held, u = problem(line(clustered(0)))
    x = -(held.logs["N"] - held.centre["N"])

    def line_without(group: int) -> np.ndarray:
        kept = cluster != group
        return np.polyfit(x[kept], held.y[kept], 1)[::-1]

    moved = np.array([line_without(g) for g in range(cluster.max() + 1)]) - u
    np.testing.assert_allclose(sandwich(held, u, cluster, "cr3"), moved.T @ moved, rtol=1e-6)


def test_cr2_of_a_mean_has_textbook_variance_and_degrees():
    held, u = problem(line(clustered(2)), fixed={"alpha": 0.2})
    r = held.y - held.model.fitted(u[None])[0]
    alone, rows = np.arange(40), len(held.y)
    assert sandwich(held, u, alone, "cr2")[0, 0] == pytest.approx(r @ r / (rows - 1) / rows)
    assert satterthwaite(held, u, alone) == pytest.approx(rows - 1)
    assert satterthwaite(held, u, CLUSTER) == pytest.approx(7)


def test_a_sandwich_of_huber_residuals_is_the_spread_of_estimates():
    """A bread by psi(r) / r, the weights of an iteration, would make it half as wide."""
    held, start = problem(line(np.zeros(400)))
    held = replace(held, loss=Loss(0.003))
    slopes, said = [], []
    for seed in range(80):
        noise = 0.01 * np.random.default_rng(seed).standard_normal(400)
        here = replace(held, target=held.target * np.exp(noise))
        u = solve(here, start=start[None]).u
        slopes.append(u[1])
        said.append(np.sqrt(sandwich(here, u, np.arange(400), "cr3")[1, 1]))
    assert np.mean(said) == pytest.approx(np.std(slopes), rel=0.2)
