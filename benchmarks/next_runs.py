"""Which runs to train next, on published runs: errors of forecasts after the purchases of `scaling next`.

    SCALING_PUBLISHED_DATA=FOLDER python benchmarks/next_runs.py [--draws 3] [--orders 8] [--only FAMILY ...]

Of each set of ``forecasting/sets.py`` that has them: known are at most 40 runs, drawn from those with C up to
C_max / 30, ``--draws`` times; on offer is the rest up to C_max / 4; targets are the runs from 0.7 C_max (25
at most). Within 0.25, 1 and 4 times the FLOPs that are known, at most 8 runs are bought: as `scaling next`
lists them for the middle of the targets; at random, ``--orders`` times; and the dearest first. All are
fitted alike. Printed: the root mean square error of log loss of the forecasts of the targets over that with
nothing bought, geometric means over draws, sets of a family and families, and how many runs and which share
of the budget were bought.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")

import numpy as np
import pandas as pd
from forecasting.sets import Set, published

from analysis.errors import AnalysisError
from analysis.fits.fitting import fit
from analysis.laws.lookup import LAW, require
from analysis.planning.shop import Shop
from analysis.planning.target import Target
from scaling.design.following import prior_of

BUDGETS, MANY = (0.25, 1.0, 4.0), 8  # times the FLOPs that are known; runs
FAR, NEAR, ABOVE = 30.0, 4.0, 0.7  # below C_max: known, on offer; of C_max: targets
KNOWN, LEAST, TARGETS = 40, 12, 25  # runs
COLUMNS = ("params", "tokens", "flops")
METHODS = ("random", "dearest", "scaling next")
SHOWN = ["ratio", "runs", "spent"]


@dataclass(frozen=True)
class Case:
    """``known`` runs, those on ``offer``, and the ``targets`` of a set."""

    known: pd.DataFrame
    offer: pd.DataFrame
    targets: pd.DataFrame

    @property
    def target(self) -> Target:
        """The middle of the targets."""
        middle = [float(np.exp(np.log(self.targets[name].to_numpy(float)).mean())) for name in COLUMNS]
        return Target(dict(zip("NDC", middle, strict=True)), "the largest runs")

    def error(self, bought: np.ndarray) -> float:
        """Root mean square of log loss of the forecasts of the targets, with rows of the offer; nan where
        there is no fit."""
        runs = pd.concat([self.known, self.offer.iloc[bought]], ignore_index=True)
        made = fit(require(LAW), runs, bootstrap=0)
        if not made.usable:
            return np.nan
        asked = {x: self.targets[name].to_numpy() for x, name in zip("NDC", COLUMNS, strict=True)}
        said = made.predict(asked).frame["forecast"].to_numpy()
        return float(np.sqrt(np.mean(np.log(said / self.targets["loss"].to_numpy()) ** 2)))

    def in_order(self, order: np.ndarray, budget: float) -> np.ndarray:
        """Rows of the offer that still fit, in an order."""
        cost, bought, left = self.offer["flops"].to_numpy(), list[int](), budget
        for i in order:
            if len(bought) < MANY and cost[i] <= left:
                bought.append(int(i))
                left -= cost[i]
        return np.array(bought, int)

    def advised(self, budget: float) -> np.ndarray:
        """Rows of the offer that `scaling next` lists."""
        rows = np.flatnonzero(self.offer["flops"].to_numpy() <= budget)
        if not len(rows):
            return rows
        cells = self.offer.iloc[rows][[*COLUMNS, "seed"]].reset_index(drop=True)
        leading = fit(require(LAW), self.known)
        kept = self.known.rename(columns=dict(zip(COLUMNS, "NDC", strict=True)))
        prior, misfit = prior_of(leading, kept, LAW)
        shop = Shop.of(prior, self.known[[*COLUMNS, "seed"]], cells.assign(cost=cells["flops"]), self.target,
                       misfit=misfit, fit=leading)  # fmt: skip
        return rows[[run.offer for run in shop.advised(budget, MANY).runs]].astype(int)


def cases(one: Set, draws: int) -> Iterator[Case]:
    """The cases of a set, one for each draw of known runs; one where all are known, none of too few."""
    runs, most = one.runs.assign(role="fit", seed=0), float(one.runs["flops"].max())
    low, offer = (runs[runs["flops"] <= most / far] for far in (FAR, NEAR))
    targets = runs[runs["flops"] >= ABOVE * most]
    if len(targets) > TARGETS:
        targets = targets.sample(TARGETS, random_state=0)
    if len(low) < LEAST or len(offer) < len(low) + MANY:
        return
    for draw in range(draws if len(low) > KNOWN else 1):
        known = low.sample(min(KNOWN, len(low)), random_state=draw)
        rest = offer.drop(known.index)
        yield Case(known.reset_index(drop=True), rest.reset_index(drop=True), targets)


def choices(case: Case, method: str, budget: float, orders: int) -> list[np.ndarray]:
    """Rows of the offer by a method, for each repeat."""
    cost, rng = case.offer["flops"].to_numpy(), np.random.default_rng(0)
    if method == "random":
        return [case.in_order(rng.permutation(len(cost)), budget) for _ in range(orders)]
    if method == "dearest":
        return [case.in_order(np.argsort(-cost, kind="stable"), budget)]
    return [case.advised(budget)]


def measured(case: Case, orders: int) -> Iterator[dict[str, Any]]:
    """A row for each budget and method: log of the error over that with nothing bought, runs, share of the
    budget."""
    nothing, cost = case.error(np.zeros(0, int)), case.offer["flops"].to_numpy()
    for share in BUDGETS:
        budget = share * float(case.known["flops"].sum())
        for method in METHODS:
            repeats = choices(case, method, budget, orders)
            errors = np.array([case.error(rows) if len(rows) else nothing for rows in repeats])
            good = np.isfinite(errors)
            yield {
                "budget": share,
                "method": method,
                "nothing": nothing,
                "ratio": float(np.mean(np.log(errors)[good])) - np.log(nothing) if good.any() else np.nan,
                "failed": int((~good).sum()),
                "runs": float(np.mean([len(rows) for rows in repeats])),
                "spent": float(np.mean([cost[rows].sum() for rows in repeats])) / budget,
            }


def report(rows: pd.DataFrame) -> None:
    """Print means over draws, then sets, then families, of logs of ratios: of the cases and budgets in which
    each method has a fit, and how many fits and cases are left out."""
    keys, once = ["family", "set", "budget", "method"], ["family", "set", "draw", "budget"]
    whole = rows.groupby(once)["ratio"].transform(lambda ratio: ratio.notna().all())
    failed = ", ".join(f"{name} {count}" for name, count in rows.groupby("method")["failed"].sum().items())
    left_out = len(rows[~whole][once].drop_duplicates())
    print(f"fits that failed: {failed}; {left_out} cases and budgets left out for all methods")
    rows = rows[whole]
    by_set: pd.DataFrame = rows.groupby(keys, as_index=False)[SHOWN].mean()
    by_family = by_set.groupby(["family", "budget", "method"], as_index=False)[SHOWN].mean()
    means = by_family.groupby(["method", "budget"])[SHOWN].mean()
    means["ratio"] = np.exp(means["ratio"])
    sets = by_set[["family", "set"]].drop_duplicates()
    print(f"{len(sets)} sets of {sets['family'].nunique()} families")
    print(means.unstack("budget").round(2).to_string())
    each = by_family.pivot_table(index=["family", "budget"], columns="method", values="ratio")
    print(np.exp(each).round(2).to_string())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--orders", type=int, default=8)
    parser.add_argument("--only", action="append", metavar="FAMILY")
    asked, rows = parser.parse_args(), list[dict[str, Any]]()
    for one in published(Path(os.environ["SCALING_PUBLISHED_DATA"])):
        if asked.only and one.family not in asked.only:
            continue
        for draw, case in enumerate(cases(one, asked.draws)):
            try:
                mine = list(measured(case, asked.orders))
            except AnalysisError as error:
                print(f"{one.family}/{one.name}: left out, {error}", flush=True)
                continue
            rows += [{"family": one.family, "set": one.name, "draw": draw, **row} for row in mine]
            shown = ", ".join(f"{x['method']} {x['budget']:g}: {np.exp(x['ratio']):.2f}" for x in mine)
            counts = f"{len(case.known)} known, {len(case.offer)} on offer, {len(case.targets)} targets"
            error = mine[0]["nothing"]
            print(f"{one.family}/{one.name}: {counts}; error {error:.2%}; {shown}", flush=True)
    if rows:
        report(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
