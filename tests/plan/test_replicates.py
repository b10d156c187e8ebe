"""Corners of a design again with other seeds."""

from __future__ import annotations

from typing import Any

import pytest

from scaling.errors import UserError
from scaling.plan.plan import Plan, PlannedRun
from tests.plan.studies import plan_of

ALL = ["smallest-shortest", "smallest-longest", "largest-shortest", "largest-longest"]


def repeated(plan: Plan) -> list[PlannedRun]:
    return [run for run in plan.runs if run.role == "noise"]


def test_each_corner_is_repeated_with_other_weights_and_with_other_orders() -> None:
    noise = {"corners": ALL, "init": 2, "order": 1}
    plan = plan_of(noise=noise, design={"kind": "grid", "steps": [300, 500, 900]})
    corners = dict[tuple[int, int], list[tuple[int, int]]]()
    for run in repeated(plan):
        cell = run.built_in.shape.width, run.run.steps
        corners.setdefault(cell, []).append((run.run.seed, run.run.order_seed))
    assert corners.keys() == {(16, 300), (16, 900), (32, 300), (32, 900)}
    assert set(map(tuple, corners.values())) == {((1001, 0), (1002, 0), (0, 1003))}
    assert repeated(plan)[0].label == "w16-300st-i1001o0"


def test_an_order_by_size_is_kept_where_the_weights_are_drawn_again() -> None:
    seeds = [{"init": 1001, "order": "by-size"}, 1002]
    plan = plan_of(seeds=seeds, noise={"corners": ["largest-longest"], "init": 1, "order": 1})
    first = next(run for run in plan.runs if run.label == "w32-1000st-i1001osize")
    weights, order = repeated(plan)
    assert (weights.run.seed, weights.run.order_seed) == (1003, first.run.order_seed)
    assert (order.run.seed, order.run.order_seed) == (1001, 1004)


def test_corners_are_those_that_a_design_trains_in_each_variant() -> None:
    ladder = {"kind": "over-training", "multiples": [4, 40], "max_flops": 1e11}
    noise = {"corners": ["largest-longest"], "init": 1, "order": 0}
    plan = plan_of(design=ladder, family__widths=[16, 32, 64], noise=noise)
    fitted = [run for run in plan.runs if run.role == "fit"]
    (one,) = repeated(plan)
    assert one.params == max(run.params for run in fitted)
    assert one.run.tokens == max(run.run.tokens for run in fitted if run.params == one.params)
    both = plan_of(variants={"a": {}, "b": {"family.mlp": "gelu"}}, noise=noise)
    assert [run.variant for run in repeated(both)] == ["a", "b"]
    noise = {"corners": ALL, "init": 1, "order": 1}
    single = plan_of(design={"kind": "grid", "steps": [500]}, noise=noise)
    assert len(repeated(single)) == 4, "two corners that are one cell are repeated once"


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ({"corners": ALL, "init": 0, "order": 0}, "noise: init and order are 0: nothing is repeated"),
        ({"corners": ALL[:1] * 2}, "noise.corners: must not repeat smallest-shortest"),
        ({"corners": ["smallest"]}, "noise.corners[0]: must be smallest-shortest, smallest-longest, "),
        ({"corners": ALL, "seeds": [1]}, "noise.seeds: unknown name 'seeds'"),
    ],
)
def test_what_is_wrong_is_said(noise: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        plan_of(noise=noise)
    (problem,) = raised.value.problems
    assert f"{problem.where}: {problem.message}".startswith(message)
