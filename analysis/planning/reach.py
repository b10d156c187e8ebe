"""How far a target lies beyond runs, and how wrong laws were there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.fits.discrepancy import Discrepancy, shipped
from analysis.fits.extrapolation import Own, improvement, steepness
from analysis.planning.information import Information


@dataclass(frozen=True)
class Reach:
    """Of m cells and one target. ``slopes``: - d log L / d log x there, of inputs x of the law (1,);
    ``places`` (m, X): logs of C and of these inputs, as ``inputs`` names them; ``target`` (X,) likewise;
    ``own``: the back-test of the table, None without; ``constants`` of the discrepancy."""

    slopes: Mapping[str, np.ndarray]
    inputs: tuple[str, ...]
    places: np.ndarray
    target: np.ndarray
    own: Own | None
    constants: Discrepancy

    @classmethod
    def of(cls, seen: Information, at: Mapping[str, float], own: Own | None = None) -> Reach:
        """Take the cells of ``seen`` and a target ``at`` N, D, C and other inputs of the law."""
        asked = {x: np.array([value], float) for x, value in at.items()}
        point = seen.problem.shift(seen.u, 1.0)[None]
        slopes = steepness(seen.problem, point, asked, np.zeros(1, int))
        inputs = ("C", *(x for x in slopes if x != "C"))
        places = np.log(np.stack([seen.frame[x].to_numpy(float) for x in inputs], axis=1))
        target = np.log(np.array([at[x] for x in inputs], float))
        return cls(slopes, inputs, places, target, own, shipped())

    def ends(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the most of cells (X,), open where there are none."""
        some = self.places[rows]
        return some.min(axis=0, initial=np.inf), some.max(axis=0, initial=-np.inf)

    def variance(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Of the discrepancy in log loss (k,), where runs reach from ``low`` to ``high`` (k, X)."""
        beyond = np.maximum(0.0, np.maximum(self.target - high, low - self.target))
        each = dict(zip(self.inputs, beyond.T, strict=True))
        gain = improvement(self.slopes, each["C"], {x: each[x] for x in self.slopes})
        own = None if self.own is None else self.own.grown(each["C"])
        return self.constants.sd(gain, own) ** 2

    def sd(self, rows: np.ndarray) -> float:
        """The standard deviation of the discrepancy in log loss, by runs ``rows``; 0 of none, which have no
        law."""
        if not len(rows):
            return 0.0
        low, high = self.ends(rows)
        return float(np.sqrt(self.variance(low[None], high[None])[0]))

    def taken(self, rows: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """By how much each of ``cells`` (k,), trained beside ``rows``, lowers the variance."""
        if not len(rows):
            return np.zeros(len(cells))
        low, high = self.ends(rows)
        now = self.variance(low[None], high[None])[0]
        places = self.places[cells]
        return now - self.variance(np.minimum(low, places), np.maximum(high, places))
