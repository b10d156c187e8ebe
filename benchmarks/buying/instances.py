"""ScaleBench's instances: a task and a law, in groups that are bought and fitted apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scalebench

from analysis.solve.multistart import solve
from analysis.solve.problem import Loss, Problem

ROWS = (64, 256, 1024)  # of a fit, rounded up, as each number is compiled anew; then all
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


@dataclass(frozen=True)
class Outputs:
    """Problems of one law and group that the same runs feed: of each output, or of all outputs together.
    ``pool`` has the losses of all runs, of which a fit sees those bought."""

    pool: Problem
    target: Problem

    def fitted(self, bought: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Coordinates of the best fit to the runs bought (booleans); ``rows``: the run of each row."""
        mine, others = np.flatnonzero(bought[rows]), np.flatnonzero(~bought[rows])
        size = next((n for n in ROWS if n >= len(mine)), len(rows))
        kept = np.concatenate([mine, others[: size - len(mine)]])  # without a weight
        seen = self.pool.at(kept)
        weights = (np.arange(len(kept)) < len(mine)).astype(float)
        losses = np.where(weights > 0, seen.target, seen.target[: len(mine)].mean())
        part = replace(seen, weights=weights, target=losses)
        return part.shift(solve(part).u, 1.0)

    def predicted(self, u: np.ndarray) -> np.ndarray:
        return self.target.values(self.target.parameters(u)[None], self.target.inputs, self.target.group)[0]


@dataclass(frozen=True)
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
        losses = table["loss"].to_numpy(float)
        out.append(Problem(part.law, inputs, losses, Loss(space="raw"), group=group, **more))
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
