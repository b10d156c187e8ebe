"""Where the law is right: what the discrepancy costs, and whether a new run is covered."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

import analysis

TRUTH = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
SCALE = 0.007  # standard deviation of log loss; "size": half of its variance common to a size
DESIGNS = {"6x5": (6, 5), "8x8": (8, 8)}
NOISES = ("gauss", "size")
BEYOND = (2.5, 10.0)  # of compute, N and D alike
REPLICATES = 200


def law(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    p = TRUTH
    return p["E"] + p["A"] / n ** p["alpha"] + p["B"] / d ** p["beta"]


def simulate(design: str, noise: str, number: int, beyond: float) -> pd.DataFrame:
    """One row per simulated table, of a run so many times ``beyond``: inside, width of ours; width of
    ``Fit.predict`` at c9265ab, and inside."""
    sizes, horizons = DESIGNS[design]
    n, ratio = (x.ravel() for x in np.meshgrid(5e7 * 2.0 ** np.arange(sizes), 5 * 2.0 ** np.arange(horizons)))
    d, rows = n * ratio, []
    size = np.unique(n, return_inverse=True)[1]
    share = {"gauss": 0.0, "size": 0.5}[noise]
    ahead = {"N": n.max() * np.sqrt(beyond), "D": d[n == n.max()].max() * np.sqrt(beyond)}
    for seed in range(number):
        rng = np.random.default_rng(seed)
        own, common = rng.standard_normal(len(n)), rng.standard_normal(sizes)[size]
        wiggle = SCALE * (np.sqrt(1 - share) * own + np.sqrt(share) * common)
        table = pd.DataFrame(
            {"params": n, "tokens": d, "flops": 6 * n * d, "loss": law(n, d) * np.exp(wiggle)}
        )
        fit = analysis.fit("chinchilla", table, bootstrap=REPLICATES)
        said = fit.predict(**ahead).frame.iloc[0]
        y = np.log(law(ahead["N"], ahead["D"])) + SCALE * rng.standard_normal()
        reach = stats.t.ppf(0.95, fit.intervals.degrees) * np.hypot(said["se_log"], fit.noise.sd)
        rows.append({
            "inside": np.log(said["new_low"]) <= y <= np.log(said["new_high"]),
            "width": np.log(said["new_high"] / said["new_low"]),
            "before": 2 * reach, "inside_before": abs(np.log(said["loss"]) - y) <= reach,
        })  # fmt: skip
    return pd.DataFrame(rows)
