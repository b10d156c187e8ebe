import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError
from analysis.estimators import estimate


@pytest.fixture(scope="module")
def exact():
    rows = []
    for c in np.geomspace(1e18, 1e21, 6):
        for step in (-1.2, -0.6, -0.1, 0.0, 0.4, 0.9, 1.3):
            n = 0.1 * c**0.45 * np.exp(step)
            loss = 50 * c**-0.05 * np.exp(0.04 * step**2)
            rows.append({"params": n, "tokens": c / (6 * n), "flops": c, "loss": loss})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("kind", "error"), [("parabola", 1e-6), ("interpolation", 0.01), ("hull", 1e-6)])
def test_exponents_of_exact_tables(exact, kind, error):
    found = estimate(kind, exact, replicates=20, by="flops")
    assert found.a == pytest.approx(0.45, abs=error) and found.b == pytest.approx(0.55, abs=error)
    low, high = found.intervals["a"]
    assert low - 1e-9 <= found.a <= high + 1e-9 and "clusters by flops" in found.method
    assert found.bias in str(found) and len(found.points) >= 2


def test_seed_noise_gives_weights_and_intervals(exact):
    """A budget whose curve is ten times flatter has a minimum that noise moves: it must not decide."""
    flat = exact["flops"] == exact["flops"].max()
    bent = exact.assign(loss=exact["loss"].where(~flat, exact["loss"] ** 0.1))
    bent.loc[flat, "params"] *= 1.5
    found = estimate("interpolation", bent, replicates=400, noise=0.01)
    assert abs(found.a - 0.45) < 0.01 < 0.03 < estimate("interpolation", bent, replicates=0).a - 0.45
    low, high = found.intervals["a"]
    assert low < 0.45 < high and "seed noise 0.01" in found.method
    wider = estimate("interpolation", bent, replicates=400, noise=0.03).intervals["a"]
    assert wider[1] - wider[0] > 1.3 * (high - low)
    for wrong in ({"kind": "hull"}, {"noise": -0.1}, {"replicates": 0}):
        with pytest.raises(AnalysisError, match="noise"):
            estimate(**{"kind": "interpolation", "table": exact, "noise": 0.01} | wrong)


def test_the_hull_is_the_lower_one():
    c = np.geomspace(1, 1e4, 9)
    below = np.exp((np.log(c / 1e5) / 10) ** 2)  # convex in logs: every run of these is a vertex
    runs = pd.DataFrame({"params": c**0.5, "tokens": c**0.5, "flops": c, "loss": below})
    worse = runs.assign(loss=2 * below, params=c**0.2)
    found = estimate("hull", pd.concat([runs, worse], ignore_index=True), replicates=0)
    assert [p["budget"] for p in found.points] == pytest.approx(c) and found.a == pytest.approx(0.5)


def test_too_little_is_an_answer(exact):
    found = estimate("hull", exact[exact["flops"] == exact["flops"].min()])
    assert found.a is None and "exponents need two" in str(found)
    with pytest.raises(AnalysisError, match="unknown"):
        estimate("envelop", exact)


def test_published_hulls():
    folder = os.environ.get("SCALING_PUBLISHED_DATA")
    if folder is None:
        pytest.skip("SCALING_PUBLISHED_DATA is not set")
    table = pd.read_csv(Path(folder) / "gemstones" / "runs.csv")
    expected = json.loads((Path(folder) / "EXPECTED.json").read_text())["gemstones"]["approach1"]
    for subset, (a, b) in expected.items():
        found = estimate("hull", table[table["subset"] == subset], by="run_name", replicates=0)
        assert (found.a, found.b) == pytest.approx((a, b), abs=6e-7)
