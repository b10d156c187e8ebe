"""How far laws were off beyond their data, on published runs: the part of a forecast's error that neither the
law's uncertainty nor the noise of a run explains.

Its standard deviation, in log loss, is ``kappa`` b^p (c g)^(1 - p): g is the improvement in log loss that
the law promises from the data to the target (:mod:`analysis.fits.promise`), c the share of it that an error
is where nothing is known of the table, and b the error of a back-test on the table itself. Laws predict too
high more often than too low, by as much at any distance: by ``mean`` times what that standard deviation is at
``FULL`` times the compute of the data, g there by the slope that the law has at the largest budget. Tables
differ in how wrong a law is; ``kappa`` is the median over families of tables, and ``spread`` the standard
deviation of its logarithm among them. ``benchmarks/forecasts.py`` derives the constants and writes them with
the tables they are from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

FILE = "discrepancy.json"
FULL = 2.0  # times beyond the data, from where on a forecast is that of the refit, and as much too high


@dataclass(frozen=True)
class Discrepancy:
    """``mean``: of log(predicted / measured), in standard deviations at ``FULL``; ``weight``: the power of C
    / max C by which rows are weighted in the refit behind a forecast; ``backtest``: p, and ``worse``: p where
    the back-test is worse than c g; ``promised``: c. ``origin``: date, sets and scores of the derivation."""

    kappa: float
    spread: float
    mean: float
    weight: float
    backtest: float
    worse: float
    promised: float
    origin: dict[str, Any]

    def sd(self, gain: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """The standard deviation of log loss (m,).

        Args:
            gain: g, the improvement in log loss that the law promises at each target (m,).
            own: b, the error of log loss in the table's back-test, grown to each target (m,); None: the table
                has no back-test.
        """
        promised = self.promised * np.maximum(gain, 0.0)
        if own is None:
            return self.kappa * promised
        power = np.where(own > promised, self.worse, self.backtest)
        return self.kappa * own**power * promised ** (1 - power)

    def lean(self, gain: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
        """By how much forecasts of a law are expected to be too high, of log loss (m,), at any distance.

        Args:
            gain: g from the largest budget to ``FULL`` times that (m,).
            own: b there, as of :meth:`sd`.
        """
        return self.mean * self.sd(gain, own)

    @property
    def farthest(self) -> float:
        """Times beyond the compute of the data, of the farthest forecast that they were derived from."""
        return self.origin["farthest"]

    @property
    def unscaled(self) -> Discrepancy:
        """With kappa and mean 1."""
        return replace(self, kappa=1.0, mean=1.0)


@cache
def shipped() -> Discrepancy:
    """The constants that forecasts use."""
    return Discrepancy(**json.loads(files("analysis.fits").joinpath(FILE).read_text()))
