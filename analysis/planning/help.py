"""Runs that would help a forecast: what they cost, and what they do to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.planning.ahead import PARTS, Ahead
from analysis.planning.target import Target, size_name
from analysis.results import Part

Goal = Literal["loss", "size"]
HALF = 0.5
SLIGHT = 0.01  # of the interval: what gains less, one run or all together, is no advice
FURTHER = 1.05  # times the most compute so far: less is not said
SAME = 0.02  # of log N, within which sizes are the same


@dataclass(frozen=True)
class Advice(Part):
    """A run to train: the row ``offer`` of the cells, its N, D, C, what it ``cost`` adds, half of the 90 %
    interval of the forecast ``before`` and ``after`` it, in logs, ``per_flop``, the share of the variance
    that it takes for each FLOP, and ``why`` it helps, in words."""

    offer: int
    N: float
    D: float
    C: float
    cost: float
    before: float
    after: float
    per_flop: float
    why: str


@dataclass(frozen=True)
class Help:
    """What would help a ``goal`` (``loss`` at the target, or ``size``: N* there): ``runs`` in the order in
    which to train them; the forecast ``now`` and ``then``, of log loss or log N*. ``aim``: half of the
    interval that is wanted."""

    goal: Goal
    target: Target
    runs: tuple[Advice, ...]
    now: Ahead
    then: Ahead
    offered: int
    aim: float

    @property
    def before(self) -> float:
        """Half of the 90 % interval now, in logs; infinite where nothing is determined."""
        return self.now.half_width

    @property
    def after(self) -> float:
        return self.then.half_width

    @property
    def cost(self) -> float:
        return sum(run.cost for run in self.runs)

    @property
    def halves(self) -> bool:
        return bool(self.runs) and self.after <= self.before * HALF * 1.001

    @property
    def reaches(self) -> bool:
        """Whether the interval becomes as narrow as is wanted."""
        return bool(self.runs) and self.after <= self.aim * 1.001

    @property
    def name(self) -> str:
        return size_name(self.target.compute or 0.0) if self.goal == "size" else f"loss({self.target.label})"

    def to_dict(self) -> dict[str, Any]:
        numbers = {"half_width_before": self.before, "half_width_after": self.after}
        runs = [vars(run) | _finite({"before": run.before, "after": run.after}) for run in self.runs]
        return {"goal": self.name, **_finite(numbers), "flops": self.cost, "halves": self.halves,
                "aim": self.aim, "reaches": self.reaches, "offered": self.offered,
                "now": _finite(vars(self.now)), "then": _finite(vars(self.then)), "runs": runs}  # fmt: skip


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in values.items()}


def falls(before: Ahead, after: Ahead) -> str:
    """The part of a forecast that a run lowers most, with its standard deviation before and after it; empty
    of N*, which has one part, and of what was open."""
    if not np.isfinite(before.se) or not before.run:
        return ""
    part = max(PARTS, key=lambda x: getattr(before, x) ** 2 - getattr(after, x) ** 2)
    old, new = getattr(before, part), getattr(after, part)
    return f"{part} {old:.2%} to {new:.2%}" if new < old else ""


def why(bought: pd.DataFrame, row: Any) -> str:
    """In words what a cell adds to the runs that are there, and to those proposed before it."""
    if not len(bought):
        return "the first run"
    n, parts = np.log(bought["N"].to_numpy(float)), []
    same = np.abs(n - np.log(row["N"])) < SAME
    if same.any():
        there = same & bought["offer"].isna().to_numpy()
        d = bought["D"].to_numpy(float)[there if there.any() else same]
        size = "a size that is there" if there.any() else "a size proposed above"
        if row["D"] > 1.01 * d.max():
            parts.append(f"a longer run of {size}, {row['D'] / d.max():.2g}x its tokens")
        elif row["D"] < d.min() / 1.01:
            parts.append(f"a shorter run of {size}")
        else:
            parts.append(f"another horizon of {size}")
    elif row["N"] > np.exp(n.max()):
        parts.append(f"a size {row['N'] / np.exp(n.max()):.2g}x the largest")
    else:
        parts.append("a new size" if row["N"] > np.exp(n.min()) else "a smaller size")
    most = float(bought["C"].to_numpy(float).max())
    if row["C"] > FURTHER * most:
        parts.append(f"C {row['C'] / most:.2g}x the most so far")
    ratio, there = row["D"] / row["N"], (bought["D"] / bought["N"]).to_numpy(float)
    if ratio > 1.3 * there.max() or ratio < there.min() / 1.3:
        parts.append(f"D/N = {ratio:.3g}, outside {there.min():.3g} to {there.max():.3g}")
    return ", ".join(parts)
