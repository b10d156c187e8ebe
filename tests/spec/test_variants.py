"""Axes and variants as they are written: every mistake at once, with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaling.spec.load import read_study, study_from_dict
from scaling.spec.overrides import Sheet, Unfit
from scaling.spec.sections import Data, Recipe
from scaling.spec.variants import overrides
from tests.plan.studies import PLAIN


def problems(tmp_path: Path, text: str, spec: str = PLAIN) -> list[str]:
    """``line: message`` of each problem."""
    path = tmp_path / "s.yaml"
    path.write_text(spec + text)
    found = read_study(path).problems
    return [f"{p.where.split(':')[1]}: {p.message}" + (f"; {p.hint}" if p.hint else "") for p in found]


def test_every_mistake_of_axes_and_variants_has_its_line(tmp_path: Path) -> None:
    text = """\
axes:
  - cross: {execution.workers: [1, 2], batch_tokens: [256]}
  - cross:
      recipe.optimiser.b2: [0.9, 0.99]
      recipe.optimizer.learning_rate: [0.01, -1, fast, 0.01]
    at: [{width: 33}, {depth: 2}, {}]
  - zip: {data.context: [32, 64], recipe.batch_tokens: [256]}
variants:
  wide: {family.mlp_ratoi: 4}
  cosine: {recipe.schedule.kind: cosine}
holdout: [{width: 64, steps: 1000, variant: wid}]
"""
    assert problems(tmp_path, text) == [
        "10: axes[0].cross.execution.workers: 'execution' is not changed by axes and variants: they change "
        "fields of data, family and recipe; such as recipe.batch_tokens",
        "10: axes[0].cross.batch_tokens: 'batch_tokens' is no part of a spec: they change fields of data, "
        "family and recipe; did you mean 'recipe.batch_tokens'?",
        "12: axes[1].cross.recipe.optimiser.b2: unknown name 'optimiser'; did you mean 'recipe.optimizer'?",
        "13: axes[1].cross.recipe.optimizer.learning_rate[1]: must be > 0, is -1",
        "13: axes[1].cross.recipe.optimizer.learning_rate[2]: must be a number, is 'fast'",
        "13: axes[1].cross.recipe.optimizer.learning_rate[3]: is given twice; remove one of them",
        "14: axes[1].at[0]: is no cell of the design; sizes: 16, 32; lengths: steps 500, steps 1000",
        "14: axes[1].at[1].depth: the family names its sizes by 'width'; write 'width: ...'",
        "14: axes[1].at[2]: names neither a size nor a length; add 'width: ...', or flops or tokens",
        "15: axes[2].zip: lists of different lengths (data.context: 2, recipe.batch_tokens: 1); "
        "give as many of each",
        "17: variants.wide.family.mlp_ratoi: unknown name 'mlp_ratoi'; did you mean 'family.mlp_ratio'?",
        "18: variants.cosine.recipe.schedule.kind: a kind changes with all that goes with it; "
        "give the whole of recipe.schedule: {kind: ..., ...}",
        "19: holdout[0].variant: no variant is named 'wid'; did you mean 'wide'?",
    ]


def test_mistakes_of_the_rest_of_the_spec_hide_none_of_them(tmp_path: Path) -> None:
    spec = PLAIN.replace("adamw", "adamw, b3: 1").replace("500", "x")
    text = "axes: [{cross: {family.depth: [0]}}, {cross: {design.steps: [1]}}]\n"
    found = problems(tmp_path, text, spec)
    assert [line.partition(":")[0] for line in found] == ["5", "8", "9", "9"]
    assert "must be >= 1, is 0" in found[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("axes: [{at: [{width: 16}]}]", "axes[0]: needs exactly one of cross and zip"),
        ("axes: [{cross: {}}]", "axes[0].cross: must not be empty"),
        (
            "axes: [{cross: {recipe.batch_tokens: [256]}}, {cross: {recipe: [{}]}}]",
            "axes[1].cross.recipe: changes the same as 'recipe.batch_tokens'",
        ),
        (
            "axes: [{cross: {recipe.optimizer.learning_rate.coefficient: [1]}}]",
            "recipe.optimizer.learning_rate is 0.01, so it has no 'coefficient'",
        ),
        (
            "variants: {a: {recipe.batch_tokens: 512}}\naxes: [{cross: {recipe.batch_tokens: [256]}}]",
            "variants.a.recipe.batch_tokens: an axis changes recipe.batch_tokens too, so this has no effect",
        ),
        (
            "variants: {a: {data.context: 96}}",
            "variants.a.data.context: recipe.batch_tokens: must be a multiple of data.context = 96, is 256",
        ),
        (
            "variants: {a: {family: {kind: depth-dial, width: 16, depths: [2], head_dim: 8}}}\n"
            "holdout: [{width: 64, steps: 1000}]",
            "variants.a.family: holdout[0].width: a depth-dial family names its sizes by 'depth'",
        ),
        (
            "variants: {a: {}}\nholdout: [{width: 65, steps: 1000, variant: a}]",
            "holdout[0].width: width 65 is not divisible by head_dim = 8",
        ),
        (
            "holdout: [{width: 64, steps: 1000, values: {recipe.batch_tokens: 2.5}}]",
            "holdout[0].values.recipe.batch_tokens: must be a whole number, is 2.5",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in "\n".join(problems(tmp_path, text))


def test_a_variant_with_another_family_has_cells_of_its_own(tmp_path: Path) -> None:
    text = """\
variants:
  a: {}
  b: {family: {kind: depth-dial, width: 16, depths: [2], head_dim: 8}}
holdout: [{width: 64, steps: 1000, variant: a}, {depth: 4, steps: 1000, variant: b}]
"""
    assert problems(tmp_path, text) == []


def sheet() -> tuple[Sheet, Any]:
    raw = {
        "study": "s",
        "data": {"corpus": "state-of-the-union", "context": 64, "unique_tokens": 640},
        "family": {"kind": "width-dial", "depth": 2, "widths": [16], "head_dim": 8},
        "recipe": {
            "optimizer": {"kind": "sgd", "learning_rate": 1},
            "schedule": {"kind": "wsd"},
            "batch_tokens": 64,
        },
        "design": {"kind": "grid", "steps": [100]},
    }
    study = study_from_dict(raw)
    return Sheet({"data": study.data, "family": study.family, "recipe": study.recipe}), study


def test_a_change_replaces_a_whole_node_and_null_takes_it_out() -> None:
    made, study = sheet()
    lion = {"kind": "lion", "learning_rate": 0.001}
    changes = overrides(
        {"recipe.optimizer": lion, "recipe.optimizer.b1": 0.8, "data.unique_tokens": None}, ()
    )
    changed = made.changed(made.base, changes)
    recipe: Recipe = changed["recipe"]
    data: Data = changed["data"]
    assert recipe.optimizer.model_dump() == {**recipe.optimizer.model_dump(), **lion, "b1": 0.8, "b2": 0.99}
    assert data.unique_tokens is None
    assert changed["family"] is study.family


def test_equal_sections_are_one_object() -> None:
    made, study = sheet()
    assert made.changed(made.base, overrides({"recipe.batch_tokens": 64.0}, ()))["recipe"] is study.recipe
    once, again = (
        made.changed(made.base, overrides({"recipe.batch_tokens": number}, ()))["recipe"]
        for number in (128, 128.0)
    )
    assert once is again


def test_findings_of_changed_sections_stand_where_the_change_is() -> None:
    made, _ = sheet()
    changes = overrides({"recipe.schedule": {"kind": "wsd", "decay": 20}}, ("variants", "a"))
    with pytest.raises(Unfit) as caught:
        made.changed(made.base, changes)
    assert [f.path for f in caught.value.findings] == [("variants", "a", "recipe.schedule", "decay")]
