"""Designs that leave cells out by their size or FLOPs, and those that change a field from cell to cell."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from scaling.cli.plan_text import left_out_rows
from scaling.errors import UserError
from scaling.plan.expand import make_plan
from scaling.plan.plan import Plan
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed, fake_index_of, plan_of

WIDTHS = [16, 24, 32, 48, 64, 96, 128]
BUDGETS = [1e11, 4e11, 1.6e12]


def planned(**changes: Any) -> Plan:
    """A plan of seven sizes, on data as large as the shipped corpus."""
    return make_plan(study_from_dict(changed(family__widths=WIDTHS, **changes)), fake_index_of)


def window(center: Any, **size: Any) -> dict[str, Any]:
    return {"kind": "isoflop", "budgets": BUDGETS, "window": {"center": center, **size}}


def widths(plan: Plan, budget: float) -> list[int]:
    return [run.built_in.shape.width for run in plan.runs if run.budget == budget]


def test_a_window_keeps_the_sizes_nearest_to_a_ratio_and_says_what_it_leaves_out() -> None:
    plan = planned(design=window({"kind": "ratio", "tokens_per_param": 20}, sizes=3))
    everything = planned(design={"kind": "isoflop", "budgets": BUDGETS})
    for budget in BUDGETS:
        runs = [run for run in everything.runs if run.budget == budget]
        # D / N falls as N^2, so that the ratio of its logarithm orders sizes as their distance does
        nearest = sorted(runs, key=lambda run: abs(math.log(run.run.tokens / run.params / 20)))[:3]
        assert {run.run_id for run in nearest} == {run.run_id for run in plan.runs if run.budget == budget}
    assert len(plan.runs) + len(plan.excluded) == len(everything.runs)
    reasons = {one.label: one.reason for one in plan.excluded}
    assert reasons["w16-4e11-s0"].startswith("not one of the 3 sizes nearest to 60,500, the centre")
    rows = left_out_rows(plan)
    assert len(rows) == len(BUDGETS) and rows[1][0].startswith("w16-4e11-s0, "), "a row for each budget"
    assert [float(why.split(" at ")[1].split()[0]) for _, why in rows] == sorted(BUDGETS)


def test_a_window_within_a_factor_of_a_power_law() -> None:
    center = {"kind": "power", "coefficient": 0.1, "exponent": 0.5, "of": "body"}
    plan = planned(design=window(center, within=2.5))
    for run in plan.runs:
        assert run.budget is not None and run.params_body is not None
        assert 1 / 2.5 <= run.params_body / (0.1 * run.budget**0.5) <= 2.5
    assert [widths(plan, budget) for budget in BUDGETS] == [[24, 32, 48], [48, 64], [48, 64, 96]]


def test_the_window_of_a_law_is_about_its_minimum_at_exact_flops() -> None:
    law = {"kind": "law", "A": 400.0, "B": 900.0, "alpha": 0.4, "beta": 0.3}
    plan = planned(design=window(law, sizes=1))
    everything = planned(design={"kind": "isoflop", "budgets": BUDGETS})
    for budget in BUDGETS:
        best = min(
            (run for run in everything.runs if run.budget == budget),
            key=lambda run: 400 / run.params**0.4 + 900 / run.run.tokens**0.3,
        )
        assert widths(plan, budget) == [best.run.shape.width]
    assert sum("a minimum takes 3" in note for note in plan.notes) == 3


def test_a_window_at_the_edge_of_the_family_is_noted() -> None:
    (note,) = planned(design=window({"kind": "ratio", "tokens_per_param": 0.5}, sizes=3)).notes[-1:]
    assert "are smaller: the minimum may lie beyond" in note and "1.6e+12" in note
    small = window({"kind": "ratio"}, sizes=3) | {"budgets": [1e9, 2e9, 4e9]}
    notes = planned(design=small, recipe__schedule={"kind": "cosine", "warmup": "5 %"}).notes
    assert any("are larger: the minimum may lie below" in note for note in notes)


def test_a_warmup_in_percent_is_of_the_shortest_horizon_inside_the_window() -> None:
    schedule = {"kind": "wsd", "warmup": "10 %", "decay": "20 %"}
    plan = planned(design=window({"kind": "ratio"}, sizes=2), recipe__schedule=schedule)
    shortest = dict[int, int]()
    for run in plan.runs:
        shortest[run.params] = min(run.run.steps, shortest.get(run.params, run.run.steps))
    for run in plan.runs:
        assert run.built_in.schedule.warmup == pytest.approx(0.1 * shortest[run.params], abs=0.5)


def test_over_trained_rays_end_where_compute_does() -> None:
    plan = planned(design={"kind": "over-training", "multiples": [20, 80, 320], "max_flops": 1e12})
    assert max(run.flops for run in plan.runs) <= 1e12
    largest = {label: 0 for label in ("20x", "80x", "320x")}
    for run in plan.runs:
        largest[run.label.split("-")[1]] = max(largest[run.label.split("-")[1]], run.built_in.shape.width)
    assert largest == {"20x": 48, "80x": 32, "320x": 16}
    assert len(plan.excluded) == 21 - len(plan.runs)


def test_kaplan_trains_large_sizes_on_few_tokens() -> None:
    plan = planned(design={"kind": "kaplan", "tokens": [5e4, 1e5, 2e5], "max_multiple": 5})
    assert max(run.run.tokens / run.params for run in plan.runs) < 5.01
    assert sorted(widths(plan, None)) == sorted([*WIDTHS, *WIDTHS[1:], *WIDTHS[2:]])  # type: ignore[arg-type]
    of_body = planned(design={"kind": "kaplan", "tokens": [5e4, 1e5, 2e5], "max_multiple": 5, "of": "body"})
    assert 0 < len(of_body.runs) < len(plan.runs)


def test_repetition_crosses_parts_of_the_text_with_epochs() -> None:
    plan = planned(design={"kind": "repetition", "unique_tokens": [64e3, 128e3], "epochs": [1, 4]})
    runs = [run.built_in for run in plan.runs]
    cells = {(run.data.unique_tokens, round(run.tokens / (run.data.unique_tokens or 1))) for run in runs}
    assert cells == {(64_000, 1), (64_000, 4), (128_000, 1), (128_000, 4)}
    assert len(plan.jobs) == 2 * len(WIDTHS), "epochs of one part lie on one trunk"
    held_out = planned(
        design={"kind": "repetition", "unique_tokens": [64e3], "epochs": [1, 4]},
        holdout=[{"width": 80, "tokens": 1e6}],
    )
    assert held_out.runs[-1].built_in.data.unique_tokens is None


def test_critical_batch_varies_the_batch_at_fixed_tokens() -> None:
    rate = {"kind": "power", "of": {"batch_tokens": 0.5}, "coefficient": 1e-3}
    plan = planned(
        design={"kind": "critical-batch", "tokens": [256e3, 512e3], "batches": [128, 512]},
        recipe__optimizer__learning_rate=rate,
    )
    assert {(run.run.batch_tokens, run.run.tokens) for run in plan.runs} == {
        (128, 256_000), (128, 512_000), (512, 256_000), (512, 512_000),
    }  # fmt: skip
    rates = {run.run.batch_tokens: run.built_in.learning_rate for run in plan.runs}
    assert rates[512] == pytest.approx(2 * rates[128])
    assert len(plan.jobs) == 2 * len(WIDTHS), "horizons of one batch lie on one trunk"


@pytest.mark.parametrize(
    ("design", "messages"),
    [
        (window({"kind": "ratio"}), ["design.window: needs exactly one of sizes and within, has neither"]),
        (
            window({"kind": "ratio"}, sizes=3, within=2),
            ["design.window: needs exactly one of sizes and within, has both"],
        ),
        (window({"kind": "ratio"}, sizes=9), ["design.window.sizes: asks for 9 sizes, and the family has 7"]),
        (
            {"kind": "over-training", "multiples": [20], "max_flops": 1e3},
            ["design: leaves every run out: w16-20x-s0: 2.05e+10 FLOPs, more than max_flops = 1e+03"],
        ),
        (
            {"kind": "repetition", "unique_tokens": [64e3], "epochs": [1e-3, 1]},
            ["design.epochs[0]: too small for one step of w16-64tok-u6.4e4-s0, which is 256 tokens"],
        ),
        (
            {"kind": "critical-batch", "tokens": [1e6], "batches": [100, 128, 200]},
            [
                "design.batches[0]: must be a multiple of data.context = 64, is 100",
                "design.batches[2]: must be a multiple of data.context = 64, is 200",
            ],
        ),
        (
            window({"kind": "ratio"}, sizes=2) | {"budgets": [1e3, 1e4, 1e11]},
            [
                "design.budgets[0]: too small for one step of w16-1000-s0, which is 256 tokens",
                "design.budgets[1]: too small for one step of w16-1e4-s0, which is 256 tokens",
            ],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_design_is_said_all_at_once(design: dict[str, Any], messages: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        planned(design=design)
    assert [f"{problem.where}: {problem.message}" for problem in raised.value.problems] == messages


def test_a_million_cells_are_refused_before_any_is_made() -> None:
    widths, budgets = [8 * i for i in range(1, 1001)], [1e15 * (1 + i) for i in range(1000)]
    narrow = {"center": {"kind": "ratio"}, "sizes": 3}
    began = time.process_time()
    with pytest.raises(UserError) as raised:
        plan_of(
            family__widths=widths,
            seeds=[0, 1],
            design={"kind": "isoflop", "budgets": budgets, "window": narrow},
        )
    assert raised.value.problems[0].message == "asks for 2,000,000 runs, at most 1,000,000 are planned"
    assert time.process_time() - began < 5


def test_an_axis_or_a_variant_does_not_change_what_the_design_does() -> None:
    design = {"kind": "critical-batch", "tokens": [256e3], "batches": [128, 512]}
    with pytest.raises(UserError) as raised:
        plan_of(
            design=design,
            axes=[{"cross": {"recipe.batch_tokens": [256]}}],
            variants={"small": {"recipe.batch_tokens": 64}, "plain": {}},
        )
    messages = [f"{problem.where}: {problem.message}" for problem in raised.value.problems]
    said = "the design changes recipe.batch_tokens itself, in design.batches"
    assert f"axes[0].cross.recipe.batch_tokens: {said}" in messages
    assert f"variants.small.recipe.batch_tokens: {said}" in messages
