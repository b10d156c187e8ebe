"""ScaleBench's instances: a task and a law, in groups that are bought and fitted apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.solve.multistart import solve
from analysis.solve.problem import Loss, Problem

ROWS = (64, 256, 1024)  # of a fit, rounded up, as each number is compiled anew; then all
NEARLY = 1.5  # times the squares that the best fit leaves: fits that may be right as well
OPTIMA = 4  # of them that are kept, at most
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
        """Coordinates (k, P) of fits to the runs bought (booleans): the best one, then others that leave at
        most ``NEARLY`` times its squares and predict something else. ``rows``: the run of each row."""
        mine, others = np.flatnonzero(bought[rows]), np.flatnonzero(~bought[rows])
        size = next((n for n in ROWS if n >= len(mine)), len(rows))
        kept = np.concatenate([mine, others[: size - len(mine)]])  # without a weight
        seen = self.pool.at(kept)
        weights = (np.arange(len(kept)) < len(mine)).astype(float)
        losses = np.where(weights > 0, seen.target, seen.target[: len(mine)].mean())
        part = replace(seen, weights=weights, target=losses)
        found = solve(part)
        near = part.shift(found.ends[found.end_values <= NEARLY * found.value], 1.0)
        fits = np.concatenate([part.shift(found.u, 1.0)[None], near])
        return fits[self._apart(fits, float(np.sqrt(2 * found.value / len(mine))))]

    def _apart(self, fits: np.ndarray, least: float) -> list[int]:
        """The first of ``fits`` (k, P), then by the distance of their predictions at the target those that
        differ from all before by ``least`` (root mean square), at most ``OPTIMA``."""
        with np.errstate(all="ignore"):
            made, kept = np.array([self.predicted(u) for u in fits]), [0]
            distance = np.full(len(fits), np.inf)
            while len(kept) < OPTIMA:
                off = np.sqrt(((made - made[kept[-1]]) ** 2).mean(axis=1))
                distance = np.minimum(distance, np.where(np.isfinite(off), off, 0.0))
                if distance.max() <= least:
                    break
                kept.append(int(np.argmax(distance)))
        return kept

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
    fits: dict[bytes, list[np.ndarray]] = field(default_factory=dict, compare=False)

    def fit(self, bought: np.ndarray) -> list[np.ndarray]:
        """Fits (k, P) of each of ``outputs``, made once for the same runs."""
        key = np.packbits(bought).tobytes()
        if key not in self.fits:
            pairs = zip(self.outputs, self.rows, strict=True)
            self.fits[key] = [one.fitted(bought, rows) for one, rows in pairs]
        return self.fits[key]

    def shuffled(self, rng: np.random.Generator) -> Group:
        """The same runs in random order, lest what stands first in a file is taken of those that look alike
        (of moe's runs of equal inputs the first has the lower loss)."""
        count = len(self.cost)
        order = rng.permutation(count)
        places = [np.concatenate([order + i for i in range(0, len(rows), count)]) for rows in self.rows]
        outputs = [replace(one, pool=one.pool.at(at)) for one, at in zip(self.outputs, places, strict=True)]
        return replace(self, cost=self.cost[order], outputs=outputs, fits={})

    def scored(self, fits: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of the best fits, and truths, of all outputs at the target runs."""
        made = [one.predicted(best[0]) for one, best in zip(self.outputs, fits, strict=True)]
        return np.concatenate(made), np.concatenate([one.target.target for one in self.outputs])


def problems(part: Any) -> tuple[Problem, Problem]:
    """Of the pool and of the target of a fit (``Part`` of experiments/published/scalebench.py), on the loss
    itself."""
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


def groups(task: str, train: pd.DataFrame, parts: Iterable[Any], losses: int) -> Iterator[Group]:
    """The groups of an instance.

    Args:
        task: its name.
        train: all runs that may be bought.
        parts: the separate fits of the law (see :func:`problems`).
        losses: how many a run has.
    """
    found: dict[str, list[Any]] = {}
    for part in parts:
        found.setdefault(str(part.train["group"].iloc[0]), []).append(part)
    for name, pieces in found.items():
        own = train[train["group"] == name]
        count, outputs = len(own), [Outputs(*problems(piece)) for piece in pieces]
        rows = [np.arange(len(one.pool.target)) % count for one in outputs]
        params = sum(len(one.pool.names) for one in outputs)
        yield Group(COSTS[task](own).to_numpy(float), outputs, rows, params, losses)
