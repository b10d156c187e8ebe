from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import Complaint, UserError
from scaling.spec.families import WidthDial
from scaling.spec.load import load_study, read_study, study_from_dict
from scaling.spec.models import Study

GOOD = """\
study: small
data: {corpus: state-of-the-union, tokenizer: bytes, context: 64}
family: {kind: width-dial, depth: 2, widths: [16, 24], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: {kind: power, of: width, coefficient: 0.2, exponent: -1}}
  schedule: {kind: wsd, warmup: 80 steps, decay: 20 %, shape: 1-sqrt}
  batch_tokens: 256
design: {kind: isoflop, budgets: [1e11, 2e11], min_steps: 900}
seeds: [0]
holdout: [{width: 80, flops: 2.4e12}]
execution: {workers: 2, share_trunk: true}
"""


RECIPE = GOOD[GOOD.index("recipe:") + len("recipe:") : GOOD.index("design")]


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    return tmp_path / "s.yaml"


def problems(spec: Path, text: str | bytes, *overrides: str) -> tuple[Complaint, ...]:
    spec.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(UserError) as caught:
        load_study(spec, overrides)
    return caught.value.problems


def test_a_good_spec(spec: Path) -> None:
    spec.write_text(GOOD)
    study = load_study(spec)
    assert isinstance(study.family, WidthDial)
    assert study.family.widths == (16, 24)
    assert study.recipe.optimizer.b2 == 0.95, "defaults come from the models"
    assert study.holdout[0].flops == 2.4e12
    assert study == Study.model_validate(study.model_dump(mode="json")), "a dump is a spec"
    assert study == study_from_dict(study.model_dump(mode="json")), "places do not make studies differ"


SPOILT = [
    # what to replace, by what, line:column, message, hint
    ("batch_tokens:", "batch_token:", "7:3", "unknown name 'batch_token'", "'batch_tokens'"),
    ("seeds:", "sedes:", "9:1", "sedes: unknown name 'sedes'", "did you mean 'seeds'?"),
    ("seeds:", "xyzzy:", "9:1", "xyzzy: unknown name 'xyzzy'", "known here: study, data, family"),
    ("head_dim: 8", "headdim: 8", "3:56", "family.headdim: unknown name 'headdim'", "'head_dim'"),
    ("width-dial", "widthdial", "3:16",
     "must be width-dial, depth-dial, width-depth, shapes or external, is 'widthdial'", "'wid"),
    ("kind: wsd, ", "", "6:13", "schedule: needs a 'kind' of wsd, cosine, linear or constant", "add 'k"),
    ("1-sqrt", "1-sqr", "6:63", "shape: must be linear, 1-sqrt or cosine, is '1-sqr'", "'1-sqrt'"),
    ("of: width", "of: widht", "5:61", "rate.of: must be width, depth, params", "did you mean 'width'?"),
    ("256", "true", "7:17", "recipe.batch_tokens: must be a whole number, is true", ""),
    ("depth: 2", "depth: yes", "3:35", "family.depth: must be a whole number, is 'yes'", ""),
    ("0.2", "true", "5:81", "learning_rate.coefficient: must be a number, is true", ""),
    ("256", "'256'", "7:17", "recipe.batch_tokens: must be a whole number, is '256'", ""),
    ("256", "25.5", "7:17", "recipe.batch_tokens: must be a whole number, is 25.5", ""),
    ("256", "-256", "7:17", "recipe.batch_tokens: must be >= 1, is -256", ""),
    ("256", "250", "7:17", "batch_tokens: must be a multiple of data.context = 64, is 250", "use 192 or 256"),
    ("256", "1e99", "7:17", "recipe.batch_tokens: must be <= 1e+15", ""),
    ("256", "", "7:3", "recipe.batch_tokens: must be a whole number, is empty", ""),
    ("256", "[1]", "7:17", "recipe.batch_tokens: must be a whole number, is a list", ""),
    ("[16, 24]", "[16, 0]", "3:51", "family.widths[1]: must be >= 1, is 0", ""),
    ("[16, 24]", "[16, 20]", "3:51", "[1]: width 20 is not divisible by head_dim = 8", "use 16 or 24"),
    ("[16, 24]", "[16, 16]", "3:46", "family.widths: must not repeat a value: 16", ""),
    ("[16, 24]", "16", "3:46", "family.widths: must be a list, such as [1, 2], is 16", ""),
    ("[16, 24]", "[]", "3:46", "family.widths: must not be empty", ""),
    ("2.4e12", ".inf", "10:30", "holdout[0].flops: must be a finite number, is inf", ""),
    ("2.4e12", "0", "10:30", "holdout[0].flops: must be > 0, is 0", ""),
    ("flops: 2.4e12", "steps: 1, tokens: 2", "10:11", "of flops, tokens and steps, has tokens and steps", ""),
    (", flops: 2.4e12", "", "10:11", "needs exactly one of flops, tokens and steps, has none", ""),
    ("width: 80", "name: x", "10:12", "a width-dial family names its sizes by 'width'", "write 'width"),
    ("80 steps", "80", "6:33", "warmup: must be a number with a unit, such as '80 steps', '1e6 tokens'", ""),
    ("20 %", "120 %", "6:50", "recipe.schedule.decay: must be at most 100 %, is '120 %'", ""),
    ("study: small", "study: ../up", "1:8", "study: must be 1-64 letters", ""),
    ("study: small", "study: 2024", "1:8", "study: must be text, is 2024", "put it in quotes"),
    ("share_trunk: true", "share_trunk: 1", "11:38", "share_trunk: must be true or false, is 1", ""),
    ("workers: 2", "workers: all", "11:22", "workers: must be auto or a whole number from 1", ""),
    ("seeds: [0]", "seeds: [-1]", "9:9", "seeds[0]: must be >= 0, is -1", ""),
    ("[0]", "[{init: 0}]", "9:9", "seeds[0].order: required, but not given", "add 'order: ...'"),
    ("[0]", "[{init: 0, ordre: 1}]", "9:19", "unknown name 'ordre'", "did you mean 'order'?"),
    ("[0]", "[2, {init: 2, order: 2}]", "9:8", "seeds: must not repeat a value: 2 more than once", ""),
    ("seeds: [0]", "axes: [{zip: [1]}]", "9:14", "axes[0].zip: must be a mapping, such as {NAME: [1,", ""),
    ("seeds: [0]", "variants: [a]", "9:11", "variants: must be a mapping, such as {NAME: ...}", ""),
    (
        "seeds: [0]", "variants: {a: 3}", "9:15",
        "variants.a: must be a mapping of field paths to values, such as {recipe.batch_tokens: 256}", "",
    ),
    (
        "seeds: [0]", "evaluation: {every: 5}", "9:21",
        "evaluation.every: must be '5 %', '1000 steps', '1e6 tokens' or {log: 10}, is 5", "",
    ),
    ("[0]", "[{init: -1, order: 1}]", "9:16", "seeds[0].init: must be >= 0, is -1", ""),
    ("[0]", "[{init: 0, order: by-sise}]", "9:26", "[0].order: must be by-size or a whole number from 0", ""),
    ("[0]", "[{init: 0, order: 4294967296}]", "9:26", "order: must be by-size or a whole number from 0", ""),
    ("[0]", "[{init: 0, order: 1}, {init: 0, order: 1}]", "9:8", "a value: {init: 0, order: 1} more", ""),
    ("study: small\n", "", "1:1", "study: required, but not given", "add 'study: ...'"),
    ("  batch_tokens: 256\n", "", "4:1", "recipe.batch_tokens: required, but not given", "add 'batch_tokens"),
    (
        "256\n", "256\n  parametrization: mup\n", "8:20",
        "recipe.parametrization: needs its base: write {kind: mup, base_width: 64}", "",
    ),
    (
        "256\n", "256\n  parametrization: {kind: completep, base_width: 16}\n", "8:3",
        "recipe.parametrization.base_depth: required, but not given", "add 'base_depth: ...'",
    ),
    (RECIPE, "\n", "4:1", "recipe: must be a mapping with optimizer", ""),
    ("seeds: [0]", "seeds: [0]\nseeds: [1]", "10:1", "seeds: given twice, first on line 9", "keep one"),
    ("seeds: [0]", "seeds: [0", "10:8", "broken YAML: ", ""),
    ("seeds: [0]", "\tseeds: [0]", "9:1", "broken YAML: ", ""),
    ("[0]", "&a [0]", "9:8", "anchors and aliases are not supported", "write the value out"),
    ("[0]", "!!python/object:os.system [0]", "9:8", "tag ", "a spec is plain data"),
    ("seeds: [0]", "seeds: [0]\n---\na: 1", "10:1", "a spec is one YAML document", ""),
    ("[0]", "[" * 60 + "]" * 60, "9:47", "nested more than 40 levels deep", ""),
    ("[0]", "{[1]: 2}", "9:9", "a name must be plain text", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "place", "message", "hint"),
    SPOILT,
    ids=[f"{b[:30]}-{i}" for i, (_, b, *_) in enumerate(SPOILT)],
)
def test_each_mistake_has_its_place_and_a_plain_message(
    spec: Path, old: str, new: str, place: str, message: str, hint: str
) -> None:
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    (problem,) = problems(spec, text)
    assert problem.where == f"{spec}:{place}"
    assert message in problem.message
    assert hint in problem.hint
    line = int(place.split(":")[0])
    assert problem.value == text.splitlines()[line - 1].strip()[: len(problem.value)]


def test_all_mistakes_are_reported_at_once_in_the_order_of_the_file(spec: Path) -> None:
    text = GOOD
    for old, new in (
        ("tokenizer", "tokeniser"),
        ("width-dial", "width-dail"),  # does not hide what is wrong below it
        ("[16, 24]", "[16, true, 20]"),
        ("batch_tokens: 256", "batch_token: -256"),
        ("[1e11, 2e11]", "[1e11, 1e11]"),
        ("workers: 2", "workers: 0"),
    ):
        text = text.replace(old, new)
    found = problems(spec, text, "data.context=x", "nonsense")
    assert [(p.where.removeprefix(f"{spec}:"), p.message.partition(":")[0]) for p in found] == [
        ("2:36", "data.tokeniser"),
        ("3:16", "family.kind"),
        ("3:51", "family.widths[1]"),
        ("3:57", "family.widths[2]"),
        ("7:3", "recipe.batch_token"),
        ("7:16", "recipe.batch_tokens"),
        ("8:34", "design.budgets"),
        ("11:22", "execution.workers"),
        ("--set data.context=x", "data.context"),
        ("--set nonsense", "must look like name=value"),
    ]


def test_sections_that_are_valid_are_checked_against_each_other_beside_those_that_are_not(spec: Path) -> None:
    found = problems(spec, GOOD.replace("[16, 24]", "[16, 20]").replace("seeds: [0]", "seeds: 0"))
    assert [p.message.partition(":")[0] for p in found] == ["family.widths[1]", "seeds"]


@pytest.mark.parametrize(("line", "designed"), [("minsteps: 900", True), ("minsteps: true", False)])
def test_a_study_is_left_for_later_checks(spec: Path, line: str, designed: bool) -> None:
    """Without the design that was written where what its runs are is not clear."""
    spec.write_text(GOOD.replace("min_steps: 900", line))
    checked = read_study(spec)
    assert checked.study is not None
    assert len(checked.problems) == (1 if designed else 2)
    assert checked.draft.designed == designed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- 1\n", "must be a mapping of names to values, is a list"),
        (b"hello", "must be a mapping of names to values, is 'hello'"),
        (b"study: \xff\xfe", "is not UTF-8 text: byte 0xff"),
        (b"study: a\x00b", "broken YAML"),
        (b'study: "\\UFFFFFFFF"', "broken YAML"),
        (b"a: *b", "anchors and aliases"),
        (b"a: 1\n" * 300_000, "is larger than 200000 bytes"),
    ],
)
def test_files_that_are_no_specs(spec: Path, content: bytes, message: str) -> None:
    (problem,) = problems(spec, content)
    assert message in problem.message
    assert problem.where.startswith(str(spec))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "quickstart.yaml").write_text(GOOD)
    for path, message in (
        ("quikstart.yaml", "no such file"),
        (".", "is a directory"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(UserError) as caught:
            load_study(tmp_path / path)
        assert message in caught.value.problems[0].message
    with pytest.raises(UserError, match=r"did you mean '.*quickstart\.yaml'"):
        load_study(tmp_path / "quikstart.yaml")


def test_billion_laughs_and_deep_nesting_end_quickly(spec: Path) -> None:
    laughs = "a: &a [x, x]\n" + "".join(f"{c}: &{c} [{'*' + chr(ord(c) - 1)}, x]\n" for c in "bcdefgh")
    began = time.process_time()
    problems(spec, laughs)
    problems(spec, "a: " + "[" * 200_000)
    problems(spec, "\n".join(" " * i + "a:" for i in range(1000)))
    (problem,) = problems(spec, GOOD.replace("[0]", "[" + "0," * 20_000 + "]"))  # one long line
    assert problem.message == "seeds: must have at most 1000 items, has 20000"
    assert len(problem.value) == 160
    assert time.process_time() - began < 5


def test_thousands_of_mistakes_are_counted_and_the_first_ones_listed(spec: Path) -> None:
    cell, many = "{widht: 80, flosp: 1e9, zap: 1},", "".join(f"seed{i}: 1\n" for i in range(3000))
    began = time.process_time()
    found = problems(spec, GOOD.replace("{width: 80, flops: 2.4e12}", cell * 300))
    assert found[0].message == "900 mistakes; the first 500 are listed"
    assert len(found) == 501
    assert found[1].where == f"{spec}:10:12"
    assert problems(spec, GOOD + many)[0].message == "3000 mistakes; the first 500 are listed"
    (problem,) = problems(spec, GOOD.replace("{width: 80, flops: 2.4e12}", "{width: 80, flops: 1e9}," * 1001))
    assert problem.message == "holdout: must have at most 1000 items, has 1001"
    assert time.process_time() - began < 10


def test_overrides_are_checked_like_the_file(spec: Path) -> None:
    spec.write_text(GOOD)
    study = load_study(
        spec,
        [
            "recipe.batch_tokens=512",
            "recipe.optimizer.learning_rate=1e-3",
            "holdout[0].width=96",
            "noise={width: 16, steps: 900, seeds: [1, 2]}",
            "family.widths=[32, 64]",
            "recipe.batch_tokens=1024",
        ],
    )
    assert study.recipe.batch_tokens == 1024, "the last one holds"
    assert study.recipe.optimizer.learning_rate == 1e-3
    assert study.holdout[0].width == 96
    assert study.noise is not None
    assert study.noise.seeds == (1, 2)
    one_by_one = ["holdout.0.width=96", "noise.width=16", "noise.steps=900", "noise.seeds=[1,2]"]
    others = ["recipe.batch_tokens=1024", "recipe.optimizer.learning_rate=1e-3", "family.widths=[32, 64]"]
    assert study == load_study(spec, [*one_by_one, *others])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.batch_tokens=true", "recipe.batch_tokens: must be a whole number, is true"),
        ("recipe.batch_token=512", "unknown name 'batch_token'"),
        ("holdout[0].width=81", "holdout[0].width: width 81 is not divisible"),
        ("holdout[3].width=80", "holdout[3] is not a mapping or list"),
        ("seeds[4]=1", "seeds is a list without that item"),
        ("study.name=x", "study is not a mapping or list"),
        ("study.name.first=x", "study is not a mapping or list"),
        ("recipe.batch_tokens", "must look like name=value"),
        ("=3", "must look like name=value"),
        ("a..b=3", "must look like name=value"),
        ("seeds=[1", "broken YAML"),
        ("seeds=!!python/name:os.system x", "tag "),
        ("recipe.optimizer.learning_rate.of=depht", "must be width, depth"),
        ("recipe.optimizer.b2={kind: power, coefficient: 1, of: {depht: 1}}", "b2.of.depht: must be width"),
        ("recipe.optimizer.b2={kind: power, coefficient: 1, of: width}", "b2: needs an exponent where `of`"),
        ("recipe.batch_tokens={kind: step-lwa}", "batch_tokens.kind: must be power, step-law"),
        ("recipe.schedule.warmup={kind: power, coefficient: 1, of: {depth: 1}}", "warmup.unit: required"),
    ],
)
def test_bad_overrides(spec: Path, override: str, message: str) -> None:
    (problem,) = problems(spec, GOOD, override)
    assert problem.where == f"--set {override}"
    assert message in problem.message


def test_yaml_1_2(spec: Path) -> None:
    spec.write_text(GOOD.replace("small", "no").replace("256", "+0512").replace("[0]", "[1e3]"))
    study = load_study(spec)
    assert (study.study, study.recipe.batch_tokens, study.seeds) == ("no", 512, (1000,))


def test_loading_needs_neither_jax_nor_pandas(spec: Path) -> None:
    spec.write_text(GOOD)
    code = (
        "import sys, scaling.plan.expand, scaling.plan.cost; from scaling.spec.load import load_study; "
        f"load_study({str(spec)!r}); print(sorted({{'jax', 'pandas', 'numpy', 'flax'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


AWKWARD = [
    *"{}[]:~\t%'#@\x85\ufeff", "- ", "true", "1e999", "-0.0", '"\\x', "&a ", "*a", "? ", "| ", "<<: ",
    "!!set ", "9" * 5000, "kind", "null: ", "---\n", "...\n", "0o7", "2024-01-01",
]  # fmt: skip
PLACES = [
    *Study.model_fields, "recipe.optimizer", "recipe.schedule", "recipe.optimizer.learning_rate",
    "family.widths", "design.budgets", "holdout[0]",
]  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NAMES = st.sampled_from(["kind", "width", "shape", "of", "x"])
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=3))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_no_text_makes_a_traceback(tmp_path_factory: pytest.TempPathFactory, seed: int, edits: int) -> None:
    """A good spec with pieces cut out, doubled, or replaced by awkward ones loads or is explained."""
    draw = random.Random(seed)
    text = GOOD
    for _ in range(edits):
        start = draw.randrange(len(text))
        end = min(len(text), start + draw.choice([0, 0, 1, 5, 40]))
        text = text[:start] + draw.choice([*AWKWARD, "", text[start:end] * 2]) + text[end:]
    spec = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    spec.write_text(text)
    try:
        load_study(spec)
    except UserError as error:
        assert error.problems
        assert all(p.where and p.message and "\n" not in p.message for p in error.problems)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(PLACES), VALUES)
def test_no_value_makes_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, path: str, value: object
) -> None:
    spec = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    spec.write_text(GOOD)
    try:
        load_study(spec, [f"{path}={json.dumps(value)}"])
    except UserError as error:
        assert error.problems


def test_a_misspelt_tokenizer_is_explained_in_either_form(spec: Path) -> None:
    for written in ("byts", "{kind: byts}"):
        spec.write_text(GOOD)
        with pytest.raises(UserError) as caught:
            load_study(spec, [f"data.tokenizer={written}"])
        assert "did you mean 'bytes'?" in str(caught.value)


@pytest.mark.parametrize("width", [8, 24])
def test_a_depth_dial_of_a_width_without_whole_heads(spec: Path, width: int) -> None:
    family = f"family: {{kind: depth-dial, width: {width}, depths: [2, 4], head_dim: 16}}"
    text = "\n".join(family if line.startswith("family:") else line for line in GOOD.splitlines())
    text = text.replace("width: 80", "depth: 3")
    said = [str(p) for p in problems(spec, text) if "head_dim = 16" in str(p)]
    assert len(said) == 1 and f"3:35: family.width: width {width} is not divisible" in said[0]
