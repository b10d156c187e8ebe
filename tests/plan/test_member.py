"""The member of a family nearest to a size, trained for a compute."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from scaling.errors import UserError
from scaling.plan.expand import make_plan
from scaling.plan.member import Counting, nearest_size, next_cells, next_study
from scaling.spec.families import Family
from scaling.spec.load import load_study
from scaling.spec.sections import Recipe
from tests.plan.studies import fake_index

VOCAB = 256
QUICKSTART = load_study(Path(__file__).parents[2] / "experiments" / "quickstart.yaml")


def study(**family):
    return QUICKSTART.model_copy(update={"family": TypeAdapter(Family).validate_python(family)})


WIDE = {"kind": "width-dial", "depth": 2, "widths": [64, 128], "head_dim": 8}
DEEP = {"kind": "depth-dial", "width": 32, "depths": [2, 6], "head_dim": 8}
SHAPES = {
    "kind": "shapes",
    "shapes": [
        {"name": name, "depth": 2, "width": width, "heads": 2} for name, width in (("s", 16), ("l", 64))
    ],
}


@pytest.mark.parametrize("body", [False, True])
@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        (WIDE, range(8, 1000, 8)),
        (WIDE | {"kv_heads": 2}, range(16, 1000, 16)),
        (DEEP, range(1, 200)),
        (SHAPES, ("s", "l")),
    ],
)
def test_no_allowed_size_is_nearer(family, sizes, body):
    one, counting = study(**family), Counting(body=body)
    params = {size: counting.params(one.family.member(size).shape(VOCAB, one.data.context)) for size in sizes}
    for asked in (1e3, 3e4, 5e4, 123456, 1e6):
        best = min(sizes, key=lambda size: max(params[size] / asked, asked / params[size]))
        assert params[nearest_size(one, asked, VOCAB, counting)] == params[best]


@pytest.mark.parametrize("counting", [Counting(), Counting(body=True), Counting(six=True)])
def test_the_run_costs_what_was_asked(counting):
    index = fake_index(150_000_000)
    cells = next_cells(QUICKSTART, [(1e5, 1e12), (2e5, 5e12)], index.vocab_size, counting)
    following = next_study(QUICKSTART, [*cells, cells[0]])
    plan = make_plan(following, index)
    assert following.study == "quickstart-next" and [run.role for run in plan.runs] == ["fit", "fit"]
    for run, (params, flops) in zip(plan.runs, ((1e5, 1e12), (2e5, 5e12)), strict=True):
        n = run.params_body if counting.body else run.params
        assert n == pytest.approx(params, rel=0.15)
        cost = 6 * n * run.run.tokens if counting.six else run.flops
        assert cost == pytest.approx(flops, rel=1e-3)
        rate = 0.0125 * run.run.batch_tokens**0.5 / run.run.shape.width
        assert run.run.optimizer.learning_rate == pytest.approx(rate)


def test_a_batch_that_follows_the_horizon_is_that_of_the_cell():
    recipe = QUICKSTART.model_dump(mode="json")["recipe"] | {"batch_tokens": {"kind": "step-law"}}
    ruled = QUICKSTART.model_copy(update={"recipe": TypeAdapter(Recipe).validate_python(recipe)})
    index = fake_index(150_000_000)
    cells = next_cells(ruled, [(1e5, 1e14)], index.vocab_size, Counting())
    (run,) = make_plan(next_study(ruled, cells), index).runs
    assert run.flops == pytest.approx(1e14, rel=1e-3)
    assert run.run.batch_tokens == pytest.approx(0.58 * run.run.tokens**0.571, abs=32)


def test_a_compute_below_one_step_is_refused():
    with pytest.raises(UserError, match="compute 100 is less than one step of w"):
        next_cells(QUICKSTART, [(1e5, 100.0)], VOCAB, Counting())
