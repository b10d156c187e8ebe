"""Options of the architecture in specs and plans: what does not go together, what is said, ids."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.plan.expand import make_plan
from scaling.run import run_id
from scaling.spec.architecture import Experts
from scaling.spec.load import load_study, study_from_dict
from tests.plan.studies import changed, fake_index, plan_of

SPEC = """study: s
data: {corpus: state-of-the-union, context: 64, separator: none}
family:
  kind: shapes
  shapes:
    - name: a
      depth: 2
      width: 16
      heads: 2
      full_every: 2
      document_mask: true
    - name: b
      depth: 2
      width: 32
      heads: 4
      mlp: relu2
      document_mask: true
      experts:
        count: 2
        active: 3
        granularity: 3
recipe:
  optimizer: {kind: adamw, learning_rate: 0.01}
  schedule: {kind: wsd}
  batch_tokens: 256
design: {kind: grid, steps: [500, 1000]}
"""

OPTIONS = {
    "qk_norm": True,
    "attention_softcap": 50,
    "logit_softcap": 30,
    "positions": "learned",
    "window": 16,
    "document_mask": True,
    "parallel": True,
    "scaled_embedding": True,
    "mlp": "relu2",
    "experts": {"count": 4, "active": 1},
}


def test_options_that_do_not_go_together_are_all_said_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SPEC)
    with pytest.raises(UserError) as caught:
        load_study(tmp_path / "a.yaml")
    problems = {int(problem.where.split(":")[1]): str(problem) for problem in caught.value.problems}
    assert sorted(problems) == [10, 11, 17, 20, 21]
    assert "window" in problems[10] and "separator: keep" in problems[11]
    assert "at most count" in problems[20] and "does not divide" in problems[21]


ALL_AT_ONCE = """\
study: s
data: {corpus: state-of-the-union, tokenizer: bytes, context: 64, separator: none}
family:
  kind: width-dial
  depth: 2
  widths: [16, 32]
  head_dim: 8
  full_every: 2
  positions: alibi
  document_mask: true
  experts: {count: 2, active: 3, granularity: 3}
recipe:
  optimizer: {kind: muon, learning_rate: 0.01, ns_steps: 0}
  schedule: {kind: wsd}
  batch_tokens: 256
  precision: tf32
  parametrization: {kind: mup}
design: {kind: grid, steps: [500, 1000]}
execution: {device: cpu}
"""


def test_a_field_that_is_wrong_by_itself_hides_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ALL_AT_ONCE)
    with pytest.raises(UserError) as caught:
        load_study(tmp_path / "a.yaml")
    lines = [int(problem.where.split(":")[1]) for problem in caught.value.problems]
    assert sorted(set(lines)) == [8, 9, 10, 11, 13, 16, 17]
    texts = "\n".join(map(str, caught.value.problems))
    assert "3 does not divide 40, the hidden width of the MLP at width 16; use 2 or 4" in texts


def test_an_axis_that_a_variant_cannot_have_names_the_variant(tmp_path: Path) -> None:
    experts = "{count: 4, active: 1}"
    axis = "axes: [{cross: {family.experts.active: [1, 2]}}]\n"
    spec = ALL_AT_ONCE.replace("{count: 2, active: 3, granularity: 3}", experts) + axis
    (tmp_path / "a.yaml").write_text(spec + "variants: {moe: {}, dense: {family.experts: null}}\n")
    with pytest.raises(UserError, match=r"in variant dense: family\.experts\.count: required"):
        load_study(
            tmp_path / "a.yaml",
            [
                "data.separator=keep",
                "family.full_every=null",
                "family.positions=rotary",
                "recipe.optimizer.ns_steps=5",
                "recipe.precision=float32",
                "recipe.parametrization=standard",
            ],
        )


def test_a_mask_needs_tokens_that_tell_documents_apart() -> None:
    study = study_from_dict(changed(family__document_mask=True))
    index = fake_index()
    bare = replace(index, tokenizer=index.tokenizer.model_copy(update={"separator": None}))
    with pytest.raises(UserError, match="cannot tell documents apart"):
        make_plan(study, bare)
    assert {run.run.shape.separator for run in make_plan(study, index).runs} == {0}


def test_a_window_that_is_none_is_said() -> None:
    def notes(**family: int) -> list[str]:
        plan = plan_of(**{f"family__{name}": value for name, value in family.items()})
        return [note for note in plan.notes if "window" in note]

    assert notes(window=63, full_every=2) == []
    assert notes(window=64) == ["a window of 64 keys in a context of 64 is none: every layer sees all"]
    assert notes(window=16, full_every=3) == ["full_every: 3 frees no layer of a model of 2 from the window"]
    some = plan_of(variants={"all": {}, "none": {"family.window": 64, "family.qk_norm": True}}).notes
    assert "every layer sees all (4 of 8 runs)" in "\n".join(some)
    plain, none = plan_of(), plan_of(family__window=64, family__full_every=2)
    assert [run.run_id for run in plain.runs] == [run.run_id for run in none.runs]


def test_every_option_has_ids_of_its_own() -> None:
    options = [{}, *({f"family__{name}": value} for name, value in OPTIONS.items())]
    ids = [run_id(plan_of(**option).runs[0].run) for option in options]
    ids.append(run_id(plan_of(family__window=16, family__full_every=2).runs[0].run))
    assert len(set(ids)) == len(OPTIONS) + 2


def test_a_granularity_in_place_of_a_wrong_one_is_looked_for_nearby() -> None:
    experts = Experts(count=2, active=1, granularity=10**15)
    (finding,) = experts.findings(16, 10**15 - 1, ("family", "experts"))
    assert finding.hint.startswith(f"use {10**15 - 1},")
    (finding,) = Experts(count=2, active=1, granularity=3).findings(16, 40, ("family", "experts"))
    assert finding.hint.startswith("use 2 or 4,")
