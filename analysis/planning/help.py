"""Which runs would help: cells priced and ranked by what they do to the forecast of a target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Complaint
from analysis.fits.allocation import allocation, best, cost_of
from analysis.fits.intervals import NORMAL
from analysis.planning.expected import Target, optimum_of
from analysis.planning.field import Field, Misfit, problem_of
from analysis.planning.information import Information, slopes
from analysis.planning.prior import Prior
from analysis.planning.selection import Choice, Market
from analysis.results import Part

Goal = Literal["loss", "size"]
GOALS: dict[Goal, str] = {"loss": "loss", "size": "N*"}
HALF = 0.5
MOST = 24  # runs that are proposed to halve an interval
LITTLE = 0.05  # of the variance: where nothing halves it, runs that take less are not proposed
SAME = 0.02  # of log N, within which sizes are the same


@dataclass(frozen=True)
class Advice(Part):
    """A run to train: the row ``offer`` of the cells, its N, D, C, what it ``cost`` adds, half of the 90 %
    interval of the target ``before`` and ``after`` it, in logs, ``per_flop``, the share of the variance that
    it takes for each FLOP, and ``why`` it helps, in words."""

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
    which to train them; half-widths of the 90 % interval of log loss or log N* ``before`` and ``after``."""

    goal: Goal
    target: Target
    runs: tuple[Advice, ...]
    before: float
    after: float
    offered: int

    @property
    def cost(self) -> float:
        return sum(run.cost for run in self.runs)

    @property
    def halves(self) -> bool:
        return bool(self.runs) and self.after <= self.before * HALF * 1.001

    @property
    def name(self) -> str:
        place = f"C = {self.target.compute:.4g}" if self.goal == "size" else self.target.label
        return f"{GOALS[self.goal]}({place})"

    def to_dict(self) -> dict[str, Any]:
        numbers = {"half_width_before": self.before, "half_width_after": self.after, "flops": self.cost}
        return {"goal": self.name, **numbers, "halves": self.halves, "offered": self.offered,
                "runs": [vars(run) for run in self.runs]}  # fmt: skip


@dataclass(frozen=True)
class Shop:
    """Runs that are there and cells that may be bought, with the target, under a prior: ``frame`` has both,
    by columns N, D, C, ``known`` and ``cost``."""

    prior: Prior
    frame: pd.DataFrame
    field: Field
    target: Target
    goal: Goal
    offered: int

    @classmethod
    def of(
        cls,
        prior: Prior,
        runs: pd.DataFrame,
        cells: pd.DataFrame,
        target: Target,
        *,
        goal: Goal = "loss",
        misfit: Misfit | None = None,
        around: Sequence[float] = (1.0,),
        convention: str = "total",
    ) -> Shop:
        """Lay out cells beside the runs that are there.

        Args:
            prior: the law, its values and noise.
            runs: those planned or trained, as :meth:`Information.of` takes them.
            cells: the same columns for those on offer, and ``cost`` in FLOPs.
            target: what is forecast.
            goal: its loss, or N* at its compute.
            misfit: how the law bends; left out: as usual.
            around: of a loss, multiples of the target's N at its compute, whose losses count alike: with
                several, N* and the exponents have to be known too.
            convention: which N and C.

        Raises:
            AnalysisError: there is nothing to choose from, or the law has no N* there.
        """
        both = pd.concat(
            [runs.assign(offer=np.nan, cost=np.nan), cells.assign(offer=np.arange(len(cells), dtype=float))],
            ignore_index=True,
        )
        if not len(cells):
            raise AnalysisError(Complaint("no run to choose from", hint="widen sizes, budgets or D/N"))
        seen = Information.of(prior, both, convention=convention)
        frame, law = seen.frame.assign(cluster=seen.cluster), prior.law
        known = frame[frame["offer"].isna()]
        by = known if len(known) > 1 else frame
        price = cost_of(by, convention)[0] if allocation(seen.problem, frame) else None
        places = _places(prior, target, price, around)
        inputs = {x: np.append(frame[x].to_numpy(float), places[x]) for x in law.inputs}
        more = np.arange(len(places[law.inputs[0]]))
        cluster = np.append(seen.cluster, seen.cluster.max() + 1 + more)
        derived = None
        if goal == "size":
            if price is None or not target.compute:
                raise AnalysisError(Complaint("no N* to plan for", hint="give compute, and a law in N and D"))
            problem = problem_of(prior, inputs)
            quantity = optimum_of(problem, price, target.compute, size=True)
            derived = slopes(problem, problem.coordinates(prior.params), quantity)
        field = Field.of(
            prior, inputs, cluster, misfit or Misfit(), derived=derived, targets=len(frame) + more
        )
        return cls(prior, frame, field, target, goal, len(cells))

    def market(self) -> Market:
        rows, cells = len(self.frame), len(self.field.cluster)
        index = np.arange(cells + len(self.field.derived))
        known = np.append(self.frame["offer"].isna().to_numpy(), np.zeros(len(index) - rows, bool))
        cost = np.append(self.frame["cost"].to_numpy(float), np.full(len(index) - rows, np.nan))
        targets = index >= cells if self.goal == "size" else (index >= rows) & (index < cells)
        return Market([self.field], known, ~known & (index < rows), targets, cost)

    def halving(self) -> Help:
        """Choose the cheapest cells found that halve the target's interval; where none do, those that help
        most: up to the first that takes less than ``LITTLE`` of the variance."""
        market = self.market()
        choice = market.buy(most=MOST, until=market.before * HALF)
        if choice.after > market.before * HALF:
            choice = market.buy(most=MOST, powers=(0.0,)).while_worth(LITTLE)
        return self._help(choice)

    def within(self, budget: float, most: int) -> Help:
        """Choose at most so many cells within a budget of FLOPs."""
        return self._help(self.market().buy(budget, most=most))

    def _help(self, choice: Choice) -> Help:
        runs, bought = list[Advice](), cast(pd.DataFrame, self.frame[self.frame["offer"].isna()])
        for one in choice.purchases:
            row: Any = self.frame.iloc[one.cell]
            taken = 1 - (one.after / one.before) ** 2
            runs.append(
                Advice(
                    int(row["offer"]), float(row["N"]), float(row["D"]), float(row["C"]), one.cost,
                    NORMAL * one.before, NORMAL * one.after, taken / one.cost, _why(bought, row),
                )
            )  # fmt: skip
            bought = pd.concat([bought, self.frame.iloc[[one.cell]]])
        ends = NORMAL * choice.before, NORMAL * choice.after
        return Help(self.goal, self.target, tuple(runs), *ends, self.offered)


def _place(prior: Prior, target: Target, price: Any) -> dict[str, float]:
    """The inputs of the law at a target: given, or of compute alone the best N and D."""
    law = prior.law
    if not target.alone or law.inputs == ("C",):
        return {x: target.input(law, x) for x in law.inputs}
    if price is None or set(law.inputs) != {"N", "D"}:
        message = f"target {target.label}: law {law.name!r} has no best N and D at a compute"
        raise AnalysisError(
            Complaint(message, hint="give the inputs of a run, such as params=7e9,tokens=1.4e11")
        )
    c = np.array([target.compute])
    problem = problem_of(prior, {"N": np.array([1e3, 1e12]), "D": np.array([1e3, 1e13])})
    n = best(problem, problem.shift(problem.coordinates(prior.params), 1.0)[None], price, c)[0]
    if not np.isfinite(n).all():
        raise AnalysisError(
            Complaint(f"target {target.label}: no best size there", hint="ask for another compute")
        )
    return {"N": float(n[0]), "D": float(price.tokens(n, c)[0])}


def _places(prior: Prior, target: Target, price: Any, around: Sequence[float]) -> dict[str, np.ndarray]:
    """The inputs at a target (k,), and at others of its compute whose N is ``around`` times the target's."""
    at = _place(prior, target, price)
    if len(around) == 1 or price is None or set(prior.law.inputs) != {"N", "D"}:
        return {x: np.array([value]) for x, value in at.items()}
    c = float(price.flops(at["N"], at["D"]))
    n = at["N"] * np.asarray(around, float)
    return {"N": n, "D": np.asarray(price.tokens(n, c), float)}


def _why(bought: pd.DataFrame, row: Any) -> str:
    """In words what a cell adds to the runs that are there."""
    if not len(bought):
        return "the first run"
    n, parts = np.log(bought["N"].to_numpy(float)), []
    same = np.abs(n - np.log(row["N"])) < SAME
    if same.any():
        d = bought["D"].to_numpy(float)[same]
        if row["D"] > 1.01 * d.max():
            parts.append(f"a longer run of a size that is there, {row['D'] / d.max():.2g}x its tokens")
        elif row["D"] < d.min() / 1.01:
            parts.append("a shorter run of a size that is there")
        else:
            parts.append("another horizon of a size that is there")
    elif row["N"] > np.exp(n.max()):
        parts.append(f"a size {row['N'] / np.exp(n.max()):.2g}x the largest")
    else:
        parts.append("a new size" if row["N"] > np.exp(n.min()) else "a smaller size")
    most = float(bought["C"].to_numpy(float).max())
    if row["C"] > 1.01 * most:
        parts.append(f"C {row['C'] / most:.2g}x the most so far")
    ratio, there = row["D"] / row["N"], (bought["D"] / bought["N"]).to_numpy(float)
    if ratio > 1.3 * there.max() or ratio < there.min() / 1.3:
        parts.append(f"D/N = {ratio:.3g}, outside {there.min():.3g} to {there.max():.3g}")
    return ", ".join(parts)
