"""Families of widths, depths and aspects."""

from __future__ import annotations

from typing import Any

import pytest

from scaling.errors import UserError
from scaling.plan.member import Counting, next_cells
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed, plan_of

ONE = {"kind": "grid", "steps": [500]}


def family(**fields: Any) -> dict[str, Any]:
    return {"kind": "width-depth", "head_dim": 8, **fields}


def sizes(**fields: Any) -> list[tuple[int, int]]:
    shapes = [run.built_in.shape for run in plan_of(family=family(**fields), design=ONE).runs]
    return [(shape.width, shape.depth) for shape in shapes]


def test_the_third_number_follows_from_two() -> None:
    assert sizes(widths=[16, 32], depths=[1, 2]) == [(16, 1), (16, 2), (32, 1), (32, 2)]
    assert sizes(widths=[32, 64], aspects=[8, 16]) == [(32, 4), (32, 2), (64, 8), (64, 4)]
    assert sizes(depths=[2, 3], aspects=[8, 12]) == [(16, 2), (24, 3), (24, 2), (40, 3)]
    assert sizes(widths=[16, 64], depths=[2, 4], min_aspect=8, max_aspect=16) == [(16, 2), (64, 4)]
    assert sizes(widths=[8], aspects=[30, 40]) == [(8, 1)], "two aspects may give the same size"


def test_its_cells_name_width_and_depth() -> None:
    fields = {"widths": [16, 32], "depths": [1, 2]}
    plan = plan_of(
        family=family(**fields),
        design={"kind": "list", "runs": [{"width": 24, "depth": 3, "steps": 400}]},
        holdout=[{"width": 16, "depth": 2, "steps": 900}],
    )
    assert [run.label for run in plan.runs] == ["w24d3-400st-s0", "w16d2-900st-s0"]
    axes = [{"cross": {"recipe.batch_tokens": [256, 512]}, "at": [{"width": 32}]}]
    crossed = plan_of(family=family(**fields), design=ONE, axes=axes)
    assert [run.label.split("-")[0] for run in crossed.runs] == [
        "w16d1",
        "w16d2",
        *["w32d1"] * 2,
        *["w32d2"] * 2,
    ]
    study = study_from_dict(changed(family=family(**fields)))
    (cell,) = next_cells(study, [(30_000, 1e11)], 256, Counting())
    assert (cell.width, cell.depth) == (32, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"family": family(widths=[16], depths=[1], aspects=[8])},
            "family: needs exactly two of widths, depths and aspects, has widths, depths, aspects",
        ),
        (
            {"family": family(widths=[16])},
            "family: needs exactly two of widths, depths and aspects, has widths",
        ),
        (
            {"family": family(widths=[16], depths=[2], min_aspect=9)},
            "family: no size has a width / depth between min_aspect and max_aspect",
        ),
        (
            {"family": family(widths=[16, 20], depths=[2])},
            "family.widths[1]: width 20 is not divisible by head_dim = 8, so its heads are not whole",
        ),
        (
            {"family": family(widths=[16], depths=[2]), "holdout": [{"width": 16, "steps": 700}]},
            "holdout[0]: names a size without its depth",
        ),
        (
            {"family": family(widths=[16], depths=[2]), "holdout": [{"width": 20, "depth": 1, "steps": 700}]},
            "holdout[0].width: width 20 is not divisible by head_dim = 8, so its heads are not whole",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as raised:
        plan_of(**changes)
    assert [f"{problem.where}: {problem.message}" for problem in raised.value.problems] == [message]
