"""What may spoil a study: for each danger a plan that has it and one that has not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from scaling.plan.expand import make_plan
from scaling.plan.leverage import ALPHA, BETA, hinges
from scaling.plan.plan import Plan
from scaling.plan.warnings import plan_warnings
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed, fake_index, plan_of

WSD = {"kind": "wsd", "decay": "20 %"}
LONG = {"kind": "grid", "steps": [2000, 4000]}
GOOD: dict[str, Any] = {"design": LONG, "family__widths": [32, 64]}
ENOUGH: dict[str, Any] = {"design": LONG | {"steps": [2000, 3000, 4000]}, "family__widths": [32, 48, 64]}
BATCHES = {"kind": "critical-batch", "tokens": [1e8], "batches": [256, 320_000]}
SHORT = BATCHES | {"tokens": [1e5], "batches": [256, 512]}


def kinds(plan: Plan) -> set[str]:
    return {warning.kind for warning in plan_warnings(plan)}


def found(plan: Plan, kind: str) -> str:
    (text,) = (warning.text for warning in plan_warnings(plan) if warning.kind == kind)
    return text


def test_nothing_is_said_of_a_plan_without_dangers() -> None:
    study = study_from_dict(changed(**ENOUGH, holdout=[{"width": 80, "steps": 4000}]))
    assert kinds(make_plan(study, fake_index(10_000))) == set()


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        ("too_few", {}, "4 fitted runs of 2 sizes and 2 token counts are too few for Chinchilla's law"),
        (
            "too_few",
            {
                "axes": [{"role": "tuning", "cross": {"recipe.optimizer.b1": [0.8, 0.9]}}],
                "holdout": [{"width": 96, "steps": 4000}],
            },
            "held-out runs would stay untrained",
        ),
        ("holdout_inside", {"holdout": [{"width": 48, "steps": 2500}]}, "w48-2500st-s0 is within N, D and C"),
        ("few_steps", {"design": {"kind": "grid", "steps": [799, 2000]}}, "2 of 4 runs have under 800 steps"),
        ("few_steps", {"design": SHORT}, "2 of 4 runs have under 800 steps"),
        ("long_warmup", {"recipe__schedule": WSD | {"warmup": "501 steps"}}, "25%"),
        ("large_batch", {"recipe__batch_tokens": 10**6 // 64 * 64}, "2 of 4 runs"),
        ("extrapolation", {"holdout": [{"width": 160, "steps": 20_000}]}, "times the compute"),
        ("embeddings", {"family__widths": [16, 64]}, "2 of 4 runs"),
        ("holdout_warmup", {
            "holdout": [{"width": 80, "steps": 9000}], "recipe__schedule": WSD | {"warmup": "5 %"}
        }, "450 of 9,000 steps"),
    ],
)  # fmt: skip
def test_each_danger_is_named(kind: str, changes: dict[str, Any], says: str) -> None:
    text = found(plan_of(**GOOD | changes), kind)
    assert says in text, text


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("too_few", ENOUGH),
        ("too_few", {"axes": [{"role": "tuning", "cross": {"recipe.optimizer.b1": [0.8, 0.9]}}]}),
        ("too_few", {"design": {"kind": "critical-batch", "tokens": [1e6], "batches": [256, 512]}}),
        ("holdout_inside", {"holdout": [{"width": 48, "steps": 4001}]}),
        ("holdout_inside", {"holdout": [{"width": 72, "steps": 2500}]}),
        ("few_steps", {"design": {"kind": "grid", "steps": [800, 2000]}}),
        ("few_steps", {"design": BATCHES}),
        ("large_batch", {"design": BATCHES}),
        ("long_warmup", {"recipe__schedule": WSD | {"warmup": "500 steps"}}),
        ("extrapolation", {"holdout": [{"width": 160, "steps": 4000}]}),
        ("holdout_warmup", {"holdout": [{"width": 80, "steps": 9000}]}),
        (
            "holdout_warmup",
            {
                "holdout": [{"width": 80, "steps": 9000}],
                "recipe__schedule": {"kind": "cosine", "warmup": "5 %"},
            },
        ),
    ],
)
def test_what_is_no_danger_is_not_named(kind: str, changes: dict[str, Any]) -> None:
    assert kind not in kinds(plan_of(**GOOD | changes))


def test_a_design_too_small_for_the_law_is_named_before_it_is_paid_for() -> None:
    def too_few(**changes: Any) -> list[str]:
        return [one.message for one in plan_warnings(plan_of(**changes)) if one.kind == "too_few"]

    steps = {"kind": "grid", "steps": [100, 200, 400]}
    (text,) = too_few(design=steps)  # 2 sizes
    assert "6 fitted runs of 2 sizes and 3 token counts are too few for Chinchilla's law, which takes" in text
    assert not too_few(design=steps, family__widths=[16, 24, 32])
    alike = {"kind": "grid", "steps": [1000, 1001, 2000]}
    assert "3 sizes and 2 token counts are" in too_few(design=alike, family__widths=[16, 24, 32])[0]


def test_an_evaluation_set_should_resolve_neighbouring_runs() -> None:
    def evaluated(tokens: int) -> Plan:
        plan = plan_of(**GOOD)
        return plan.model_copy(update={"data": plan.data.model_copy(update={"eval_tokens": tokens})})

    enough = int(
        found(evaluated(1000), "evaluation").split("evaluation.tokens: ")[1].split()[0].replace(",", "")
    )
    assert enough == pytest.approx((3 * 0.7 / (0.05 * np.log(2))) ** 2, abs=1)
    assert "evaluation" in kinds(evaluated(enough - 2))
    assert "evaluation" not in kinds(evaluated(enough))


def test_a_cell_that_carries_the_fit_is_named() -> None:
    balanced = {(n, d): 1 for n in (10**6, 10**7, 10**8) for d in (10**8, 10**9, 10**10)}
    assert hinges(balanced) is None
    short = {(n, d): 1 for n in (10**6, 10**7, 10**8) for d in (10**8, 10**8 * 3 // 2, 10**8 * 9 // 4)}
    lonely = (10**7, 10**10)
    hinge = hinges(short | {lonely: 1})
    assert hinge is not None and (hinge.cell, hinge.exponent) == (lonely, "beta")
    assert hinge.growth == pytest.approx(growth_by_hand([*short, lonely], lonely), rel=1e-3)
    repeated = hinges(short | {lonely: 4})
    assert repeated is not None and repeated.growth > hinge.growth, "its repetitions go with it"
    assert hinges({(n, 20 * n): 1 for n in (10**6, 10**7, 10**8)}) is None, "no cell alone is to blame"


def test_a_size_that_is_trained_once_is_all_that_an_exponent_has() -> None:
    cells = [{"width": w, "steps": steps} for w in (32, 64) for steps in (2000, 4000, 8000)]
    plan = plan_of(design={"kind": "list", "runs": [*cells, {"width": 96, "steps": 2000}]})
    assert "hinges on w96-2000st-s0: without this cell of N and D alpha is not identified" in found(
        plan, "one_cell"
    )


def growth_by_hand(cells: list[tuple[int, int]], left_out: tuple[int, int]) -> float:
    """The standard error of beta without a cell over that with it, by two inversions."""

    def error(kept: list[tuple[int, int]]) -> float:
        n, d = np.log(np.array(kept, float)).T
        of_n, of_d = np.exp(-ALPHA * (n - 16)), np.exp(-BETA * (d - 20))
        rows = np.stack([np.ones_like(n), of_n, of_n * n, of_d, of_d * d], axis=1)
        return float(np.sqrt(np.linalg.inv(rows.T @ rows)[4, 4]))

    return error([cell for cell in cells if cell != left_out]) / error(cells)
