from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, criticalbatch
from analysis.figures.basins import critical_batch
from analysis.hyperparameters import optima

BATCHES = 1e3 * 2.0 ** np.arange(0, 14, 2)


def critical(loss: float) -> float:
    return 2e8 * loss**-4.8


def steps(loss: float, batch: np.ndarray) -> np.ndarray:
    """S = Smin (1 + Bcrit / B), Smin falling with the loss."""
    return 1e6 * loss**-5 * (1 + critical(loss) / batch)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng, rows = np.random.default_rng(0), []
    for loss in (2.5, 3.0, 3.5, 4.5):
        noisy = steps(loss, BATCHES) * np.exp(0.01 * rng.normal(size=len(BATCHES)))
        rows.append(pd.DataFrame({"target_loss": loss, "batch_tokens": BATCHES, "steps": noisy}))
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def found(table) -> criticalbatch.CriticalBatch:
    return criticalbatch.find(table, bootstrap=200)


def test_the_critical_batch_and_its_law(found):
    truth = [critical(loss) for loss in found.cells["target_loss"]]
    assert found.cells["critical_batch"].to_numpy() == pytest.approx(truth, rel=0.1)
    inside = (found.cells["critical_batch_low"] <= truth) & (truth <= found.cells["critical_batch_high"])
    assert inside.sum() >= 3 and (found.cells["verdict"] == "yes").all()
    power = optima.powers(found.law).loc["target_loss"]
    assert power["low"] < -4.8 < power["high"] and power["high"] - power["low"] < 1
    at = found.predict(L=2.0).iloc[0]
    assert at["critical_batch_low"] < critical(2.0) < at["critical_batch_high"]
    assert at["critical_batch_extrapolation"] == pytest.approx(1.25)
    assert "L^-4." in str(found) and "Bcrit" in str(found)


@pytest.mark.parametrize(("side", "sign"), [(1e-4, ">"), (50.0, "<")])
def test_batches_on_one_side_give_a_bound(side, sign):
    """All far below, or far beyond, the critical batch."""
    batches = side * critical(3.0) * 2.0 ** np.arange(8)
    noisy = steps(3.0, batches) * np.exp(0.03 * np.random.default_rng(0).normal(size=8))
    found = criticalbatch.find(
        pd.DataFrame({"batch_tokens": batches, "steps": noisy}), by=(), on=(), bootstrap=200
    )
    cell = found.cells.iloc[0]
    assert (
        cell["verdict"] == "one_sided" and np.isnan(cell["critical_batch"]) and f"Bcrit {sign}" in str(found)
    )
    low, high = cell["critical_batch_low"], cell["critical_batch_high"]
    assert (
        (low < critical(3.0) and np.isnan(high)) if sign == ">" else (np.isnan(low) and high > critical(3.0))
    )


def test_a_group_without_a_critical_batch_stays_out_of_the_law(table):
    cut = table[(table["target_loss"] > 2.5) | (table["batch_tokens"] < 2e4)]
    found = criticalbatch.find(cut, bootstrap=200)
    assert found.law.objective.n == 3 and "target_loss = 2.5" in found.law.excluded[0]["row"]


def test_json_keeps_everything(found):
    again = criticalbatch.CriticalBatch.from_json(found.to_json())
    assert again.to_json() == found.to_json() and str(again) == str(found)
    with pytest.raises(AnalysisError, match="critical batch"):
        criticalbatch.CriticalBatch.from_json("[]")


def test_steps_to_a_loss_are_first_crossings():
    curves = pd.DataFrame({
        "run_id": ["a"] * 5 + ["b"] * 3,
        "step": [0, 10, 20, 30, 40, 0, 10, 20],
        "eval/loss": [6.0, 4.0, 5.0, 3.0, np.nan, 3.5, 3.4, 3.3],
    })  # fmt: skip
    runs = pd.DataFrame({"run_id": ["a", "b"], "batch_tokens": [512, 1024], "loss": [3.0, 3.3]})
    table, excluded = criticalbatch.steps_to_loss(curves, [5.0, 3.5, 3.4, 2.0], runs=runs)
    steps = {(r.run_id, r.target_loss): r.steps for r in table.itertuples()}
    # a: halfway down; from 4.0, its lowest so far, to 3.0; b: exactly at its second point
    assert steps == pytest.approx({("a", 5.0): 5.0, ("a", 3.5): 25.0, ("a", 3.4): 26.0, ("b", 3.4): 10.0})
    assert table["batch_tokens"].tolist() == [512, 512, 512, 1024]
    assert [(e["row"], e["reason"].partition(" the loss")[0]) for e in excluded] == [
        ("a", "never reaches"), ("b", "is below"), ("b", "is below"), ("b", "never reaches"),
    ]  # fmt: skip
    roles = runs.assign(role=["trunk", *["fit"] * (len(runs) - 1)])
    branches, excluded = criticalbatch.steps_to_loss(curves, 5.0, runs=roles)
    first = str(runs["run_id"].iloc[0])
    assert {"row": first, "reason": "others branch from it"} in excluded and first not in set(
        branches["run_id"]
    )
    one, _ = criticalbatch.steps_to_loss(curves, 5.0)
    assert one["steps"].tolist() == [5.0]


def test_tables_without_steps_are_named(table):
    with pytest.raises(AnalysisError, match="has no rows"):
        criticalbatch.find(table.iloc[:0])
    bad = table.assign(steps=table["steps"].where(table["target_loss"] > 2.5, -7.0))
    found = criticalbatch.find(bad, bootstrap=0)
    assert "7 rows: steps = -7.0 is not" in found.cells["reason"][0]
    assert found.excluded[0]["reason"] == "steps = -7.0 is not finite and positive"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"batch": "bs"}, "'bs' is missing"),
        ({"on": ("tokens",)}, "must be one of by"),
        ({"cluster": "tokens"}, "tokens"),
        ({"steps": "stepz"}, "stepz"),
    ],
)
def test_bad_requests_are_named(table, found, asked, message):
    with pytest.raises(AnalysisError, match=message):
        criticalbatch.find(table, **asked)


def test_bad_curves_are_named():
    curves = pd.DataFrame({"run_id": ["a"], "step": [0], "eval/loss": [1.0]})
    runs = pd.DataFrame({"run_id": ["b"], "batch_tokens": [1]})
    for asked, message in (
        ({"targets": []}, "targets"),
        ({"targets": ["low"]}, "targets"),
        ({"targets": [1.0], "loss": "nll"}, "'nll' is missing"),
        ({"targets": [1.0], "runs": runs}, "no row for a"),
    ):
        with pytest.raises(AnalysisError, match=message):
            criticalbatch.steps_to_loss(curves, **asked)


def test_figure(found):
    left, right = critical_batch(found)
    stars = [line for line in left.lines if line.get_marker() == "*" and len(line.get_xdata())]
    cell = found.cells.iloc[0]
    assert stars[0].get_xdata()[0] == pytest.approx(2 * cell["Emin"])  # E = 2 Emin at B = Bcrit
    assert stars[0].get_ydata()[0] == pytest.approx(2 * cell["Smin"])
    assert right.get_xlabel() == "Loss reached"


def test_a_design_is_read_at_the_loss_that_all_its_batches_reach_before_their_decay():
    """Two horizons of one trunk, in whole steps of 100 and 400 tokens; losses fall with steps, each batch to
    its own, and far below in the decay."""
    trunk = {
        "run_id": "t",
        "role": "trunk",
        "params": 1e4,
        "tokens": 1000,
        "batch_tokens": 100,
        "decay_tokens": 0,
    }
    rows, curves = [trunk], [("t", 10, 1000, 5.0)]
    for asked in (10_000, 20_000):
        for batch in (100, 400, 1600):
            steps = round(asked / batch)
            rows.append({"run_id": f"{asked}-{batch}", "role": "fit", "params": 1e4, "tokens": steps * batch,
                         "batch_tokens": batch, "decay_tokens": 0.2 * asked})  # fmt: skip
            needs, constant = 20 * (1 + 800 / batch), steps * batch - 0.2 * asked  # steps to a loss of 3
            curves += [(f"{asked}-{batch}", s, s * batch, 4 - s / needs if s * batch <= constant else 0.5)
                       for s in range(steps + 1)]  # fmt: skip
    frame = pd.DataFrame(curves, columns=["run_id", "step", "tokens", "eval/loss"])
    table, excluded = criticalbatch.steps_to_common_loss(frame, pd.DataFrame(rows))
    assert excluded == [{"row": "t", "reason": "others branch from it"}]
    assert table.groupby("horizon")["batch_tokens"].apply(list).to_dict() == {
        10_000: [100, 1600, 400], 20_000: [100, 1600, 400],
    }  # fmt: skip
    # the largest batch has 4 (9) constant steps of the 30 that a loss of 3 takes it
    assert table.groupby("horizon")["target_loss"].unique().tolist() == [[4 - 4 / 30], [4 - 9 / 30]]
    found = criticalbatch.find(table, by=("params", "horizon"), on=(), bootstrap=20)
    assert found.cells["critical_batch"].tolist() == pytest.approx([800, 800], rel=1e-6)
    with pytest.raises(AnalysisError, match=r"'eval/los' is missing.*'eval/loss'"):
        criticalbatch.steps_to_common_loss(frame, pd.DataFrame(rows), loss="eval/los")
    with pytest.raises(AnalysisError, match="no value before the decay"):
        criticalbatch.steps_to_common_loss(frame[frame["tokens"] > 16_000], pd.DataFrame(rows))


def test_one_identified_group_has_no_power_law_and_says_so():
    batches = np.array([100.0, 200, 400, 800, 1600, 3200])
    seen = pd.DataFrame({"target_loss": 3.0, "batch_tokens": batches, "steps": 20 * (1 + 500 / batches)})
    flat = seen.assign(target_loss=2.0, steps=1e6 / batches)  # no saturation
    found = criticalbatch.find(pd.concat([seen, flat]), bootstrap=20)
    assert found.law is None and sorted(found.cells["verdict"]) == ["one_sided", "yes"]
    assert found.cells.set_index("target_loss").loc[2.0, "critical_batch_low"] >= 3200
    assert any("no power law of target_loss: the critical batch of 1 of 2" in note for note in found.notes)
