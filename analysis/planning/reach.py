"""How far a target lies beyond runs, and how wrong laws were there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.fits.discrepancy import Discrepancy, shipped
from analysis.fits.extrapolation import Own
from analysis.fits.promise import GROWTH, promise
from analysis.planning.information import Information
from analysis.solve.problem import Problem


@dataclass(frozen=True)
class Reach:
    """Of m cells and one target. ``problem``: the law at ``point`` (1, P), plain coordinates; ``at`` the
    target, by input of the law; ``places`` (m, X): logs of C and of the inputs that grow with a family, as
    ``inputs`` names them; ``target`` (X,) likewise; ``own``: the back-test of the table, None without;
    ``constants`` of the discrepancy."""

    problem: Problem
    point: np.ndarray
    at: Mapping[str, float]
    inputs: tuple[str, ...]
    places: np.ndarray
    target: np.ndarray
    own: Own | None
    constants: Discrepancy

    @classmethod
    def of(cls, seen: Information, at: Mapping[str, float], own: Own | None = None) -> Reach:
        """Take the cells of ``seen`` and a target ``at`` N, D, C and other inputs of the law."""
        law = seen.problem.law.inputs
        inputs = ("C", *(x for x in law if x in GROWTH and x != "C"))
        places = np.log(np.stack([seen.frame[x].to_numpy(float) for x in inputs], axis=1))
        target = np.log(np.array([at[x] for x in inputs], float))
        point, where = seen.problem.shift(seen.u, 1.0)[None], {x: float(at[x]) for x in law}
        return cls(seen.problem, point, where, inputs, places, target, own, shipped())

    def ends(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The least and the most of cells (X,), open where there are none."""
        some = self.places[rows]
        return some.min(axis=0, initial=np.inf), some.max(axis=0, initial=-np.inf)

    def variance(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """Of the discrepancy in log loss (k,), where runs reach from ``low`` to ``high`` (k, X). Of the same
        ends it is kept: most purchases reach no further than those before."""
        key = low.tobytes() + high.tobytes()
        if key not in self._kept:
            self._kept[key] = self._variance(low, high)
        return self._kept[key]

    @cached_property
    def _kept(self) -> dict[bytes, np.ndarray]:
        return {}

    def _variance(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        beyond = np.maximum(0.0, self.target - high) - np.maximum(0.0, low - self.target)
        each, same = np.unique(beyond, axis=0, return_inverse=True)  # most cells reach no further
        by = dict(zip(self.inputs, each.T, strict=True))
        h, at = by["C"], {x: np.full(len(each), value) for x, value in self.at.items()}
        alone = {x: by[x] for x in self.inputs if x in self.at}
        gain = promise(self.problem, self.point, at, alone, h, np.zeros(len(each), int))[0]
        own = None if self.own is None else self.own.grown(np.abs(h))
        return (self.constants.sd(gain, own) ** 2)[same.ravel()]

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
