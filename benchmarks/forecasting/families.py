"""The discrepancy's scale: a median over families of tables, and how much they differ.

Errors e of log loss are normal about 0 with variance law^2 + run^2 + kappa_f^2 u^2, u the discrepancy at
kappa = 1, and log kappa_f is normal over families. The targets of a split are nearly one error, so that
together they count as one; ``kappa`` = exp(mean of log kappa_f), at the maximum of the marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import minimize

LOG_KAPPA = np.linspace(np.log(0.02), np.log(6.0), 241)
LEAST_SPREAD = 0.05
PRIOR_SPREAD = (np.log(0.5), 1.0)  # of log spread, normal: few families say little of it


def likelihoods(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Of each family, the log likelihood of its rows at each of ``LOG_KAPPA``, its largest made 0."""
    e2 = ((rows["centre"] - rows["y"]) ** 2).to_numpy()
    known, unscaled = (rows["law"] ** 2 + rows["run"] ** 2).to_numpy(), (rows["unscaled"] ** 2).to_numpy()
    share = 1 / rows.groupby(["set", "split"])["y"].transform("size").to_numpy()
    variance = known + np.exp(2 * LOG_KAPPA)[:, None] * unscaled
    each = share * (-0.5 * np.log(variance) - 0.5 * e2 / variance)
    found = {str(f): each[:, (rows["family"] == f).to_numpy()].sum(axis=1) for f in rows["family"].unique()}
    return {family: values - values.max() for family, values in found.items()}


def scale(found: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """kappa and the spread of its logarithm among families."""

    def against(p: np.ndarray) -> float:
        spread = np.exp(p[1]) + LEAST_SPREAD
        prior = np.exp(-0.5 * ((LOG_KAPPA - p[0]) / spread) ** 2)
        prior /= prior.sum()
        marginal = sum(np.log(prior @ np.exp(values)) for values in found.values())
        return -marginal + 0.5 * ((p[1] - PRIOR_SPREAD[0]) / PRIOR_SPREAD[1]) ** 2

    best = minimize(against, np.log([0.6, 0.5]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    return float(np.exp(best.x[0])), float(np.exp(best.x[1]) + LEAST_SPREAD)


def kappas(found: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Of each family alone, the range of kappa that its rows leave (90 % of a likelihood ratio)."""
    out = {}
    for family, values in found.items():
        inside = np.exp(LOG_KAPPA[values > -1.35])
        out[family] = (float(inside.min()), float(inside.max()))
    return out
