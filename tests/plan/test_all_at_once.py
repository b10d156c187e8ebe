"""Everything that is wrong with a spec is said at once, each with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from scaling.data.index import DataIndex
from scaling.data.stores import Stores
from scaling.errors import Complaint, UserError
from scaling.plan.data import SMALL, NotPrepared
from scaling.plan.expand import plan_spec
from scaling.spec.models import Study
from scaling.spec.source import Finding, Source, SpecError
from tests.plan.studies import PLAIN, fake_index, plan_of

SPEC = """study: s
data: {corpus: state-of-the-union, context: 64}
family: {kind: width-dial, depth: 2, widths: [16, 32], head_dim: 8}
recipe:
  optimizer:
    kind: adamw
    learning_rate: {kind: power, coefficient: 0.1, of: {learning_rate: 1}}
    b2: {kind: tuned, file: basins.json}
    learning_rates:
      head: {kind: tuned, file: basins.json, sha256: "%s"}
  schedule: {kind: wsd}
  batch_tokens: 256
design: {kind: grid, steps: [500, 1000]}
axes:
  - cross: {recipe.optimizr.b1: [0.8, 0.9]}
  - cross: {execution.threads: [1, 2]}
variants:
  a: {}
  b: {}
evaluation: {tokens: 4096, every: 1 step}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("scaling.plan.expand.index_all", _indexes)
    (tmp_path / "basins.json").write_text(json.dumps({}))
    return tmp_path / "a.yaml"


def _indexes(_: Study, asked: list, stores: Stores) -> list[tuple[object, DataIndex]]:
    assert stores is SMALL, "a study that will not run has no large data prepared"
    return [(one.choice, fake_index()) for one in asked]


def test_of_the_spec_its_files_and_its_plan(spec: Path) -> None:
    spec.write_text(SPEC % ("0" * 64))
    with pytest.raises(UserError) as caught:
        plan_spec(spec, stores=Stores())
    lines = [int(problem.where.split(":")[1]) for problem in caught.value.problems]
    said = dict(zip(lines, map(str, caught.value.problems), strict=True))
    assert lines == [7, 8, 10, 15, 16, 19, 20], "\n".join(said.values())
    assert "circular: learning_rate is not known" in said[7]
    assert "nothing to say of b2" in said[8]
    assert "another file" in said[10]
    assert "optimizr" in said[15] and "execution" in said[16]
    assert "differs in nothing from a" in said[19]
    assert "finer than its chunk" in said[20]


BATCH = (
    PLAIN
    + """\
variants:
  a: {recipe.batch_tokens: {kind: step-law}}
  b: {recipe.batch_tokens: {kind: power, coefficient: 1, of: {tokens: 0.5}}}
  c: {}
evaluation: {tokens: 4096, every: 1 step}
"""
)


LAID_OUT = (
    PLAIN
    + """\
execution:
  devices: 8
  mesh:
    data: 3
    tensor: 4
  micro_batch: 3
  pack: 2
"""
)


def test_all_that_is_wrong_with_a_mesh(spec: Path) -> None:
    spec.write_text(LAID_OUT)
    with pytest.raises(UserError) as caught:
        plan_spec(spec)
    said = dict[int, str]()
    for problem in caught.value.problems:
        line = int(problem.where.split(":")[1])
        said[line] = said.get(line, "") + str(problem)
    assert "3 devices cannot share 4 sequences" in said[11]
    assert "is 8, but execution.mesh has" in said[10]
    assert "4 devices cannot share 2 heads" in said[13]
    assert "3 sequences do not divide the batch of 4" in said[14]
    assert "(tensor = 4)" in said[15]


def test_every_batch_that_is_circular(spec: Path) -> None:
    spec.write_text(BATCH)
    with pytest.raises(UserError) as caught:
        plan_spec(spec)
    assert [problem.where.split(":")[1] for problem in caught.value.problems] == ["10", "11", "13"]
    assert sum("circular: the batch follows from tokens" in str(p) for p in caught.value.problems) == 2


def test_data_that_are_not_there_hide_no_mistake(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise NotPrepared(Source(), [], [Complaint("is not prepared")])

    monkeypatch.setattr("scaling.plan.expand.index_all", none)
    spec.write_text(SPEC % ("0" * 64))
    with pytest.raises(UserError) as caught:
        plan_spec(spec)
    assert [problem.where.split(":")[1] for problem in caught.value.problems] == [
        "7",
        "8",
        "10",
        "15",
        "16",
        "19",
    ]


CELLS = """\
noise: {width: 16, flops: 1e4, seeds: [1]}
added: [{width: 32, flops: 1e2}, {width: 32, flops: 1e12, values: {recipe.batch_tokens: 512}}]
holdout: [{width: 16, flops: 1e5}, {width: 20, steps: 10}]
"""


def lines_of(spec: Path, text: str, choose: Callable[[Study], Study] = lambda study: study) -> list[str]:
    """The line of each problem of a spec, and the field."""
    spec.write_text(text)
    with pytest.raises(UserError) as caught:
        plan_spec(spec, choose=choose)
    return [f"{one.where.split(':')[1]} {one.message.split(':')[0]}" for one in caught.value.problems]


def test_cells_beside_a_design_that_are_too_small_are_named_with_what_else_is_wrong(spec: Path) -> None:
    design = "design: {kind: isoflop, budgets: [1e3, 2e10]}"
    assert lines_of(spec, PLAIN.replace("design: {kind: grid, steps: [500, 1000]}", design) + CELLS) == [
        "8 design.budgets[0]",
        "9 noise.flops",
        "10 added[0].flops",
        "11 holdout[0].flops",
        "11 holdout[1].width",
    ]


def test_they_are_named_where_no_cell_of_the_design_can_be_chosen_too(spec: Path) -> None:
    def choose(study: Study) -> Study:
        raise SpecError(study.source, [Finding(("design", "budget"), "too small")])

    text = PLAIN.replace("kind: grid, steps: [500, 1000]", "kind: adaptive, budget: 1e5, compute: 1e4")
    assert lines_of(spec, text + CELLS.replace("width: 20", "width: 24"), choose) == [
        "6 recipe.schedule",
        "8 design.budget",
        "9 noise.flops",
        "10 added[0].flops",
        "11 holdout[0].flops",
    ]


def test_the_plan_is_checked_without_a_section_that_is_wrong_in_itself(spec: Path) -> None:
    """One that no other section needs: what the default of another would spoil is not said."""
    text = PLAIN.replace("steps: [500, 1000]", "tokens: [1, 1e6]")
    more = "execution: {workers: 0}\nholdout: [{width: 16, steps: 0}]\nadded: [{width: 16, flops: 1}]\n"
    assert lines_of(spec, text + more) == [
        "8 design.tokens[0]",
        "9 execution.workers",
        "10 holdout[0].steps",
        "11 added[0].flops",
    ]
    assert lines_of(spec, text + "evaluation: {documents: 0}\n") == [
        "8 design.tokens[0]",
        "9 evaluation.documents",
    ]


MIXED = """study: m
data: {corpus: state-of-the-union, tokenizer: bytes, context: 64}
family: {kind: width-dial, depth: 2, widths: [32, 48, 72], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: 0.01}
  schedule: {kind: wsd, warmup: 80 steps, decay: 40 %}
  batch_tokens: 256
design: {kind: isoflop, budgets: [1e11, 2e11], min_steps: 400}
seeds: [0]
"""


@pytest.mark.parametrize(
    ("changes", "more", "said"),
    [
        (  # in a family, seeds and, by step counts of the sizes that are right, a schedule and a held-out run
            {"48, 72": "33, 72", "[0]": "[0, -1]", "80 steps": "8e4 steps"},
            "holdout: [{width: 32, flops: 1e11}]",
            ["3 family.widths[1]", "6 recipe.schedule", "9 seeds[1]", "10 holdout[0]"],
        ),
        (  # a list whose items are not right is looked at without them
            {"[1e11, 2e11]": "[1e11, -5, 1e11, 1e2]", "min_steps": "min_step"},
            "noise: {corners: [smallest-longest, biggest], init: 0, order: 0}",
            [
                "8 design.budgets",
                "8 design.budgets[1]",
                "8 design.budgets[3]",
                "8 design.min_step",
                "10 noise",
                "10 noise.corners[1]",
            ],
        ),
        (  # no length is known, but data are
            {"depth: 2": "depth: 0", "corpus: state-of-the-union": "corpus: {kind: text, files: no.txt}"},
            "holdout: [{width: 48, flops: 1}]",
            ["2 data.corpus.files", "3 family.depth"],
        ),
        (  # nothing follows from what is left out: neither the sizes of a window nor the steps of a decay
            {
                "48, 72": "33, 72",
                "40 %": "140 %",
                "min_steps: 400": "window: {center: {kind: ratio}, sizes: 3}",
            },
            "holdout: [{width: 48, steps: 10}]",
            ["3 family.widths[1]", "6 recipe.schedule.decay"],
        ),
        (  # the batch is too large, not the horizons too short
            {"kind: isoflop, budgets: [1e11, 2e11], min_steps: 400":
             "kind: critical-batch, tokens: [5e5, 1e6], batches: [100, 1e9, 128.5]"},
            "execution: {micro_batch: 3, workers: 0}",
            ["8 design.batches[0]", "8 design.batches[1]", "8 design.batches[2]", "10 execution.workers"],
        ),
    ],
)  # fmt: skip
def test_each_stage_looks_at_what_the_stages_before_left(
    tmp_path: Path, changes: dict[str, str], more: str, said: list[str]
) -> None:
    text = MIXED
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    assert lines_of(tmp_path / "m.yaml", f"{text}{more}\n") == said


def test_a_study_built_in_python_is_looked_at_in_the_same_way() -> None:
    with pytest.raises(UserError) as caught:
        plan_of(noise={"width": 16, "steps": 500, "seeds": [0]}, added=[{"width": 32, "flops": 1.0}])
    assert [problem.where for problem in caught.value.problems] == ["added[0].flops", "noise.seeds[0]"]
