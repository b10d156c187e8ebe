"""Cells that decide between laws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import fit
from analysis.fits.result import Fit
from analysis.planning.rivals import decisions


def loss(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    return 1.8 + 480 / n**0.35 + 2100 / d**0.37


def table(sizes: np.ndarray, ratios: tuple[float, ...], noise: float = 0.0) -> pd.DataFrame:
    n, ratio = (x.ravel() for x in np.meshgrid(sizes, ratios))
    wiggle = np.exp(noise * np.random.default_rng(0).standard_normal(len(n)))
    frame = pd.DataFrame({"params": n, "tokens": ratio * n, "flops": 6 * ratio * n**2})
    return frame.assign(loss=loss(n, ratio * n) * wiggle, cost=frame["flops"])


@pytest.fixture(scope="module")
def fits() -> dict[str, Fit]:
    runs = table(np.geomspace(1e7, 3e8, 5), (5, 20, 80), noise=0.002)
    return {name: fit(name, runs, bootstrap=0) for name in ("chinchilla", "kaplan")}


CELLS = table(np.geomspace(5e8, 1e10, 24), (2, 20, 25, 200))


def test_cells_that_decide_lie_apart(fits: dict[str, Fit]) -> None:
    found = [one for one in decisions(fits, CELLS) if one.other == "kaplan"]
    assert len(found) == 3 and all(one.decides for one in found)
    places = np.log(CELLS[["params", "tokens"]].to_numpy(float))[[one.offer for one in found]]
    apart = np.abs(places[:, None] - places[None]).sum(axis=2)[np.triu_indices(3, 1)]
    assert apart.min() >= np.log(2)
    (one, *_), said = found, {x: made.predict(CELLS).frame["loss"] for x, made in fits.items()}
    side = "above" if said["kaplan"][one.offer] > said["chinchilla"][one.offer] else "below"
    assert f"kaplan lies {abs(one.apart):.2%} {side} chinchilla there" in one.text


def test_where_none_decides_that_is_said_once(fits: dict[str, Fit]) -> None:
    (one,) = decisions(fits, table(np.geomspace(4e7, 6e7, 4), (20,)))
    assert not one.decides and one.text.endswith("where they differ most: no cell on offer decides")
