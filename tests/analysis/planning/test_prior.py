"""The noise and the misfit of a fit as a prior for further runs: parts of its residuals."""

import numpy as np
import pandas as pd
import pytest

from analysis import fit
from analysis.fits.result import Fit
from analysis.planning.field import BEND, misfit_of
from analysis.planning.prior import noise_of

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
