from __future__ import annotations

from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.spec.external import ExternalFamily, ExternalRecipe
from scaling.spec.load import load_study
from scaling.spec.models import json_schema

TRAINER = 'trainer: {kind: command, version: 1, argv: [train, --run, "{run}", --out, "{out}"]}\n'
SPEC = f"""\
study: mine
{TRAINER}\
data: {{corpus: {{kind: external, tokens: 1e8}}, context: 128}}
family:
  kind: external
  sizes:
    - {{name: a, params: 1e5, flops_per_token: 6e5, config: {{d_model: 64, layers: 2.0}}}}
    - {{name: b, params: 2e5, flops_per_token: 12e5, width: 96}}
recipe:
  kind: external
  learning_rate: {{kind: power, coefficient: 0.2, of: {{width: -1}}}}
  batch_tokens: 2048
  optimizer: {{kind: adam, decay: [0.5, {{kind: power, of: tokens, coefficient: 1, exponent: -1}}]}}
  anything: else
  nothing: null
design: {{kind: grid, tokens: [1e6, 2e6]}}
seeds: [0]
holdout: [{{name: b, tokens: 5e6}}]
"""

DOES_NOT_APPLY = "does not apply: the trainer"
# what is replaced, by what -> place, and the message with its hint
WRONG = [
    (TRAINER, "", "1:1", "trainer: required with kind: external, but not given; add 'trainer: {kind: comm"),
    ("  kind: external\n  learn", "  learn", "9:1", "recipe: is written for the built-in trainer"),
    ("  kind: external\n  sizes", "  kind: shapes\n  sizes", "4:1", "family: is written for the built-in"),
    ("{kind: external, tokens: 1e8}", "{kind: text, files: x}", "3:23", "data.corpus.kind: is one of the "),
    ("{kind: external, tokens: 1e8}", "state-of-the-union", "3:8", "data.corpus.kind: is one of the built"),
    ('[train, --run, "{run}", --out, "{out}"]', "train", "2:44", "argv: must be a list, such as [a, b], is"),
    ('"{run}"', '"{rum}"', "2:59", "trainer.argv[2]: nothing stands for {rum}; did you mean '{run}'?"),
    ("version: 1,", "", "2:1", "trainer.version: required"),
    ("version: 1", "version: 1.5", "2:35", "trainer.version: must be a whole number, or text"),
    ("kind: external\n  learn", "kind: externl\n  learn", "10:9", "recipe.kind: must be built-in or exter"),
    ("kind: power, of", "kind: powr, of", "13:47", "recipe.optimizer.decay[1].kind: no rule is named 'powr'"),
    ("coefficient: 1, ", "coefficient: -1, ", "13:79", "recipe.optimizer.decay[1].coefficient: must be > 0"),
    ("coefficient: 1, ", "coeficient: 1, ", "13:66", "decay[1].coeficient: unknown name 'coeficient'; did"),
    ("of: {width", "of: {learning_rate", "11:54", "recipe.learning_rate.of: circular: learning_rate"),
    ("of: {width", "of: {depth", "11:54", "uses depth, which is not known of b; give it 'depth: ...'"),
    ("of: {width", "of: {params_body", "11:54", "uses params_body, which is not known of a and 1 more size"),
    ("of: tokens", "of: flops_body", "13:58", "uses flops_body, which is not known of a and 1 more sizes"),
    ("  learning_rate", "  learning_rte", "11:3", "unknown name 'learning_rte'; did you mean 'learning_ra"),
    ("  batch_tokens: 2048\n", "", "9:1", "recipe.batch_tokens: required"),
    ("else", ".inf", "14:13", "recipe.anything: must be a finite number"),
    ("params: 1e5", "params: 1e5, params_head: 2e5", "7:25", "params: 100,000 are fewer than those of emb"),
    ("name: b, p", "name: a, p", "8:14", "family.sizes[1].name: 'a' names two sizes"),
    ("params: 2e5", "parms: 2e5", "8:17", "family.sizes[1].parms: unknown name 'parms'; did you mean 'par"),
    ("[{name: b, tok", "[{name: bb, tok", "18:18", "holdout[0].name: no size is named 'bb'; did you mean "),
    ("[{name: b, tok", "[{width: 8, tok", "18:12", "holdout[0].width: an external family names its sizes by"),
    ("context: 128", "context: 128, tokenizer: bytes", "3:61", f"data.tokenizer: {DOES_NOT_APPLY} cuts"),
    ("seeds: [0]", "evaluation: {split: none}", "17:14", f"evaluation.split: {DOES_NOT_APPLY} evaluates"),
    ("seeds: [0]", "execution: {pack: 2}", "17:13", f"execution.pack: {DOES_NOT_APPLY} lays"),
    ("  sizes:", "  describe: [x]\n  sizes:", "4:1", "family: needs exactly one of sizes and describe"),
    ("{kind: grid, tokens: [1e6, 2e6]}", "{kind: ladder, multiples: [1], of: body}", "16:44", "design.of:"),
]  # fmt: skip


def write(folder: Path, text: str) -> Path:
    path = folder / "s.yaml"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        load_study(write(folder, text))
    return [f"{p.where.partition('s.yaml:')[2]} {p.message}; {p.hint}" for p in caught.value.problems]


@pytest.mark.parametrize(("old", "new", "place", "message"), WRONG, ids=[w[3][:40] for w in WRONG])
def test_each_mistake_has_its_place_and_what_to_do(
    tmp_path: Path, old: str, new: str, place: str, message: str
) -> None:
    assert SPEC.count(old) == 1, old
    (found,) = [p for p in problems(tmp_path, SPEC.replace(old, new)) if message in p]
    assert found.startswith(place + " ")


def test_several_mistakes_are_said_at_once_and_parts_of_two_trainers_once_each(tmp_path: Path) -> None:
    text = SPEC.replace('"{run}"', "x").replace("else", ".nan")
    assert len(problems(tmp_path, text)) == 2
    built_in = (
        "study: s\ndata: {corpus: state-of-the-union, context: 64}\n"
        "family: {kind: width-dial, depth: 2, widths: [16], head_dim: 8}\n"
        "recipe: {optimizer: {kind: adamw, learning_rate: 0.01}, schedule: {kind: wsd}, batch_tokens: 256}\n"
        "design: {kind: grid, steps: [500]}\n"
    )
    found = problems(tmp_path, built_in + TRAINER)
    assert len(found) == 3 and all("one of the built-in trainer" in line for line in found)
    one = built_in.replace("state-of-the-union", "{kind: external, tokens: 1e6}")
    (line,) = problems(tmp_path, one)
    assert "data.corpus.kind: is for a trainer of one's own, and there is none" in line


def test_what_a_spec_says_is_read_as_numbers_rules_and_json(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, SPEC))
    assert isinstance(study.recipe, ExternalRecipe) and isinstance(study.family, ExternalFamily)
    assert "nothing" not in study.recipe.free and study.recipe.free["anything"] == "else"
    assert study.family.member("a").config == {"d_model": 64, "layers": 2}
    sizes = [study.family.member(name).shape(0, 128) for name in ("a", "b")]
    assert [size.known_width for size in sizes] == [64, 96] and sizes[0].known_depth == 2
    assert [size.training_flops(10).flops for size in sizes] == [6_000_000, 12_000_000]
    again = type(study).model_validate(study.model_dump(mode="json"))
    assert again.recipe == study.recipe and hash(sizes[0]) == hash(study.family.member("a").shape(9, 128))


def test_loading_and_checking_runs_nothing(tmp_path: Path) -> None:
    touch = f"describe: [touch, {tmp_path / 'ran'}]"
    sizes = SPEC[SPEC.index("  sizes:") : SPEC.index("recipe:")]
    study = load_study(write(tmp_path, SPEC.replace(sizes, f"  {touch}\n")))
    assert study.family.members == () and not (tmp_path / "ran").exists()


def test_the_schema_of_a_spec_covers_them() -> None:
    schema = json_schema()
    assert {"CommandTrainer", "ExternalRecipe", "ExternalFamily", "StatedSize", "External"} <= schema[
        "$defs"
    ].keys()
    assert schema["$defs"]["ExternalRecipe"]["additionalProperties"] is True
