"""The lower envelope of training curves, of simulated ones with known exponents."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, envelope, estimate
from analysis.optimal_size.envelope import Curves, between, smooth
from analysis.optimal_size.estimators import of_file
from analysis.tables.table import about

A = 0.37 / (0.34 + 0.37)
REFERENCE = Path(__file__).parents[3] / "results" / "reference" / "quickstart"


def simulate(noise=0.0, common=0.0, runs=16, points=80, seed=0):
    """Curves of sizes from 10M to 1B, from 1 to 100 tokens per parameter."""
    rng, parts = np.random.default_rng(seed), []
    for i, n in enumerate(np.geomspace(1e7, 1e9, runs)):
        d = np.geomspace(1, 100, points) * n
        loss = 1.7 + 400 / n**0.34 + 2000 / d**0.37
        loss *= np.exp(common * rng.standard_normal() + noise * rng.standard_normal(points))
        parts.append(pd.DataFrame({"run_id": f"r{i}", "params": n, "tokens": d, "loss": loss}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def exact():
    return simulate()


def test_a_known_exponent_is_recovered_within_its_interval():
    found = estimate("envelope", simulate(noise=0.01, common=0.002, runs=15), bootstrap=100)
    low, high = found.intervals.params["a"]
    assert low < A < high and high - low < 0.25 and abs(found.solution["a"] - A) < 0.04
    assert "15 clusters by run" in found.intervals.method and "in the first 0.05 of its run" in str(found)


def test_of_many_sizes_noise_chooses(exact):
    found = estimate("envelope", exact, bootstrap=20)
    assert found.status.code == "partly_identified" and set(found.params.values()) == {None}
    assert "16 sizes: among more than 15 noise chooses" in found.status.message


def test_without_noise_the_optima_are_the_laws(exact):
    """Where runs are missing on one side there is none: with the best run alone this misses by .013."""
    found = estimate("envelope", exact, bootstrap=0)
    assert abs(found.solution["a"] - A) < 0.002
    for p in found.points:
        n = np.geomspace(1e7, 1e9, 20001)
        loss = 1.7 + 400 / n**0.34 + 2000 / (p["budget"] / 6 / n) ** 0.37
        assert p["N"] == pytest.approx(n[loss.argmin()], rel=0.02)
        assert p["loss"] == pytest.approx(loss.min(), rel=2e-3)
        assert p["D"] == pytest.approx(p["budget"] / 6 / p["N"], rel=1e-3)
    assert "runs that touch the envelope: 14" in found.notes
    for why in ("the smallest size there is best", "the largest size there is best", "no two sizes compete"):
        assert any(why in note for note in found.notes)


def test_nearly_equal_sizes_do_not_make_a_slope():
    """The parabola through a worse run hardly smaller than the best one leads far away."""
    n, loss = np.array([[-0.01], [0.0], [1.0]]), np.array([[0.05], [0.0], [0.1]])
    size, tokens, least = between(np.stack([n, -n, loss]))[:, 0]
    assert abs(size) <= 0.005 and tokens == pytest.approx(-size) and least == 0.0


def test_warmup_is_dropped(exact):
    """A beginning that does too well, in the small half of the runs, is of no account."""
    early = exact["tokens"] < 5 * exact["params"]
    odd = exact.assign(loss=exact["loss"].where(~early | (exact["params"] > 1e8), 0.5 * exact["loss"]))
    found = estimate("envelope", odd, bootstrap=0)
    assert abs(found.solution["a"] - A) < 0.002 and len(found.excluded) == early.sum()
    kept = estimate("envelope", odd, bootstrap=0, curves=Curves(skip=0.0))
    assert abs(kept.solution["a"] - A) > 0.02 and not kept.excluded


def test_smoothing_takes_the_luck_out(exact):
    """Of noisy curves the lowest is too low."""

    def luck(table, half):
        found = estimate("envelope", table, bootstrap=0, curves=Curves(smoothing=half, skip=0))
        return np.mean([np.log(p["loss"]) + 0.08 * np.log(p["budget"]) for p in found.points])

    truth = luck(exact, 0.0)
    rough, fine = (luck(simulate(noise=0.02), half) - truth for half in (0.0, 0.5))
    assert rough < -0.003 and abs(fine) < 0.5 * abs(rough)


def test_a_window_that_slides_is_exact_on_lines():
    x = np.sort(np.random.default_rng(0).uniform(0, 5, 50))
    assert smooth(x, 40 - 0.3 * x, 0.4) == pytest.approx(40 - 0.3 * x, abs=1e-12)
    y = np.cos(x)
    near = np.abs(x - x[20]) <= 0.4
    assert smooth(x, y, 0.4)[20] == pytest.approx(np.polyval(np.polyfit(x[near], y[near], 1), x[20]))
    assert (smooth(x, y, 0.0) == y).all()


def test_which_rows_are_one_run(exact):
    named = exact.rename(columns={"run_id": "name"})
    found = estimate("envelope", named, bootstrap=0, curves=Curves(run="name"))
    assert found.solution == estimate("envelope", exact, bootstrap=0).solution
    assert found.solution == estimate("envelope", named, bootstrap=0, cluster="name").solution
    final = exact.groupby("run_id").tail(1)
    for table, options, why in (
        (named, {}, "none of run, run_name"),
        (final, {}, "'run_id' has another value in every row"),
        (exact, {"cluster": "colour"}, "'colour' is missing"),
    ):
        with pytest.raises(AnalysisError, match=f"needs checkpoints.*{why}"):
            estimate("envelope", table, **options)
    with pytest.raises(AnalysisError, match=r"(?s)smoothing = -1.*grid = 3"):
        estimate("envelope", exact, curves=Curves(smoothing=-1, grid=3))
    with pytest.raises(AnalysisError, match="after = 1"):
        estimate("envelope", exact, curves=Curves(skip=1))
    with pytest.raises(AnalysisError, match="they go with 'envelope'"):
        estimate("hull", exact, curves=Curves())


def test_curves_of_a_results_folder():
    table = envelope.checkpoints(REFERENCE)
    runs = pd.read_csv(REFERENCE / "runs.csv")
    assert not table.duplicated(["run", "tokens"]).any()
    assert table["run"].nunique() == runs["trunk_id"].nunique()
    decayed = [row for row in about(table).left_out if row["reason"] == "in the decay of its schedule"]
    assert (table["schedule"] == "wsd").all() and len(decayed) > 100
    curves = pd.read_parquet(REFERENCE / "curves.parquet")
    peak = curves.groupby("run_id")["train/learning_rate"].transform("max")
    flat = curves[(curves["train/learning_rate"] >= 0.999 * peak) & curves["train/loss"].notna()]
    assert set(table["loss"]) <= set(curves["train/loss"]) and set(flat["train/loss"]) <= set(table["loss"])
    found = of_file("envelope", REFERENCE, bootstrap=20, cluster=None, target="loss")
    assert found.usable and "in the decay of its schedule" in str(found)
    assert json.loads(found.to_json())["setup"]["curves"]["grid"] == 200
    of_trunks = of_file("envelope", REFERENCE / "runs.csv", bootstrap=0)  # the decayed losses of one trunk
    assert of_trunks.setup["curves"] and len(of_trunks.data["row"]) == (runs["role"] == "fit").sum()
    skipped = of_file("envelope", REFERENCE, {"after": 0.5, "where": "width > 32"}, bootstrap=0)
    assert "in the first 0.5 of its run" in str(skipped) and min(skipped.data["N"]) > 50_000
    with pytest.raises(AnalysisError, match="no such file"):
        envelope.checkpoints(REFERENCE / "fits")
