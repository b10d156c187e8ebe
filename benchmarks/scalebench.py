"""Which runs to buy on ScaleBench (Li et al. 2026, arXiv:2604.22753): target score against budget, for our
choice and for random, cheapest first and D-optimal, under the same fits.

    SCALING_PUBLISHED_DATA=FOLDER python benchmarks/scalebench.py [--task moe ...] [--laws 10] [--repeats 3]

A task is a pool of finished runs that may be bought, and dearer runs to be predicted; an instance is a task
and a law. Rules: FOLDER/scalebench/PROTOCOL.md, with these differences. A budget is a share of the cost of
all runs of a group, never overshot; one nested trajectory serves both of the cheaper budgets, each bought in
two batches. Random buys what still fits, in random order, ``--repeats`` times; the others are deterministic.
Ours and D-optimal begin with the reference's initial design (the cheapest floor(2.5 P / outputs) runs, up to
2 % of the cost) and see no loss that they have not bought. Every fit is least squares on the loss within the
bounds, by our solver from its many starts. Scores: R^2 at the target runs over all groups, clipped to -1 to
1; a prediction that is not finite counts as -1. Printed: means over laws and repeats, and the published ones.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "experiments" / "published")]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import scalebench  # noqa: E402

from analysis.planning.field import Field, Misfit, widths  # noqa: E402
from analysis.planning.prior import NoiseLevel  # noqa: E402
from analysis.planning.selection import Market  # noqa: E402
from analysis.solve.multistart import solve  # noqa: E402
from analysis.solve.problem import Loss, Problem  # noqa: E402

BUDGETS = {"domain_mixture": (0.2, 0.35), "sparsity": (0.2, 0.35)}  # others: 1 and 5 %
INITIAL, SHARE = 2.5, 0.02
COSTS: dict[str, Any] = {
    "lr_bsz": lambda t: t["data_size"] * t["non_embedding_param_size"],
    "domain_mixture": lambda t: pd.Series(1.0, t.index),
    "vocab": lambda t: t["non_vocab_parameters"] * t["num_characters"],
    "parallel": lambda t: t["num_params"],
    "moe": lambda t: t["num_experts"] * t["dense_parameter_count"],
    "data_constrained": lambda t: t["params"] * t["tokens"],
    "sparsity": lambda t: t["N_dense"] * t["D1"] + t["N_active"] * t["D2"],
    "farseer": lambda t: t["N"] * t["D"],
}
# published target scores at the two cheaper budgets (Table 2): random, cheapest, D-opt, V-opt, theirs
PUBLISHED = {
    "lr_bsz": ((-0.65, -0.92, -0.92, -0.70, -0.66), (-0.45, -0.88, -0.66, -0.06, 0.00)),
    "domain_mixture": ((-0.36, -0.36, 0.14, 0.57, 0.64), (0.41, 0.41, 0.81, 0.91, 0.89)),
    "vocab": ((0.54, 0.30, 0.95, 0.96, 0.96), (0.53, 0.53, 0.97, 0.97, 0.98)),
    "parallel": ((-1.0, -1.0, -1.0, -1.0, -1.0), (0.27, 0.42, 0.70, 0.69, 0.77)),
    "moe": ((-0.47, 0.30, 0.34, 0.67, 0.59), (0.01, 0.74, 0.55, 0.80, 0.65)),
    "data_constrained": ((-0.74, -0.58, 0.71, 0.58, 0.73), (-0.36, -0.56, 0.80, 0.83, 0.85)),
    "sparsity": ((-0.25, -0.95, -0.07, 0.12, 0.31), (0.37, 0.04, 0.23, 0.39, 0.44)),
    "farseer": ((-0.77, -0.89, -0.11, 0.67, 0.60), (0.78, 0.41, 0.49, 0.87, 0.88)),
}
METHODS = ("random", "cheapest", "D-optimal", "ours")
FLOOR, BEND = 0.002, 0.004  # noise and misfit as shares of a loss, where residuals say no more


@dataclass
class Outputs:
    """Problems of one law and group that the same runs feed: of each output, or of all outputs together.
    ``pool`` has the losses of all runs; only those bought get a weight."""

    pool: Problem
    target: Problem

    def fitted(self, bought: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Coordinates of the best fit to the runs bought (booleans); ``rows``: the run of each row."""
        weights = bought[rows].astype(float)
        seen = np.where(weights > 0, self.pool.target, self.pool.target[weights > 0].mean())
        found = solve(replace(self.pool, weights=weights, target=seen))
        return self.pool.shift(found.u, 1.0)

    def predicted(self, u: np.ndarray) -> np.ndarray:
        return self.target.values(self.target.parameters(u)[None], self.target.inputs, self.target.group)[0]


@dataclass
class Group:
    """A sub-experiment: its runs by cost, and what they feed. ``rows`` (of a problem): the run of each."""

    cost: np.ndarray
    outputs: list[Outputs]
    rows: list[np.ndarray]
    params: int
    losses: int

    def fit(self, bought: np.ndarray) -> list[np.ndarray]:
        return [one.fitted(bought, rows) for one, rows in zip(self.outputs, self.rows, strict=True)]

    def scored(self, fits: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions and truths of all outputs at the target runs."""
        made = [one.predicted(u) for one, u in zip(self.outputs, fits, strict=True)]
        return np.concatenate(made), np.concatenate([one.target.target for one in self.outputs])


def problems(part: scalebench.Part) -> tuple[Problem, Problem]:
    """Of the pool and of the target, on the loss itself."""
    out = []
    for table in (part.train, part.test):
        inputs = {x: table[x].to_numpy(float) for x in part.law.inputs}
        group, more = None, {}
        if part.groups:
            labels, group = np.unique(table["output"], return_inverse=True)
            more = {"labels": tuple(labels), "own": part.groups["own"]}
        out.append(
            Problem(part.law, inputs, table["loss"].to_numpy(float), Loss(space="raw"), group=group, **more)
        )
    return out[0], out[1]


def groups(folder: Path, task: str, given: Any, about: Any) -> Iterator[Group]:
    """The groups of an instance."""
    train = pd.read_csv(folder / task / "train.csv")
    found: dict[str, list[scalebench.Part]] = {}
    for part in scalebench.parts(folder / task, task, given, about):
        found.setdefault(str(part.train["group"].iloc[0]), []).append(part)
    for name, pieces in found.items():
        own = train[train["group"] == name]
        count, outputs = len(own), [Outputs(*problems(piece)) for piece in pieces]
        rows = [np.arange(len(one.pool.target)) % count for one in outputs]
        params = sum(len(one.pool.names) for one in outputs)
        yield Group(COSTS[task](own).to_numpy(float), outputs, rows, params, len(given.get("outputs", "1")))


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


def fields(group: Group, fits: list[np.ndarray], bought: np.ndarray, *, bend: bool) -> list[Field]:
    """What fits say of each output at all runs of pool and target: a law about its optimum, with noise and
    misfit of the size of the residuals, no less than usual."""
    out = []
    for one, u, rows in zip(group.outputs, fits, group.rows, strict=True):
        pool, target = one.pool, one.target
        for label in range(max(len(pool.labels), 1)):
            mine = [
                np.ones(len(p.target), bool) if p.group is None else p.group == label for p in (pool, target)
            ]
            inputs = {x: np.append(pool.inputs[x][mine[0]], target.inputs[x][mine[1]]) for x in pool.inputs}
            whose = {} if pool.group is None else {"group": np.full(len(inputs[next(iter(inputs))]), label)}
            here = np.where(bought[rows] & mine[0], pool.target, np.nan)
            scale = float(np.nanmean(np.abs(here)))
            fitted = pool.values(pool.parameters(u)[None], pool.inputs, pool.group)[0]
            taken = max(int(bought.sum()) - group.params / group.losses, 0.25 * bought.sum())
            left = float(np.sqrt(np.nansum((here - fitted) ** 2) / taken))
            flat = np.full(len(next(iter(inputs.values()))), scale)
            whole = Problem(
                pool.law, inputs, flat, Loss(space="raw"), labels=pool.labels, own=pool.own, **whose
            )  # fmt: skip
            count = int(mine[0].sum())
            cells = np.arange(len(whole.target))
            noise = NoiseLevel(max(FLOOR * scale, (0.3 if bend else 1.0) * left))
            misfit = Misfit(max(BEND * scale, left) if bend else 1e-9)
            low, high = whole.box
            at = np.clip(whole.shift(u, -1.0), low, high)
            out.append(Field(whole, at, misfit, noise, cells, np.zeros((0, len(at))), cells[count:]))
    return out


def ours(group: Group, seen: list[Field], bought: np.ndarray, budget: float) -> np.ndarray:
    """Our choice within a budget."""
    cells = np.arange(len(seen[0].cluster))
    count = len(group.cost)
    known = np.append(bought, np.zeros(len(cells) - count, bool))
    cost = np.append(group.cost, np.full(len(cells) - count, np.nan))
    sale = ~known & (cells < count)
    if not sale.any():
        return bought
    choice = Market(seen, known, sale, cells >= count, cost).buy(budget - group.cost[bought].sum())
    out = bought.copy()
    out[[one.cell for one in choice.purchases]] = True
    return out


def d_optimal(group: Group, seen: list[Field], bought: np.ndarray, budget: float) -> np.ndarray:
    """Greedily by the log determinant of the parameters' covariance, over the cost to the power 0.4."""
    count, out, left = len(group.cost), bought.copy(), budget * (1 + 1e-12) - group.cost[bought].sum()
    covs, rows = [], []
    for field in seen:
        slopes = (field.problem.model.jacobian(field.u) * widths(field.problem))[:count]
        slopes = np.nan_to_num(slopes / field.noise.run, posinf=0.0, neginf=0.0)
        covs.append(
            np.linalg.pinv(np.eye(slopes.shape[1]) + slopes[bought].T @ slopes[bought], hermitian=True)
        )
        rows.append(slopes)
    while True:
        open_ = ~out & (group.cost <= left)
        if not open_.any():
            return out
        spread = [np.einsum("np,pq,nq->n", s, c, s) for s, c in zip(rows, covs, strict=True)]
        score = sum(np.log1p(np.maximum(v, 0.0)) for v in spread) / (group.cost / group.cost.sum()) ** 0.4
        i = int(np.argmax(np.where(open_, score, -1.0)))
        for k, (s, c) in enumerate(zip(rows, covs, strict=True)):
            along = c @ s[i]
            covs[k] = c - np.outer(along, along) / (1 + s[i] @ along)
        out[i], left = True, left - group.cost[i]


Fits = list[list[np.ndarray] | None]  # by budget; None where nothing could be bought


def trajectory(group: Group, method: str, shares: tuple[float, ...], seed: int) -> Fits:
    """The fits at each budget."""
    total, found = group.cost.sum(), Fits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(group.cost)) if method == "random" else np.argsort(group.cost, kind="stable")
    bought = np.zeros(len(group.cost), bool)
    for k, share in enumerate(shares):
        budget = share * total
        if method in ("random", "cheapest"):
            bought = filled(order, group.cost, bought, budget)
        else:
            bought = initial(group, budget) if k == 0 else bought
            spent = group.cost[bought].sum()
            for part in (spent + 0.5 * (budget - spent), budget):
                if bought.any():
                    with np.errstate(all="ignore"):
                        seen = fields(group, group.fit(bought), bought, bend=method == "ours")
                        bought = (ours if method == "ours" else d_optimal)(group, seen, bought, part)
                elif part == budget:  # no initial run is affordable
                    bought = filled(order, group.cost, bought, budget)
        found.append(group.fit(bought) if bought.any() else None)
    return found


def score(pieces: list[Group], fits: list[list[np.ndarray] | None]) -> float:
    """R^2 over all groups that have a fit."""
    with np.errstate(all="ignore"):
        made = [group.scored(one) for group, one in zip(pieces, fits, strict=True) if one is not None]
        if not made:
            return -1.0
        predicted, truth = (np.concatenate(x) for x in zip(*made, strict=True))
        if not np.isfinite(predicted).all():
            return -1.0
        return float(
            np.clip(1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum(), -1, 1)
        )


def instance(pieces: list[Group], method: str, shares: tuple[float, ...], repeats: int) -> list[list[float]]:
    """Scores by repeat and budget."""
    rows = []
    for repeat in range(repeats if method == "random" else 1):
        ways = [trajectory(group, method, shares, 100_000 * repeat + i) for i, group in enumerate(pieces)]
        rows.append([score(pieces, [way[k] for way in ways]) for k in range(len(shares))])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", action="append", choices=[*COSTS])
    parser.add_argument("--laws", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    folder = Path(os.environ["SCALING_PUBLISHED_DATA"]) / "scalebench"
    laws = json.loads((folder / "laws.json").read_text())
    for task in asked.task or COSTS:
        shares, given = BUDGETS.get(task, (0.01, 0.05)), laws[task]
        scores: dict[str, list[list[float]]] = {method: [] for method in METHODS}
        started = time.process_time()
        for key, about in list(given["laws"].items())[: asked.laws]:
            pieces = list(groups(folder, task, given, about))
            for method in METHODS:
                made = instance(pieces, method, shares, asked.repeats)
                scores[method] += made
                print(f"  {task} {key} {method}: {np.round(np.mean(made, axis=0), 3)}", flush=True)
        print(
            f"{task}, {min(asked.laws, len(given['laws']))} laws, {time.process_time() - started:.0f} CPU s"
        )
        for k, share in enumerate(shares):
            shown = (f"{method} {np.mean([row[k] for row in scores[method]]):+.2f}" for method in METHODS)
            names = ("random", "cheapest", "D-opt", "V-opt", "theirs")
            theirs = (f"{name} {x:+.2f}" for name, x in zip(names, PUBLISHED[task][k], strict=True))
            print(f"  {share:4.0%}: {', '.join(shown)} | published: {', '.join(theirs)}", flush=True)


if __name__ == "__main__":
    main()
