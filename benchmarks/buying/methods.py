"""Which runs to buy: at random, the cheapest, by D-optimality, and ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.planning.selection import Market
from buying.beliefs import fields
from buying.instances import Group

METHODS = ("random", "cheapest", "D-optimal", "ours")
INITIAL, SHARE = 2.5, 0.02  # runs for each parameter, and share of the cost, of the initial design


def filled(order: np.ndarray, cost: np.ndarray, bought: np.ndarray, budget: float) -> np.ndarray:
    """Buy in order what still fits."""
    bought, left = bought.copy(), budget * (1 + 1e-12) - cost[bought].sum()
    for i in order:
        if not bought[i] and cost[i] <= left:
            bought[i], left = True, left - cost[i]
    return bought


def initial(group: Group, budget: float) -> np.ndarray:
    """The reference's initial design, within the first budget."""
    most, bought = max(int(INITIAL * group.params / group.losses), 1), np.zeros(len(group.cost), bool)
    left = min(SHARE * group.cost.sum(), budget)
    for i in np.argsort(group.cost, kind="stable")[:most]:
        spent = group.cost[bought].sum() + group.cost[i]
        if spent <= left or (not bought.any() and spent <= budget):
            bought[i] = True
    return bought


def ours(group: Group, fits: list[np.ndarray], bought: np.ndarray, budget: float) -> Sequence[int]:
    """Our choice within a budget, in the order of purchase."""
    seen = list(fields(group, fits, bought, bend=True))
    cells, count = np.arange(len(seen[0].cluster)), len(group.cost)
    rest = len(cells) - count
    known, cost = np.append(bought, np.zeros(rest, bool)), np.append(group.cost, np.full(rest, np.nan))
    sale = ~known & (cells < count) & (np.append(group.cost, np.full(rest, np.inf)) <= budget)
    if not sale.any():
        return ()
    return [one.cell for one in Market(seen, known, sale, cells >= count, cost).buy(budget).purchases]


def d_optimal(group: Group, fits: list[np.ndarray], bought: np.ndarray, budget: float) -> Sequence[int]:
    """Greedily by the log determinant of the parameters' covariance, over the cost to the power 0.4."""
    count, out, left = len(group.cost), bought.copy(), budget * (1 + 1e-12)
    covs, rows, order = [], [], list[int]()
    for field in fields(group, fits, bought, bend=False):
        slopes = field.slopes[:count] / field.noise.run
        seen = slopes[bought]
        covs.append(np.linalg.pinv(np.eye(slopes.shape[1]) + seen.T @ seen, hermitian=True))
        rows.append(slopes)
    while True:
        open_ = ~out & (group.cost <= left)
        if not open_.any():
            return order
        spread = [np.einsum("np,pq,nq->n", s, c, s) for s, c in zip(rows, covs, strict=True)]
        score = sum(np.log1p(np.maximum(v, 0.0)) for v in spread) / (group.cost / group.cost.sum()) ** 0.4
        i = int(np.argmax(np.where(open_, score, -1.0)))
        for k, (s, c) in enumerate(zip(rows, covs, strict=True)):
            along = c @ s[i]
            covs[k] = c - np.outer(along, along) / (1 + s[i] @ along)
        out[i], left = True, left - group.cost[i]
        order.append(i)


CHOOSE = {"ours": ours, "D-optimal": d_optimal}


def planned(group: Group, method: str, bought: np.ndarray, budget: float) -> np.ndarray:
    """Buy in two batches: plan for all of the budget, buy the first half of the plan, fit, and plan again."""
    bought = bought.copy() if bought.any() else initial(group, budget)
    for last in (False, True):
        left = budget - group.cost[bought].sum()
        if not bought.any() or (group.cost[~bought] > left * (1 + 1e-12)).all():
            return bought
        with np.errstate(all="ignore"):
            order = np.array(CHOOSE[method](group, group.fit(bought), bought, left), int)
        if not last and len(order):
            order = order[: 1 + int((np.cumsum(group.cost[order]) < 0.5 * left).sum())]
        bought[order] = True
    return bought


Fits = list[list[np.ndarray] | None]  # by budget; None where nothing could be bought


def trajectory(group: Group, method: str, shares: tuple[float, ...]) -> Fits:
    """The fits at each budget, a share of the cost of all runs; one nested trajectory. What is alike to a
    method it takes in the order of the group's runs, and all is alike to one that buys at random."""
    order = np.arange(len(group.cost))
    if method == "cheapest":
        order = np.argsort(group.cost, kind="stable")
    bought, found = np.zeros(len(group.cost), bool), Fits()
    for share in shares:
        budget = share * group.cost.sum()
        if method in CHOOSE:
            bought = planned(group, method, bought, budget)
        else:
            bought = filled(order, group.cost, bought, budget)
        found.append(group.fit(bought) if bought.any() else None)
    return found
