"""Cells that decide between laws: where fits of the same runs disagree beyond what they and noise allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.fits.result import Fit
from analysis.planning.prior import noise_of
from analysis.results import Part


@dataclass(frozen=True)
class Decision(Part):
    """Cell ``offer`` at a ``cost``, where ``first`` and ``other`` predict losses that differ by the log ratio
    ``apart``, which is ``deviations`` standard deviations of a run there and of both laws."""

    offer: int
    cost: float
    first: str
    other: str
    apart: float
    deviations: float

    @property
    def text(self) -> str:
        return f"{self.first} and {self.other} differ by {self.apart:+.2%} there: {self.deviations:.1f} sd"


def decisions(fits: Mapping[str, Fit], cells: pd.DataFrame, count: int = 3) -> list[Decision]:
    """Find for each law but the first the cells that best tell it from the first: the most squared standard
    deviations for each FLOP among cells that reach half of the most there is.

    Args:
        fits: usable fits of one table by the names of their laws.
        cells: the inputs of these laws, and ``cost``.
        count: cells for each law.
    """
    names = list(fits)
    first, cost = fits[names[0]], cells["cost"].to_numpy(float)
    own: Any = first.predict(cells).frame
    run, found = noise_of(first).run, list[Decision]()
    for name in names[1:]:
        other: Any = fits[name].predict(cells).frame
        apart = np.log(other["loss"].to_numpy() / own["loss"].to_numpy())
        error = np.sqrt(run**2 + own["se_log"].to_numpy() ** 2 + other["se_log"].to_numpy() ** 2)
        size = np.nan_to_num(np.abs(apart) / error)
        worth = np.where(size >= 0.5 * size.max(), size**2 / cost, 0.0)
        for i in np.argsort(-worth, kind="stable")[:count]:
            if size[i] > 0 and worth[i] > 0:
                found.append(
                    Decision(int(i), float(cost[i]), names[0], name, float(apart[i]), float(size[i]))
                )
    return found
