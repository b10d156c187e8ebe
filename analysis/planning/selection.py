"""Which runs help a target most for what they cost.

Cells are bought one after the other, each the one with the largest reduction of variance for its cost to a
power: of the law's part at the target and of the discrepancy, which shrinks as the target comes nearer. As
the power that is best depends on the budget, several are tried. The law's part is that of a field in which
the law bends away from runs far below the target, which the parts of a forecast do not know: it chooses
cells, and what they are worth says the forecast (:mod:`analysis.planning.ahead`). Greedy purchases of a
variance are near the best ones (Krause, Singh & Guestrin 2008, JMLR 9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.errors import AnalysisError, Complaint
from analysis.planning.field import Field
from analysis.planning.reach import Reach
from analysis.results import Part

POWERS = (1.0, 0.75, 0.5, 0.25, 0.0)  # of the cost, by which a gain is divided
JITTER = 1e-9  # of a variance, that keeps a covariance positive in floats
ROOM = 1 + 1e-12  # of a budget, for sums
LEAST = 1e-300  # variance that is divided by


Judge = Callable[[Sequence[int]], float]  # of cells bought: the standard deviation of the target with them


@dataclass(frozen=True)
class Purchase(Part):
    """The ``cell`` bought, an index of the cells, its ``cost``, and the standard deviations of the target
    ``before`` and ``after`` it."""

    cell: int
    cost: float
    before: float
    after: float

    @property
    def taken(self) -> float:
        """The share of the variance that it takes; all of one that was infinite."""
        if np.isinf(self.before):
            return float(np.isfinite(self.after))
        return 1 - (self.after / self.before) ** 2


@dataclass(frozen=True)
class Choice:
    """``purchases`` in their order, standard deviations of the target ``before`` them and ``after``, and the
    power of the cost that they were chosen by."""

    purchases: tuple[Purchase, ...]
    before: float
    after: float
    power: float

    @property
    def cells(self) -> tuple[int, ...]:
        return tuple(one.cell for one in self.purchases)

    @property
    def cost(self) -> float:
        return sum(one.cost for one in self.purchases)

    def while_worth(self, share: float) -> Choice:
        """The purchases before the first that takes less than a ``share`` of the variance, the first one in
        any case."""
        kept = list[Purchase]()
        for one in self.purchases:
            if kept and np.isfinite(one.before) and one.taken < share:
                break
            kept.append(one)
        return replace(self, purchases=tuple(kept), after=kept[-1].after if kept else self.before)

    def to_dict(self) -> dict[str, Any]:
        return {"before": self.before, "after": self.after, "cost": self.cost, "power": self.power,
                "purchases": [vars(one) for one in self.purchases]}  # fmt: skip


class Market:
    """The cells of a field: those that are ``known`` already, those ``for_sale`` at a ``cost``, and the
    ``targets`` whose forecast counts; all by index (booleans or integers). A run measures the same cell of
    several ``fields`` at once (several laws, or losses of several sets): variances are means over them.
    ``reach``: of these cells to the target, where its discrepancy counts too."""

    def __init__(
        self,
        fields: Sequence[Field],
        known: np.ndarray,
        for_sale: np.ndarray,
        targets: np.ndarray,
        cost: np.ndarray,
        reach: Reach | None = None,
    ):
        self.known, self.reach = np.flatnonzero(known), reach
        self.for_sale, self.targets = np.flatnonzero(for_sale), np.flatnonzero(targets)
        self.cost = np.asarray(cost, float)[self.for_sale]
        if not len(self.for_sale) or not len(self.targets):
            what = "no run to choose from" if not len(self.for_sale) else "no target to forecast"
            raise AnalysisError(Complaint(what, hint="widen the sizes or budgets, or name a target"))
        if not (np.isfinite(self.cost) & (self.cost > 0)).all():
            raise AnalysisError("costs of runs must be finite and positive")
        self.cov = np.stack([self._given(field, self.known) for field in fields])

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
        return self._spread(_Given(self.cov, len(self.for_sale), 0).law, self.known)

    def _spread(self, law: float, rows: np.ndarray) -> float:
        beyond = 0.0 if self.reach is None else self.reach.sd(rows) ** 2
        return float(np.sqrt(max(law, 0.0) + beyond))

    def gains(self) -> np.ndarray:
        """By how much each cell for sale (n,), bought alone, reduces the variance of the targets."""
        return _Given(self.cov, len(self.for_sale), 0).gains()

    def buy(
        self,
        budget: float = np.inf,
        *,
        most: int = 1000,
        until: float = 0.0,
        powers: Sequence[float] = POWERS,
        judge: Judge | None = None,
    ) -> Choice:
        """Choose cells.

        Args:
            budget: of all of them together.
            most: how many.
            until: the target's standard deviation at which enough is bought.
            powers: of the cost: of those the one that leaves least, or, where some reach ``until``, that
                costs least.
            judge: says the target's standard deviation; left out: the fields do.
        """
        tried = [self._with(power, self._ranked(budget, most, power), until, judge) for power in powers]
        reached = [choice for choice in tried if choice.after <= until]
        return min(reached, key=lambda c: c.cost) if reached else min(tried, key=lambda c: (c.after, c.cost))

    def _with(
        self, power: float, ranked: Iterator[tuple[int, float]], until: float, judge: Judge | None
    ) -> Choice:
        """The purchases of cells as they are ``ranked``, each with the fields' standard deviation after it,
        until enough is bought."""
        before = now = self.before if judge is None else judge(())
        bought = list[Purchase]()
        while now > until and (one := next(ranked, None)) is not None:
            i, left = one
            cell = int(self.for_sale[i])
            after = left if judge is None else judge([*(run.cell for run in bought), cell])
            bought.append(Purchase(cell, float(self.cost[i]), now, after))
            now = after
        return Choice(tuple(bought), before, now, power)

    def _ranked(self, budget: float, most: int, power: float) -> Iterator[tuple[int, float]]:
        """Cells for sale in the order in which they help for their cost to a ``power``, and the standard
        deviation by the fields that is left after each."""
        n, worth, rows = len(self.for_sale), self.cost**power, self.known
        given, open_, left = _Given(self.cov, n, min(most, n)), np.ones(n, bool), budget * ROOM
        for _ in range(most):
            within = open_ & (self.cost <= left)
            if not within.any():
                return
            gains = given.gains()
            if self.reach is not None:
                gains = gains + self.reach.taken(rows, self.for_sale)
            gain = np.where(within, gains / worth, -1.0)
            i = int(np.argmax(gain))
            if gain[i] <= 0:
                return
            given.take(i)
            open_[i], left = False, left - self.cost[i]
            rows = np.append(rows, self.for_sale[i])
            yield i, self._spread(given.law, rows)


class _Given:
    """Variances of n cells and T targets by k fields given the cells taken, from their covariances ``cov``
    (k, n + T, n + T) given none: a Cholesky factor that grows by a row with each, so that the rest of the
    matrix is never computed. ``most``: how many may be taken."""

    def __init__(self, cov: np.ndarray, n: int, most: int):
        self.cov, self.n, self.taken = cov, n, 0
        self.across = cov[:, n:, :n].copy() if most else cov[:, n:, :n]
        variances = np.diagonal(cov, axis1=1, axis2=2)
        self.own, self.ends = variances[:, :n].copy(), variances[:, n:].copy()
        self.factor = np.empty((len(cov), most, n))

    @property
    def law(self) -> float:
        """The mean variance of the targets."""
        return float(self.ends.mean())

    def gains(self) -> np.ndarray:
        """By how much each cell (n,) would reduce it."""
        squares = np.einsum("ftn,ftn->fn", self.across, self.across) / self.ends.shape[1]
        return (squares / np.maximum(self.own, LEAST)).mean(axis=0)

    def take(self, i: int) -> None:
        """Measure cell ``i``."""
        size = np.sqrt(np.maximum(self.own[:, i], LEAST))[:, None]
        done = self.factor[:, : self.taken]
        row = self.cov[:, i, : self.n] - np.matmul(done[:, None, :, i], done)[:, 0]
        row, ends = row / size, self.across[:, :, i] / size
        self.factor[:, self.taken] = row
        self.own -= row**2
        self.ends -= ends**2
        self.across -= ends[:, :, None] * row[:, None]
        self.taken += 1
