"""Which runs help a target most for what they cost.

Cells are bought one after the other, each the one with the largest reduction of the variance of the target's
forecast for its cost to a power; as the power that is best depends on the budget, several are tried and the
purchases that leave the least variance are kept. Greedy purchases of a variance are near the best ones
(Krause, Singh & Guestrin 2008, JMLR 9).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.errors import AnalysisError, Complaint
from analysis.planning.field import Field
from analysis.results import Part

POWERS = (1.0, 0.75, 0.5, 0.25, 0.0)  # of the cost, by which a gain is divided
ROOM = 1 + 1e-12  # of a budget, for sums


@dataclass(frozen=True)
class Purchase(Part):
    """The ``cell`` bought, an index of the cells, its ``cost``, and the standard deviations of the target's
    log loss ``before`` and ``after`` it."""

    cell: int
    cost: float
    before: float
    after: float


@dataclass(frozen=True)
class Choice:
    """``purchases`` in their order, standard deviations of the target ``before`` them and ``after``, and the
    power of the cost that they were chosen by."""

    purchases: tuple[Purchase, ...]
    before: float
    after: float
    power: float

    @property
    def cost(self) -> float:
        return sum(one.cost for one in self.purchases)

    def while_worth(self, share: float) -> Choice:
        """The purchases before the first that takes less than a ``share`` of the variance, the first one in
        any case."""
        kept = list[Purchase]()
        for one in self.purchases:
            if kept and 1 - (one.after / one.before) ** 2 < share:
                break
            kept.append(one)
        return replace(self, purchases=tuple(kept), after=kept[-1].after if kept else self.before)

    def to_dict(self) -> dict[str, Any]:
        return {"before": self.before, "after": self.after, "cost": self.cost, "power": self.power,
                "purchases": [vars(one) for one in self.purchases]}  # fmt: skip


class Market:
    """The cells of a field: those that are ``known`` already, those ``for_sale`` at a ``cost``, and the
    ``targets`` whose forecast counts; all by index (booleans or integers)."""

    def __init__(
        self, field: Field, known: np.ndarray, for_sale: np.ndarray, targets: np.ndarray, cost: np.ndarray
    ):
        self.for_sale, self.targets = np.flatnonzero(for_sale), np.flatnonzero(targets)
        self.cost = np.asarray(cost, float)[self.for_sale]
        if not len(self.for_sale) or not len(self.targets):
            what = "no run to choose from" if not len(self.for_sale) else "no target to forecast"
            raise AnalysisError(Complaint(what, hint="widen the sizes or budgets, or name a target"))
        if not (np.isfinite(self.cost) & (self.cost > 0)).all():
            raise AnalysisError("costs of runs must be finite and positive")
        latent = field.latent()
        observed = field.observed(latent)
        # of what is for sale as it would be measured, and of targets as they are
        kept, n = np.concatenate([self.for_sale, self.targets]), len(self.for_sale)
        cov = latent[np.ix_(kept, kept)]
        cov[:n, :n] = observed[np.ix_(self.for_sale, self.for_sale)]
        given = np.flatnonzero(known)
        if len(given):
            across = np.concatenate(
                [observed[np.ix_(given, self.for_sale)], latent[np.ix_(given, self.targets)]], axis=1
            )
            factor = np.linalg.cholesky(observed[np.ix_(given, given)])
            half = np.linalg.solve(factor, across)
            cov = cov - half.T @ half
        self.cov = cov

    @property
    def before(self) -> float:
        """The standard deviation of the targets' log losses, as they are known now: root mean square."""
        n = len(self.for_sale)
        return float(np.sqrt(max(np.diag(self.cov)[n:].mean(), 0.0)))

    def buy(
        self,
        budget: float = np.inf,
        *,
        most: int = 1000,
        until: float = 0.0,
        powers: Sequence[float] = POWERS,
    ) -> Choice:
        """Choose cells within ``budget`` and ``most`` of them, until the targets' standard deviation is
        ``until`` or nothing is left; of the ``powers`` of the cost the one that leaves least, or, where all
        reach ``until``, that costs least."""
        tried = list[Choice]()
        for power in powers:
            bought = tuple(self._bought(budget, most, until, power))
            tried.append(Choice(bought, self.before, bought[-1].after if bought else self.before, power))
        reached = [choice for choice in tried if choice.after <= until]
        return min(reached, key=lambda c: c.cost) if reached else min(tried, key=lambda c: (c.after, c.cost))

    def gains(self) -> np.ndarray:
        """By how much each cell for sale (n,), bought alone, reduces the variance of the targets."""
        n = len(self.for_sale)
        return (self.cov[n:, :n] ** 2).mean(axis=0) / np.maximum(np.diag(self.cov)[:n], 1e-300)

    def _bought(self, budget: float, most: int, until: float, power: float) -> Iterator[Purchase]:
        cov, n = self.cov.copy(), len(self.for_sale)
        open_, left, now = np.ones(n, bool), budget * ROOM, self.before
        worth = self.cost**power
        for _ in range(most):
            within = open_ & (self.cost <= left)
            if not within.any() or now <= until:
                return
            spread = np.maximum(np.diag(cov)[:n], 1e-300)
            gain = np.where(within, (cov[n:, :n] ** 2).mean(axis=0) / spread / worth, -1.0)
            i = int(np.argmax(gain))
            if gain[i] <= 0:
                return
            cov -= np.outer(cov[:, i], cov[i]) / spread[i]
            open_[i], left = False, left - self.cost[i]
            after = float(np.sqrt(max(np.diag(cov)[n:].mean(), 0.0)))
            yield Purchase(int(self.for_sale[i]), float(self.cost[i]), now, after)
            now = after
