"""The protocol of benchmarks/forecasts.py, and that the shipped constants are its."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.fits import discrepancy, extrapolation

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import forecasts  # noqa: E402
from forecasting import families, pairs, scores, sets, splits  # noqa: E402


def ladder(sizes=6, budgets=9):
    """Runs of so many sizes at each of budgets a factor of 2 apart."""
    c, n = (x.ravel() for x in np.meshgrid(1e18 * 2.0 ** np.arange(budgets), 1e8 * 1.5 ** np.arange(sizes)))
    frame = pd.DataFrame({"params": n, "tokens": c / (6 * n), "flops": c, "loss": 2.0})
    return frame.sort_values("flops", ignore_index=True)


def test_splits_train_below_and_test_at_the_anchor():
    runs = ladder()
    found = list(splits.splits(runs))
    assert {split.anchor for split in found} == {c for c in (256e18, 64e18, 16e18)}
    for split in found:
        assert split.train["flops"].max() <= 1.02 * split.anchor / split.reach
        assert (split.test["flops"] / split.anchor).between(0.7, 1.02).all()
        assert len(split.train) >= 10 and split.train["flops"].max() >= 5 * split.train["flops"].min()
    sizes = [(split.anchor, len(split.train)) for split in found]
    assert len(set(sizes)) == len(sizes)


def test_a_folder_of_tables_is_sets_by_family(tmp_path):
    (tmp_path / "lab").mkdir()
    for place in ("lab/a.csv", "lab/b.csv", "alone.csv"):
        ladder().drop(columns="flops").to_csv(tmp_path / place, index=False)
    (tmp_path / "notes.csv").write_text("x,y\n1,2\n")
    found = list(sets.of_folder(tmp_path))
    assert [(one.family, one.name) for one in found] == [
        ("alone", "alone"),
        ("lab", "lab/a"),
        ("lab", "lab/b"),
    ]
    assert found[0].runs["flops"].to_numpy() == pytest.approx(ladder()["flops"].to_numpy())


def simulated(spread, each=40, kappa=0.8, number=30, mean=0.7):
    """Errors of so many families whose kappa varies."""
    rng, parts = np.random.default_rng(0), []
    for family in range(number):
        own = kappa * np.exp(spread * rng.standard_normal())
        u = rng.uniform(0.01, 0.04, each)
        error = own * mean * 0.7 * u + rng.standard_normal(each) * np.sqrt(0.005**2 + (own * u) ** 2)
        known = {"family": f"f{family}", "set": f"s{family}", "split": range(each), "y": 1.0}
        known |= {"centre": 1.0 + error, "law": 0.003, "run": 0.004, "lean": 0.7 * u}
        known |= dict.fromkeys(("unscaled", "stated"), u)
        parts.append(pd.DataFrame(known))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_the_constants_of_families_are_recovered(spread):
    rows, every = simulated(spread), [f"f{i}" for i in range(30)]
    at = {mean: families.likelihoods(rows, mean) for mean in (0.1, 0.4, 0.7, 1.0)}
    found = families.constants(at, every)
    assert found.kappa == pytest.approx(0.8, rel=0.2) and found.spread == pytest.approx(spread, abs=0.15)
    assert found.mean == 0.7
    share = forecasts.reliability(rows, dict.fromkeys(every, found))["macro"]
    assert share.to_numpy() == pytest.approx(share.index.to_numpy(float), abs=0.07)


def test_a_family_left_out_has_no_part_in_its_own_scale(monkeypatch):
    rows = simulated(0.1, number=6)
    rows.loc[rows["family"] == "f0", "centre"] = 1.0 + 9 * (rows["centre"] - 1.0)
    monkeypatch.setattr(forecasts, "MEANS", (0.0, 0.7))
    kappa = {family: one.kappa for family, one in forecasts.left_out(rows).items()}
    assert kappa["f0"] < 0.95 and kappa["f0"] == min(kappa.values())


def test_the_interval_score_adds_misses():
    rows = pd.DataFrame({"family": "a", "set": "a", "bucket": "2x", "y": [0.0, 0.03]})
    found = scores.scored(rows, np.array([-0.01, -0.01]), np.array([0.01, 0.01]))
    assert found["score"].tolist() == pytest.approx([0.02, 0.02 + 20 * 0.02])
    assert scores.relative(found, found.assign(score=2 * found["score"])) == pytest.approx(0.5)


def test_the_shipped_constants_say_where_they_are_from():
    origin = discrepancy.shipped().origin
    inside = [
        low <= discrepancy.shipped().kappa <= high for low, high in origin["kappa of families, 90 %"].values()
    ]
    assert len(origin["sets"]) >= 10 and sum(inside) >= len(inside) / 2
    found = origin["families left out"]
    missed = {name for name, (low, high) in forecasts.GOALS.items() if not low <= found[name] <= high}
    assert missed == forecasts.NOT_REACHED


@pytest.mark.slow
def test_the_shipped_constants_are_those_of_the_published_runs(published, tmp_path):
    rows, _ = forecasts.collect(list(sets.published(published)), workers=2)
    at = {mean: families.likelihoods(rows, mean) for mean in families.MEANS}
    derived, shipped = families.constants(at, rows["family"].unique()), discrepancy.shipped()
    assert derived.kappa == pytest.approx(shipped.kappa, rel=0.02)
    assert derived.spread == pytest.approx(shipped.spread, rel=0.05)
    assert derived.mean == pytest.approx(shipped.mean, abs=0.1)
    found = forecasts.report(rows, pd.DataFrame(), forecasts.left_out(rows))
    kept = shipped.origin["families left out"]
    assert json.dumps(sorted(kept)) == json.dumps(sorted(found))
    assert found["macro"] == pytest.approx(kept["macro"], abs=0.01)


def test_each_split_is_forecast_from_below_beside_the_references(monkeypatch):
    runs = ladder().query("flops <= 64e18")
    loss = 1.7 + 406 / runs["params"] ** 0.34 + 411 / runs["tokens"] ** 0.28
    runs = runs.assign(loss=loss * np.exp(0.002 * np.random.default_rng(0).standard_normal(len(runs))))
    (split, *_) = splits.splits(runs)
    monkeypatch.setattr(pairs, "splits", lambda runs: [split])
    monkeypatch.setattr(pairs, "REPLICATES", 20)
    found = pairs.pairs(sets.Set("made up", "ladder", runs))
    assert set(found["set"]) == {"made up/ladder"} and len(found) == len(split.test)
    assert found["y"].to_numpy() == pytest.approx(np.log(split.test["loss"].to_numpy()))
    assert (found["far"] > 1).all() and found["centre"].to_numpy() == pytest.approx(found["y"], abs=0.02)
    for name in ("predict", "freeze", "pairs"):
        assert (found[f"{name}_low"] < found[f"{name}_high"]).all()
    assert np.isfinite(families.likelihoods(found, 1.0)["made up"]).all()
    assert found["lean"].to_numpy() == pytest.approx(found["lean"][0])  # all twice the compute or more
    assert found["lean"][0] == pytest.approx(found["unscaled"].mean(), rel=0.2)
    other = replace(discrepancy.shipped(), mean=0.0, kappa=2.0)  # what is shipped has no part in it
    monkeypatch.setattr(extrapolation, "shipped", lambda: other)
    again = pairs.pairs(sets.Set("made up", "ladder", runs))
    columns = ["centre", "law", "run", "unscaled", "stated", "lean"]
    assert again[columns].to_numpy() == pytest.approx(found[columns].to_numpy())


@pytest.mark.slow
def test_one_published_set_gives_the_kappa_it_gave(published):
    one = next(s for s in sets.published(published) if s.family == "olmo")
    found = families.kappas(families.likelihoods(pairs.pairs(one), discrepancy.shipped().mean))["olmo"]
    kept = discrepancy.shipped().origin["kappa of families, 90 %"]["olmo"]
    assert found == pytest.approx(kept, rel=0.05, abs=0.02)
