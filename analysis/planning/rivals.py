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
    def decides(self) -> bool:
        """Whether one run there can tell the laws apart at all."""
        return self.deviations >= LEAST

    @property
    def text(self) -> str:
        side = "above" if self.apart > 0 else "below"
        text = f"{self.other} lies {abs(self.apart):.2%} {side} {self.first} there, {self.deviations:.1f} sd"
        return text if self.decides else f"{text}, where they differ most: no cell on offer decides"


@dataclass(frozen=True)
class Told(Part):
    """Laws that runs tell apart already: the ``other`` differs from the ``first`` by the log ratio ``apart``
    at the run ``label``, ``deviations`` standard deviations."""

    label: str
    first: str
    other: str
    apart: float
    deviations: float

    @property
    def text(self) -> str:
        side = "above" if self.apart > 0 else "below"
        return (
            f"the runs that are there tell {self.other} from {self.first} already: it lies "
            f"{abs(self.apart):.2%} {side} at {self.label}, {self.deviations:.1f} sd"
        )


ENOUGH = 2.0  # standard deviations at a run that is there, beyond which no further one has to decide
LEAST = 1.0  # standard deviations, below which a run decides nothing
APART = np.log(2.0)  # in log of inputs, together: cells nearer than that are much the same


def decisions(fits: Mapping[str, Fit], cells: pd.DataFrame, count: int = 3) -> list[Decision]:
    """Find for each law but the first the cells that best tell it from the first: the most squared standard
    deviations for each FLOP among cells that reach half of the most there is and lie apart. Where none
    decides, it is the one where they differ most.

    Args:
        fits: usable fits of one table by the names of their laws.
        cells: the inputs of these laws, and ``cost``.
        count: cells for each law.
    """
    first, *others = fits
    cost, run, found = cells["cost"].to_numpy(float), noise_of(fits[first]).run, list[Decision]()
    own: Any = fits[first].predict(cells).frame
    places = np.log(own[[x for x in "ND" if x in own] or ["C"]].to_numpy(float))
    for name in others:
        apart, size = _apart(own, fits[name].predict(cells).frame, run)
        best = int(np.argmax(size))
        worth = np.where(size >= max(0.5 * size[best], LEAST), size**2 / cost, 0.0)
        chosen = _spread(worth, places, count) or ([best] if size[best] > 0 else [])
        found += [Decision(i, float(cost[i]), first, name, float(apart[i]), float(size[i])) for i in chosen]
    return found


def told_apart(fits: Mapping[str, Fit], runs: pd.DataFrame) -> list[Told]:
    """Find the laws that differ from the first by more than ``ENOUGH`` standard deviations at a run that both
    are fitted to.

    Args:
        fits: usable fits of one table by the names of their laws.
        runs: that table: the inputs of these laws, and ``label`` where there is one.
    """
    (first, leading), *others = fits.items()
    own, run = leading.predict(runs).frame, noise_of(leading).run
    named: Any = runs.get("label", runs.index)
    labels = [str(x) for x in named]
    found = list[Told]()
    for name, other in others:
        apart, size = _apart(own, other.predict(runs).frame, run)
        most = int(np.argmax(size))
        if size[most] > ENOUGH:
            found.append(Told(labels[most], first, name, float(apart[most]), float(size[most])))
    return found


def _apart(own: Any, other: Any, run: float) -> tuple[np.ndarray, np.ndarray]:
    """The log ratios (m,) of the losses that two laws predict, and their size in standard deviations of a
    ``run`` there and of both laws."""
    apart = np.log(other["loss"].to_numpy() / own["loss"].to_numpy())
    error = np.sqrt(run**2 + own["se_log"].to_numpy() ** 2 + other["se_log"].to_numpy() ** 2)
    return apart, np.nan_to_num(np.abs(apart) / error)


def _spread(worth: np.ndarray, places: np.ndarray, count: int) -> list[int]:
    """At most so many cells of the most ``worth`` (m,), none of them near another in ``places`` (m, X)."""
    chosen = list[int]()
    for i in map(int, np.argsort(-worth, kind="stable")):
        if len(chosen) == count or not worth[i] > 0:
            break
        if all(np.abs(places[i] - places[other]).sum() >= APART for other in chosen):
            chosen.append(i)
    return chosen
