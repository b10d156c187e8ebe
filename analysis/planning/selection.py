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
JITTER = 1e-9  # of a variance, that keeps a covariance positive in floats
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
    ``targets`` whose forecast counts; all by index (booleans or integers). A run measures the same cell of
    several ``fields`` at once (several laws, or losses of several sets): variances are means over them."""

    def __init__(
        self,
        fields: Sequence[Field],
        known: np.ndarray,
        for_sale: np.ndarray,
        targets: np.ndarray,
        cost: np.ndarray,
    ):
        self.for_sale, self.targets = np.flatnonzero(for_sale), np.flatnonzero(targets)
        self.cost = np.asarray(cost, float)[self.for_sale]
        if not len(self.for_sale) or not len(self.targets):
            what = "no run to choose from" if not len(self.for_sale) else "no target to forecast"
            raise AnalysisError(Complaint(what, hint="widen the sizes or budgets, or name a target"))
        if not (np.isfinite(self.cost) & (self.cost > 0)).all():
            raise AnalysisError("costs of runs must be finite and positive")
        self.cov = np.stack([self._given(field, np.flatnonzero(known)) for field in fields])

    def _given(self, field: Field, known: np.ndarray) -> np.ndarray:
        """Covariance of what is for sale, as it would be measured, then of the targets as they are, given
        what is known."""
        latent = field.latent()
        observed = field.observed(latent)
        kept, n = np.concatenate([self.for_sale, self.targets]), len(self.for_sale)
        cov = latent[np.ix_(kept, kept)]
        cov[:n, :n] = observed[np.ix_(self.for_sale, self.for_sale)]
        if not len(known):
            return cov
        across = [observed[np.ix_(known, self.for_sale)], latent[np.ix_(known, self.targets)]]
        seen = observed[np.ix_(known, known)]
        factor = np.linalg.cholesky(seen + JITTER * np.diag(np.diag(seen)))
        half = np.linalg.solve(factor, np.concatenate(across, axis=1))
        return cov - half.T @ half

    @property
    def before(self) -> float:
        """The standard deviation of the targets' log losses, as they are known now: root mean square."""
        return self._spread(self.cov)

    def _spread(self, cov: np.ndarray) -> float:
        ends = np.diagonal(cov, axis1=1, axis2=2)[:, len(self.for_sale) :]
        return float(np.sqrt(max(ends.mean(), 0.0)))

    def _gains(self, cov: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By how much each cell (n,) reduces the mean variance of the targets; the cells' own variances of
        each field."""
        n = len(self.for_sale)
        own = np.maximum(np.diagonal(cov, axis1=1, axis2=2)[:, :n], 1e-300)
        return ((cov[:, n:, :n] ** 2).mean(axis=1) / own).mean(axis=0), own

    def gains(self) -> np.ndarray:
        """By how much each cell for sale (n,), bought alone, reduces the variance of the targets."""
        return self._gains(self.cov)[0]

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

    def _bought(self, budget: float, most: int, until: float, power: float) -> Iterator[Purchase]:
        cov, worth = self.cov.copy(), self.cost**power
        open_, left, now = np.ones(len(self.for_sale), bool), budget * ROOM, self.before
        for _ in range(most):
            within = open_ & (self.cost <= left)
            if not within.any() or now <= until:
                return
            gains, own = self._gains(cov)
            gain = np.where(within, gains / worth, -1.0)
            i = int(np.argmax(gain))
            if gain[i] <= 0:
                return
            cov -= cov[:, :, [i]] * cov[:, [i]] / own[:, i, None, None]
            open_[i], left = False, left - self.cost[i]
            after = self._spread(cov)
            yield Purchase(int(self.for_sale[i]), float(self.cost[i]), now, after)
            now = after
