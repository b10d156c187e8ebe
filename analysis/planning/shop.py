"""Cells on offer beside the runs that are there, priced and ranked for a target."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Complaint
from analysis.fits.allocation import allocation, cost_of
from analysis.fits.result import Fit
from analysis.planning.ahead import Ahead, Outlook, outlook_of_loss, outlook_of_size, size_of
from analysis.planning.expectation import LEVEL, SPANS
from analysis.planning.field import BEND, Field, Misfit, problem_of
from analysis.planning.help import HALF, SLIGHT, Advice, Goal, Help, falls, why
from analysis.planning.information import Information, slopes
from analysis.planning.prior import Prior
from analysis.planning.selection import POWERS, Choice, Market, Purchase
from analysis.planning.split import split_of
from analysis.planning.target import Target, optimum_of, place_of, size_name

CLAIMED = {"loss": 0.5 * math.log(SPANS["l"]), "size": 0.5 * math.log(SPANS["N"])}  # half-widths
MOST = 24  # runs that are proposed to halve an interval
LITTLE = 0.05  # of the variance: where nothing halves it, runs that take less are not proposed
DEARER = 1.25  # times the least cost of halving an interval, that fewer runs may have


@dataclass(frozen=True)
class Shop:
    """Runs that are there and cells that may be bought, with the target, under a prior: ``frame`` has both,
    by columns N, D, C, ``offer`` (nan: there) and ``cost``. The ``field`` ranks cells, the ``outlook`` says
    what they do to the forecast. ``place``: the inputs at the target, of a compute the best N and D
    there."""

    prior: Prior
    frame: pd.DataFrame
    field: Field
    outlook: Outlook
    target: Target
    goal: Goal
    offered: int
    place: Mapping[str, float]

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
        fit: Fit | None = None,
        said: Ahead | None = None,
    ) -> Shop:
        """Lay out cells beside the runs that are there.

        Args:
            prior: the law, its values and noise.
            runs: those planned or trained, as :meth:`Information.of` takes them.
            cells: the same columns for those on offer, and ``cost`` in FLOPs.
            target: what is forecast.
            goal: its loss, or N* at its compute.
            misfit: how the law bends, beside the noise of the prior; left out: as the residuals of ``fit``
                have both, or without it as usual, and by as much of that noise as is misfit.
            around: of a loss, multiples of the target's N at its compute, whose losses count alike: with
                several, N* and the exponents have to be known too.
            convention: which N and C.
            fit: of the runs, where they are trained: if usable, it says what the forecast is now.
            said: what it is now, where no fit says it.

        Raises:
            AnalysisError: there is nothing to choose from, the law has no N* there, or the compute of the
                target is not known.
        """
        both = _beside(runs, cells)
        fit = fit if fit is not None and fit.usable else None
        seen = Information.of(prior, both, convention=convention)
        frame, law = seen.frame.assign(cluster=seen.cluster), prior.law
        known = frame["offer"].isna().to_numpy()
        by = frame[known] if known.sum() > 1 else frame
        price = cost_of(by, convention)[0] if allocation(seen.problem, frame) else None
        places = _places(prior, target, price, around)
        inputs = {x: np.append(frame[x].to_numpy(float), places[x]) for x in law.inputs}
        more = np.arange(len(places[law.inputs[0]]))
        cluster = np.append(seen.cluster, seen.cluster.max() + 1 + more)
        derived, look = _outlook(seen, target, price, goal, np.flatnonzero(known), inputs, fit, said)
        apart, bend = _apart(prior, fit, misfit, places)
        place = {**target.inputs, **{x: float(values[0]) for x, values in places.items()}}
        field = Field.of(apart, inputs, cluster, bend, derived=derived, targets=len(frame) + more)
        return cls(prior, frame, field, look, target, goal, len(cells), place)

    def market(self) -> Market:
        rows, cells = len(self.frame), len(self.field.cluster)
        index = np.arange(cells + len(self.field.derived))
        known = np.append(self.frame["offer"].isna().to_numpy(), np.zeros(len(index) - rows, bool))
        cost = np.append(self.frame["cost"].to_numpy(float), np.full(len(index) - rows, np.nan))
        targets = index >= cells if self.goal == "size" else (index >= rows) & (index < cells)
        reach = self.outlook.reach
        return Market([self.field], known, ~known & (index < rows), targets, cost, reach)

    def halving(self) -> Help:
        """Choose the fewest cells found that halve the target's interval for nearly the least cost, or bring
        it to a width that can be claimed where half of it cannot; where none do, those that help most: up to
        the first that takes less than ``LITTLE`` of the variance."""
        market, stated, aim = self.market(), self.outlook.stated, self._aim / self.outlook.z
        tried = [market.buy(most=MOST, until=aim, powers=(x,), judge=stated) for x in POWERS]
        found = [cells for choice in tried if choice.after <= aim and (cells := self._worth(choice, aim))]
        if found:
            costs = [self.frame["cost"].to_numpy(float)[list(cells)].sum() for cells in found]
            cheap = [pair for pair in zip(costs, found, strict=True) if pair[0] <= DEARER * min(costs)]
            return self._help(min(cheap, key=lambda pair: (len(pair[1]), pair[0]))[1])
        return self._help(self._worth(tried[-1].while_worth(LITTLE)))

    def within(self, budget: float, most: int) -> Help:
        """Choose at most so many cells within a budget of FLOPs: those that leave least of the discrepancy
        and of the law's part, as the field has it."""
        return self._help(self.market().buy(budget, most=most).cells)

    def begun(self, budget: float, most: int, *, spend: float, batch: int | None = None) -> Help:
        """Choose as :meth:`within`, but keep the first cells alone: those that spend so many FLOPs, at most a
        ``batch``. The rest of the plan may be another one once these are measured."""
        kept, spent = list[int](), 0.0
        for one in self.market().buy(budget, most=most).purchases[:batch]:
            if spent >= spend:
                break
            kept, spent = [*kept, one.cell], spent + one.cost
        return self._help(kept)

    def advised(self, budget: float, most: int) -> Help:
        """Choose as :meth:`within`, but only cells that narrow the interval as it is stated; none where none
        of those found do."""
        market = self.market()
        for powers in (POWERS, *((power,) for power in POWERS)):
            if cells := self._worth(market.buy(budget, most=most, powers=powers)):
                return self._help(cells)
        return self._help(())

    @property
    def _aim(self) -> float:
        """Half of the interval that is wanted of one that is to be halved."""
        return min(HALF * self.outlook.now.half_width, CLAIMED[self.goal])

    def _worth(self, choice: Choice, enough: float = 0.0) -> tuple[int, ...]:
        """The cells of a choice up to where the stated interval is narrowest, without those, dear ones
        first, that it hardly widens without: to ``enough``, or by ``SLIGHT``. What narrows it most comes
        first, and the list ends where the limit is reached; each narrows it by ``SLIGHT`` or more, alone
        or with those after it, unless ``enough`` takes others too."""
        stated, (kept, least) = self.outlook.stated, self._narrowest(choice.cells)
        limit = enough if least <= enough else least * (1 + SLIGHT)
        if stated(()) <= limit:
            return ()
        for one in sorted(kept, key=lambda cell: -self.frame["cost"].to_numpy(float)[cell]):
            rest = tuple(cell for cell in kept if cell != one)
            kept = rest if stated(rest) <= limit else kept
        ordered = self._ordered(kept, limit)
        gaining = self._gaining(ordered)
        return ordered if stated(gaining) > enough > 0 else gaining

    def _ordered(self, kept: Sequence[int], limit: float) -> tuple[int, ...]:
        """Cells by what narrows the stated interval most, until its standard deviation is within a limit."""
        stated, ordered = self.outlook.stated, tuple[int, ...]()
        while rest := [cell for cell in kept if cell not in ordered]:
            ordered = (*ordered, min(rest, key=lambda cell: stated((*ordered, cell))))
            if stated(ordered) <= limit:
                break
        return ordered

    def _gaining(self, cells: tuple[int, ...]) -> tuple[int, ...]:
        """The cells, in their order, without those that narrow the stated interval by less than ``SLIGHT``
        and that it hardly widens without; none where all together do not narrow it by as much."""
        stated, kept = self.outlook.stated, cells
        for cell in reversed(cells):
            at = kept.index(cell)
            rest = (*kept[:at], *kept[at + 1 :])
            slight = stated(kept[: at + 1]) > stated(kept[:at]) * (1 - SLIGHT)
            kept = rest if slight and stated(rest) <= stated(kept) * (1 + SLIGHT) else kept
        return () if stated(kept) > stated(()) * (1 - SLIGHT) else kept

    def _narrowest(self, cells: tuple[int, ...]) -> tuple[tuple[int, ...], float]:
        """The first of cells after which the stated interval is narrowest, and its standard deviation."""
        spread = [self.outlook.stated(cells[:i]) for i in range(len(cells) + 1)]
        best = int(np.argmin(spread))
        return cells[:best], spread[best]

    def _help(self, cells: Sequence[int]) -> Help:
        runs, bought = list[Advice](), cast(pd.DataFrame, self.frame[self.frame["offer"].isna()])
        ahead = [self.outlook.after(cells[:i]) for i in range(len(cells) + 1)]
        for cell, before, after in zip(cells, ahead, ahead[1:], strict=False):
            row: Any = self.frame.iloc[cell]
            one = Purchase(cell, float(row["cost"]), before.half_width, after.half_width)
            reasons = [text for text in (why(bought, row), falls(before, after)) if text]
            runs.append(
                Advice(
                    int(row["offer"]), float(row["N"]), float(row["D"]), float(row["C"]), one.cost,
                    one.before, one.after, one.taken / one.cost, "; ".join(reasons),
                )
            )  # fmt: skip
            bought = pd.concat([bought, self.frame.iloc[[cell]]])
        return Help(self.goal, self.target, tuple(runs), ahead[0], ahead[-1], self.offered, self._aim)


def _beside(runs: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
    """Runs, then cells. Raises AnalysisError where there are none to choose from."""
    if not len(cells):
        raise AnalysisError(Complaint("no run to choose from", hint="widen sizes, budgets or D/N"))
    there, offer = runs.assign(offer=np.nan, cost=np.nan), np.arange(len(cells), dtype=float)
    return pd.concat([there, cells.assign(offer=offer)], ignore_index=True)


def _apart(
    prior: Prior, fit: Fit | None, misfit: Misfit | None, places: dict[str, np.ndarray]
) -> tuple[Prior, Misfit]:
    """The prior with the noise of runs alone, and how its law bends."""
    if misfit is None and fit is not None:
        noise, misfit = split_of(fit, prior, {x: float(values[0]) for x, values in places.items()})
    else:
        noise = prior.noise if misfit else prior.noise.without(prior.misfit)
    return replace(prior, noise=noise), misfit or Misfit(max(BEND, prior.misfit))


def _outlook(
    seen: Information,
    target: Target,
    price: Any,
    goal: Goal,
    known: np.ndarray,
    inputs: dict[str, np.ndarray],
    fit: Fit | None,
    said: Ahead | None,
) -> tuple[np.ndarray | None, Outlook]:
    """What the forecast is worth with runs of ``seen``, and the slopes of N* at ``inputs``, where that is the
    goal. Raises AnalysisError where there is none, or the compute is not known."""
    prior, c = seen.prior, target.compute
    if goal == "loss":
        at = _run_at(target, place_of(prior, target, price), price)
        look = outlook_of_loss(
            seen, target.label, at, level=LEVEL, known=known, fit=fit, said=said,
            asked=target.inputs if target.alone else None,
        )  # fmt: skip
        return None, look
    if price is None or not c:
        raise AnalysisError(Complaint("no N* to plan for", hint="give compute, and a law in N and D"))
    problem, name = problem_of(prior, inputs), size_name(c)
    derived = slopes(problem, problem.coordinates(prior.params), optimum_of(problem, price, c, size=True))
    own = seen.slopes(optimum_of(seen.problem, price, c, size=True))[0]
    said = size_of(fit, name, c, LEVEL) if fit else said
    return derived, outlook_of_size(seen, name, own, level=LEVEL, known=known, said=said)


def _run_at(target: Target, place: dict[str, float], price: Any) -> dict[str, float]:
    """N, D, C and the other inputs of the law at a target. Raises AnalysisError where C is not known."""
    at = {**target.inputs, **place}
    if "C" not in at and price is not None and {"N", "D"} <= set(at):
        at["C"] = float(price.flops(at["N"], at["D"]))
    if "C" not in at:
        message = f"target {target.label}: its compute is not known"
        raise AnalysisError(Complaint(message, hint="give flops beside the inputs"))
    return at


def _places(prior: Prior, target: Target, price: Any, around: Sequence[float]) -> dict[str, np.ndarray]:
    """The inputs at a target (k,), and at others of its compute whose N is ``around`` times the target's."""
    at = place_of(prior, target, price)
    if len(around) == 1 or price is None or set(prior.law.inputs) != {"N", "D"}:
        return {x: np.array([value]) for x, value in at.items()}
    c = float(price.flops(at["N"], at["D"]))
    n = at["N"] * np.asarray(around, float)
    return {"N": n, "D": np.asarray(price.tokens(n, c), float)}
