"""The spec of each design plans what it promises, and trains, small."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from analysis.results import SeedNoise
from analysis.tables.loading import load
from analysis.tables.noise import seed_noise
from scaling.design.choosing import choose
from scaling.plan.expand import make_plan, plan_spec
from scaling.plan.plan import Plan
from scaling.plan.warnings import has_long_warmup
from scaling.spec.designs.chosen import Adaptive
from scaling.spec.load import load_study
from scaling.study import run_study
from tests.plan.studies import fake_index_of

SPECS = Path(__file__).resolve().parents[2] / "experiments" / "designs"
SMALL = (
    "data.context=16",
    "evaluation={documents: 24, tokens: 2048}",
    "recipe.schedule={kind: wsd, warmup: 4 steps, decay: 20 %}",
    "recipe.batch_tokens=128",
    "noise=null",
    "holdout=[]",
)
SIZES = "family.widths=[8, 16, 24]"
WIDTHS_ASPECTS = "family={kind: width-depth, widths: [8, 16], aspects: [4, 8], head_dim: 8}"
# how each is made small, and how many runs it has then; None: that depends on their losses
TINY: dict[str, tuple[tuple[str, ...], int | None]] = {
    "isoflop": (
        (SIZES, "design.budgets=[2e8, 4e8]", "design.window.sizes=2", "design.min_steps=1"),
        4,
    ),
    "isoflop-auto": (
        (SIZES, "design.budgets=[2e8, 4e8]", "design.window.sizes=2", "design.min_steps=1"),
        5,
    ),
    "grid": ((SIZES, "design.tokens=[5e3, 1e4]"), 6),
    "kaplan": ((SIZES, "design.tokens=[5e3, 3e4]"), 5),
    "over-training": ((SIZES, "design.multiples=[1, 2]", "design.max_flops=2e9"), 4),
    "repetition": (
        ("family.widths=[8, 16, 48]", "design.unique_tokens=[8e3, 32e3]", "design.epochs=[1, 4]"),
        12,
    ),
    "width-depth": ((WIDTHS_ASPECTS, "design.tokens=[5e3]"), 4),
    "replicates": (
        ("family.widths=[8, 16]", "design.tokens=[5e3, 1e4]", "noise={corners: [largest-longest]}"),
        8,
    ),
    "optimal": ((SIZES, "design={kind: optimal, budget: 4e9, compute: 2e9, min_steps: 10}"), 11),
    "adaptive": (
        (SIZES, "design={kind: adaptive, budget: 8e9, compute: 2e9, min_steps: 10, first: 0.4}"),
        None,
    ),
    "critical-batch": (
        (SIZES, "design.tokens=[5e3]", "design.batches=[64, 128]", "design.trunk_tokens=2e3"),
        9,
    ),
}


def planned(name: str) -> Plan:
    return make_plan(choose(load_study(SPECS / f"{name}.yaml")), fake_index_of)


def test_every_design_has_a_spec_that_is_trained_small() -> None:
    assert {path.stem for path in SPECS.glob("*.yaml")} == set(TINY)


@pytest.mark.parametrize("name", TINY)
def test_it_expands(name: str) -> None:
    plan = planned(name)
    first_alone = name in ("adaptive", "isoflop-auto")
    assert plan.totals.by_role["fit"] >= (8 if first_alone else 12)
    assert len({run.label for run in plan.runs}) == len(plan.runs)
    assert min(run.run.steps for run in plan.runs) >= 100
    assert max(run.epochs for run in plan.runs) <= 16


def test_isoflop_curves_have_five_sizes_and_their_centre_inside() -> None:
    plan = planned("isoflop")
    fitted = [run for run in plan.runs if run.role == "fit"]
    for budget in {run.budget for run in fitted}:
        ratios = [run.run.tokens / run.params for run in fitted if run.budget == budget]
        assert len(ratios) == 5 and min(ratios) < 30 < max(ratios)


def test_kaplan_and_over_training_are_the_two_sides_of_the_plane() -> None:
    few, many = (
        [run.run.tokens / run.params for run in planned(name).runs if run.role == "fit"]
        for name in ("kaplan", "over-training")
    )
    assert max(few) < 5.1 and min(many) > 39


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_small_one_is_trained(tmp_path: Path, name: str) -> None:
    changes, runs = TINY[name]
    study, _ = plan_spec(SPECS / f"{name}.yaml", [*SMALL, *changes], choose=choose)
    run_study(study, tmp_path / "results", workers=2)
    rows = pd.read_csv(tmp_path / "results" / "runs.csv")
    assert set(rows["status"]) == {"ok"}
    if runs is None:
        design = load_study(tmp_path / "results" / "study.yaml").design
        assert isinstance(design, Adaptive) and design.ended
        assert len(rows) > len(design.rounds[0].cells) >= 8
    else:
        assert len(rows) == runs
    if name == "repetition":
        assert set(rows["unique_tokens"]) == {8000, 32_000}
        assert rows["epochs"].max() == pytest.approx(4, rel=0.1)
    if name == "critical-batch":
        fitted, trunks = rows[rows["role"] == "fit"], rows[rows["role"] == "trunk"]
        assert set(fitted["batch_tokens"]) == {64, 128}
        assert set(fitted["init_from"]) == set(trunks["run_id"]) and len(trunks) == 3
    if name == "replicates":
        noise = SeedNoise.from_dict(seed_noise(load(tmp_path / "results")) or {})
        assert {name: part.degrees for name, part in noise.apart.items()} == {"init": 2, "order": 2}
        assert noise.evaluation is not None and 0 < noise.evaluation < 0.1


def test_no_run_of_the_repetition_design_is_left_out_of_its_fit() -> None:
    _, plan = plan_spec(SPECS / "repetition.yaml")
    assert not any(map(has_long_warmup, plan.runs)) and len(plan.runs) == 27
