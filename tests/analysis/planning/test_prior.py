"""The noise and the misfit of a fit as a prior for further runs: parts of its residuals."""

import numpy as np
import pandas as pd
import pytest

from analysis import fit
from analysis.fits.result import Fit
from analysis.planning.field import BEND, Misfit, misfit_of, places
from analysis.planning.prior import NoiseLevel, Prior, noise_of
from analysis.planning.shop import Shop
from analysis.planning.split import split_of
from analysis.planning.target import Target

SEEDS = 0.002


def bent(seeds: int) -> Fit:
    """Runs of which every other size is 2 % worse, with repeats of one cell."""
    rng = np.random.default_rng(0)
    cells = [(n, n * m, "fit", 0) for n in 5e7 * 2.0 ** np.arange(8) for m in (5, 10, 20, 40, 80)]
    cells += [(5e7, 1e9, "noise", seed) for seed in range(1, seeds)]
    frame = pd.DataFrame(cells, columns=["params", "tokens", "role", "seed"])
    n, d = frame["params"], frame["tokens"]
    loss = (1.7 + 406 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, SEEDS, len(frame)))
    odd = np.log2(n / 5e7).round() % 2
    return fit("chinchilla", frame.assign(flops=6 * n * d, loss=loss * np.exp(0.02 * odd)), bootstrap=0)


def test_what_seeds_do_not_explain_is_misfit_and_counts_once() -> None:
    found = bent(seeds=12)
    noise, misfit = noise_of(found, beside_misfit=True), misfit_of(found)
    assert found.noise.sd > 3 * SEEDS and found.noise.seeds is not None
    of_runs = noise.run**2 + noise.shared**2
    assert of_runs == pytest.approx(found.noise.seeds.sd_log**2)
    assert of_runs + misfit.size**2 == pytest.approx(found.noise.sd**2)
    assert noise.shared > noise.run  # runs of one size are alike
    alone = noise_of(found)
    assert alone.run**2 + alone.shared**2 == pytest.approx(found.noise.sd**2)


def test_without_repeated_seeds_all_residuals_are_noise() -> None:
    found = bent(seeds=1)
    noise = noise_of(found, beside_misfit=True)
    assert noise.run**2 + noise.shared**2 == pytest.approx(found.noise.sd**2)
    assert misfit_of(found).size == BEND


def test_a_prior_of_a_fit_keeps_its_misfit_apart_where_cells_are_ranked() -> None:
    found = bent(seeds=12)
    prior = Prior.of_fit(found, "here")
    assert prior.misfit == misfit_of(found).size and prior.noise == noise_of(found)
    apart = prior.noise.without(prior.misfit)
    beside = noise_of(found, beside_misfit=True)
    assert (apart.run, apart.shared) == pytest.approx((beside.run, beside.shared))
    cells = pd.DataFrame({"params": [1e10, 1e10], "tokens": [1e11, 4e11], "seed": 0})
    cells = cells.assign(flops=6 * cells["params"] * cells["tokens"], cost=1.0)
    runs = cells.assign(params=[1e8, 1e9])[["params", "tokens", "flops", "seed"]]
    shop = Shop.of(prior, runs, cells, Target({"N": 1e11, "D": 1e12, "C": 6e23}, "here"))  # type: ignore[arg-type]
    assert shop.field.misfit.size == prior.misfit and shop.field.noise == apart
    assert Prior.of_fit(found, "here", NoiseLevel(0.001)).misfit == 0


def test_residuals_are_split_by_whether_near_runs_are_alike() -> None:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(5e7, 5e9, 6), np.geomspace(1e9, 1e11, 6)))
    runs = pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "seed": 0, "role": "fit"})
    law, target = 1.7 + 406 / n**0.34 + 410 / d**0.28, {"N": 2e10, "D": 4e11}
    bend = Misfit(1.0).covariance(places({"N": n, "D": d}), np.log10([2e10, 4e11]))
    found = list[float]()
    for size in (0.0, 0.02):
        spread = size**2 * bend + 0.005**2 * np.eye(len(n))
        error = np.random.default_rng(0).multivariate_normal(np.zeros(len(n)), spread)
        made = fit("chinchilla", runs.assign(loss=law * np.exp(error)), bootstrap=0)
        noise, misfit = split_of(made, Prior.of_fit(made, "here"), target)
        found.append(misfit.size)
    assert BEND <= found[0] < 1.2 * BEND and 0.5 < found[1] / 0.02 < 2 and noise.run > 0.005
    there = Target({**target, "C": 4.8e22}, "here")
    shop = Shop.of(Prior.of_fit(made, "here"), runs, runs.assign(tokens=3 * d, cost=1.0), there, fit=made)
    assert (shop.field.noise, shop.field.misfit) == (noise, misfit)


def test_noise_that_runs_of_a_trunk_share_is_no_misfit() -> None:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(5e7, 5e9, 8), np.geomspace(1e9, 1e11, 6)))
    trunk = np.tile(np.arange(8), 6)
    runs = pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "role": "fit", "trunk_id": trunk})
    law, found = 1.7 + 406 / n**0.34 + 410 / d**0.28, list[tuple[float, float, float]]()
    for draw in range(4):
        rng = np.random.default_rng(draw)
        error = rng.normal(0, SEEDS, len(n)) + rng.normal(0, 0.006, 8)[trunk]
        made = fit("chinchilla", runs.assign(loss=law * np.exp(error)), bootstrap=0)
        noise, misfit = split_of(made, Prior.of_fit(made, "here"), {"N": 2e10, "D": 4e11})
        found.append((noise.run, noise.shared, misfit.size))
    run, shared, size = np.sqrt(np.mean(np.square(found), axis=0))
    assert shared > 0.003 > 1.5 * run and size < 1.2 * BEND


def test_of_many_runs_those_near_the_target_say_what_is_misfit(monkeypatch: pytest.MonkeyPatch) -> None:
    n, d = np.geomspace(5e7, 5e9, 200), np.geomspace(1e9, 1e11, 200)
    d = np.random.default_rng(1).permutation(d)
    error = np.random.default_rng(0).normal(0, np.where(n < 5e8, 5 * SEEDS, SEEDS))
    loss = (1.7 + 406 / n**0.34 + 410 / d**0.28) * np.exp(error)
    runs = pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "loss": loss, "role": "fit"})
    made = fit("chinchilla", runs, bootstrap=0)
    prior, target = Prior.of_fit(made, "here"), {"N": 2e11, "D": 1e10}
    wide = split_of(made, prior, target)[0].run
    monkeypatch.setattr("analysis.planning.split.MOST", 60)
    near = split_of(made, prior, target)[0].run
    assert near < 0.6 * wide and near == pytest.approx(SEEDS, rel=0.4)
