"""The studies with variants and axes plan what they promise, and train, small."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scaling.plan.expand import plan_spec
from scaling.study import run_study

SPECS = Path(__file__).resolve().parents[2] / "experiments"
SMALL = (
    "data.context=16",
    "evaluation={documents: 24, tokens: 2048}",
    "family.widths=[8, 16]",
    "recipe.schedule={kind: wsd, warmup: 4 steps, decay: 20 %}",
    "design={kind: grid, steps: [20, 40]}",
)


def test_variants_are_trained_at_the_same_cells_with_the_same_seeds() -> None:
    _, plan = plan_spec(SPECS / "variants.yaml")
    cells = {
        name: {
            (run.role, run.run.shape.width, run.budget, run.run.seed)
            for run in plan.runs
            if run.variant == name
        }
        for name in ("swiglu", "gelu")
    }
    assert cells["swiglu"] == cells["gelu"] and len(cells["gelu"]) == len(plan.runs) / 2
    assert {run.run.shape.mlp for run in plan.runs if run.variant == "gelu"} == {"gelu"}
    sizes = [run.params for run in plan.runs]
    for one, other in zip(sizes[:17], sizes[17:34], strict=True):
        assert abs(one / other - 1) < 0.02, "the MLPs have about the same parameters"


def test_repetition_trains_on_nested_parts_of_one_text_and_evaluates_alike() -> None:
    _, plan = plan_spec(SPECS / "repetition.yaml")
    parts = {run.run.data.unique_tokens for run in plan.runs}
    assert parts == {64_000, 128_000, 256_000, None}
    assert len({run.run.data.fingerprint for run in plan.runs}) == 1
    assert len({plan.data_of(run).eval_id for run in plan.runs}) == 1
    assert max(run.epochs for run in plan.runs) == pytest.approx(31.25, rel=0.01)


def test_the_sweep_tunes_beside_its_design_and_its_rule_trains_another_study() -> None:
    _, sweep = plan_spec(SPECS / "learning-rate" / "sweep.yaml")
    assert sweep.totals.by_role == {"fit": 6, "tuning": 114}
    _, study = plan_spec(SPECS / "learning-rate" / "study.yaml")
    tuned = [run for run in study.runs if run.variant == "tuned"]
    for run in tuned:
        assert run.rules is not None and "basins.json sha256:" in run.rules["recipe.optimizer.learning_rate"]
        at = (run.params / 1e5) ** -0.531 * (run.run.batch_tokens / 128) ** 0.482
        assert run.run.optimizer.learning_rate == pytest.approx(0.00386 * at, rel=0.01)
    assert all(run.rules is None for run in study.runs if run.variant == "one-batch")


def test_constant_rates_are_points_of_the_trunks_of_decayed_ones() -> None:
    _, plan = plan_spec(SPECS / "merged.yaml")
    assert len(plan.jobs) == 6 and plan.totals.saved > 0.6
    assert {run.run.schedule.kind for run in plan.runs if run.variant == "constant"} == {"constant"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["variants", "repetition"])
def test_small_ones_are_trained(tmp_path: Path, name: str) -> None:
    held_out = ["noise=null", "holdout=[]"] if name == "variants" else []
    parts = ["axes=[{cross: {data.unique_tokens: [1600, null]}}]"] if name == "repetition" else []
    _, plan = plan_spec(SPECS / f"{name}.yaml", [*SMALL, *held_out, *parts])
    run_study(plan, tmp_path / "results", workers=2)
    rows = pd.read_csv(tmp_path / "results" / "runs.csv")
    assert len(rows) == 8 and set(rows["status"]) == {"ok"}
    if name == "variants":
        losses = rows.pivot_table("loss", ["width", "steps"], "variant")
        assert set(rows["variant"]) == {"swiglu", "gelu"} and (losses["swiglu"] != losses["gelu"]).all()
    else:
        assert sorted(set(rows["unique_tokens"]))[0] == 1600
        assert rows["variant"].isna().all()
