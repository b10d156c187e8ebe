"""Splits of a set: fit below a compute, predict the runs at another, so many times above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

REACHES = (2, 5, 10, 30)
EDGES = {
    "2x": 3.2,
    "5x": 7.1,
    "10x": 17.5,
    "30x": 60.0,
}  # of a target's compute over the most that was trained
ANCHORS, APART, ABOVE = 4, 3.0, 10.0  # at most; each below the one before; over the smallest run
WINDOW = (0.7, 1.02)  # of the anchor: targets
LEAST = {"runs": 10, "span": 5.0, "sizes": 3}  # of a training set
TARGETS = 25


@dataclass(frozen=True)
class Split:
    """``train, test``: runs; ``anchor``: compute predicted; ``reach``: how many times it is above
    training."""

    anchor: float
    reach: int
    train: pd.DataFrame
    test: pd.DataFrame


def anchors(compute: np.ndarray) -> list[float]:
    found: list[float] = []
    for c in np.sort(compute)[::-1]:
        if (not found or c <= found[-1] / APART) and c >= ABOVE * compute.min() and len(found) < ANCHORS:
            found.append(float(c))
    return found


def splits(runs: pd.DataFrame) -> Iterator[Split]:
    """All splits of ``runs``, sorted by flops."""
    compute, draw = runs["flops"].to_numpy(), np.random.default_rng(0)
    for anchor in anchors(compute):
        test = runs[(compute >= WINDOW[0] * anchor) & (compute <= WINDOW[1] * anchor)]
        if len(test) > TARGETS:
            test = test.iloc[np.sort(draw.choice(len(test), TARGETS, replace=False))]
        seen: set[int] = set()
        for reach in REACHES:
            train = runs[compute <= 1.02 * min(anchor / reach, WINDOW[0] * anchor)]
            if len(train) in seen or not _enough(train):
                continue
            seen.add(len(train))
            yield Split(anchor, reach, train, test)


def _enough(train: pd.DataFrame) -> bool:
    return (
        len(train) >= LEAST["runs"]
        and train["flops"].max() >= LEAST["span"] * train["flops"].min()
        and train["params"].nunique() >= LEAST["sizes"]
    )


def bucket(far: np.ndarray) -> np.ndarray:
    """The name of each extrapolation's bucket; empty beyond the last."""
    names, edges = [*EDGES, ""], list(EDGES.values())
    return np.array([names[i] for i in np.searchsorted(edges, far)])
