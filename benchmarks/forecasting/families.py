"""The discrepancy's constants: its mean, its scale (a median over families of tables), and how they differ.

Errors e of log loss are normal about mean kappa_f l with variance law^2 + run^2 + kappa_f^2 u^2, u the
discrepancy and l its mean where both constants are 1, and log kappa_f is normal over families. The targets of
a split are nearly one error, so that together they count as one; ``kappa`` = exp(mean of log kappa_f). All
are those of the largest marginal likelihood.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize

LOG_KAPPA = np.linspace(np.log(0.02), np.log(6.0), 241)
MEANS = np.arange(0, 3.01, 0.05).round(2)
LEAST_SPREAD = 0.05
PRIOR_SPREAD = (np.log(0.5), 1.0)  # of log spread, normal: few families say little of it

Likelihoods = dict[str, np.ndarray]  # of each family, the log likelihood of its rows at each of LOG_KAPPA


@dataclass(frozen=True)
class Scale:
    """``kappa``, the ``spread`` of its logarithm among families, and the ``mean`` of errors."""

    kappa: float
    spread: float
    mean: float


def likelihoods(rows: pd.DataFrame, mean: float) -> Likelihoods:
    """Of rows as :func:`forecasting.pairs.pairs` gives them."""
    kappa = np.exp(LOG_KAPPA)[:, None]
    error = (rows["centre"] - rows["y"]).to_numpy() - mean * kappa * rows["lean"].to_numpy()
    known, unscaled = (rows["law"] ** 2 + rows["run"] ** 2).to_numpy(), rows["unscaled"].to_numpy()
    share = 1 / rows.groupby(["set", "split"])["y"].transform("size").to_numpy()
    variance = known + (kappa * unscaled) ** 2
    each = share * (-0.5 * np.log(variance) - 0.5 * error**2 / variance)
    return {str(f): each[:, (rows["family"] == f).to_numpy()].sum(axis=1) for f in rows["family"].unique()}


def scale(found: Mapping[str, np.ndarray]) -> tuple[float, float, float]:
    """kappa, the spread of its logarithm among families, and the log of the marginal likelihood there."""
    tops = {family: values.max() for family, values in found.items()}

    def against(p: np.ndarray) -> float:
        spread = np.exp(p[1]) + LEAST_SPREAD
        prior = np.exp(-0.5 * ((LOG_KAPPA - p[0]) / spread) ** 2)
        prior /= prior.sum()
        marginal = sum(np.log(prior @ np.exp(values - tops[f])) for f, values in found.items())
        return -marginal + 0.5 * ((p[1] - PRIOR_SPREAD[0]) / PRIOR_SPREAD[1]) ** 2

    best = minimize(against, np.log([0.6, 0.5]), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
    return (
        float(np.exp(best.x[0])),
        float(np.exp(best.x[1]) + LEAST_SPREAD),
        float(sum(tops.values()) - best.fun),
    )


def constants(at: Mapping[float, Likelihoods], families: Iterable[str]) -> Scale:
    """Those of ``families``, from the likelihoods at each of ``MEANS``."""
    chosen = list(families)
    fitted = {mean: scale({f: found[f] for f in chosen}) for mean, found in at.items()}
    mean = max(fitted, key=lambda mean: fitted[mean][2])
    return Scale(*fitted[mean][:2], float(mean))


def kappas(found: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Of each family alone, the range of kappa that its rows leave (90 % of a likelihood ratio)."""
    out = {}
    for family, values in found.items():
        inside = np.exp(LOG_KAPPA[values > values.max() - 1.35])
        out[family] = (float(inside.min()), float(inside.max()))
    return out
