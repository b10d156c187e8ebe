"""Rules that were fitted to a sweep: files, hashes, and what a plan and its jobs record of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from scaling.errors import UserError
from scaling.plan.expand import make_plan
from scaling.plan.plan import Plan
from scaling.plan.tuned import with_hashes
from scaling.plan.written import study_text
from scaling.spec.load import load_study, study_from_dict
from scaling.store.folder import ResultsFolder
from scaling.sweep.tasks import Task, job_spec
from tests.plan.studies import changed, fake_index

RATE = "recipe__optimizer__learning_rate"
TOKENS = {"kind": "grid", "tokens": [1e5, 2e5]}


def fit(target: str, c: float, **exponents: float) -> dict[str, Any]:
    """A law c / (product of input^exponent), as `basins --out` writes it."""
    return {
        "law": {"name": target, "terms": {"c": {x: f"e_{x}" for x in exponents}}},
        "solution": {"c": c} | {f"e_{x}": exponent for x, exponent in exponents.items()},
        "status": {"code": "ok", "message": "fine"},
        "identified": {name: {"verdict": "yes"} for name in ("c", *(f"e_{x}" for x in exponents))},
    }


WEAK = fit("lr", 1.0, params=0.4) | {"status": {"code": "weak", "message": "few"}}
BASINS = {
    "schema": 1,
    "columns": {"lr": "learning_rate", "batch": "batch_tokens"},
    "laws": {"lr": fit("lr", 2.0, params=0.4, tokens=-0.05), "batch": fit("batch", 0.5, tokens=-0.5)},
}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "basins.json"
    path.write_text(json.dumps(BASINS))
    return path


def rule(**fields: Any) -> dict[str, Any]:
    return {"kind": "tuned", "file": "basins.json", **fields}


def plan_of(**changes: Any) -> Plan:
    return make_plan(study_from_dict(changed(**changes)), fake_index())


def test_the_law_of_the_field_is_taken_and_recorded(file: Path) -> None:
    plan = plan_of(**{RATE: rule(), "recipe__batch_tokens": rule(), "design": TOKENS})
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    for run in plan.runs:
        asked = 2.0 * run.params**-0.4 * run.run.tokens**0.05
        assert run.run.optimizer.learning_rate == pytest.approx(asked, rel=1e-6)
        assert run.run.batch_tokens == pytest.approx(0.5 * run.run.tokens**0.5, abs=40)
        assert run.rules is not None and run.rules["recipe.batch_tokens"] == f"tuned basins.json sha256:{sha}"
        assert run.rules.keys() == {"recipe.batch_tokens", "recipe.optimizer.learning_rate"}
    assert len(plan.jobs) == len(plan.runs), "both depend on the horizon"
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan_of().runs[0].rules is None


def test_the_file_is_relative_to_the_spec_and_its_hash_stands_in_the_resolved_spec(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps(changed(**{RATE: rule()}, variants={"a": {}, "b": {RATE_PATH: rule()}})))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    study = load_study(spec)
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    assert study_text(study).count(f"sha256: {sha}") == 2
    file.write_text(json.dumps(BASINS | {"schema": 2}))
    assert sha not in study_text(study)


RATE_PATH = "recipe.optimizer.learning_rates.gain"


def test_hashes_are_filled_in_at_any_depth(file: Path) -> None:
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    raw = {"axes": [{"cross": {"recipe.batch_tokens": [64, rule()]}}], "text": "tuned"}
    filled = with_hashes(raw, Path())
    assert filled["axes"][0]["cross"]["recipe.batch_tokens"] == [64, rule(sha256=sha)]
    assert filled["text"] == "tuned"


@pytest.mark.parametrize(
    ("basins", "fields", "where", "message"),
    [
        (BASINS, {"file": "no.json"}, ".file", "no such file: no.json"),
        (BASINS, {"sha256": "0" * 64}, ".sha256", "basins.json is another file: its sha256 is "),
        ([], {}, ".file", "basins.json holds no basins"),
        (BASINS | {"laws": {}}, {}, ".file", "basins.json has no law of learning_rate"),
        (BASINS | {"columns": {"lr": "max lr"}}, {}, ".file", "no law of learning_rate"),
        (
            BASINS | {"laws": {"lr": WEAK}},
            {},
            ".file",
            "the law of learning_rate in basins.json is weak: few",
        ),
        (BASINS | {"laws": {"lr": fit("lr", 1.0, epochs=0.4)}}, {}, ".file", "is one of epochs"),
        (BASINS | {"laws": {"lr": fit("lr", 1.0, learning_rate=0.4)}}, {}, ".of", "circular"),
    ],
)  # fmt: skip
def test_files_that_are_refused(file: Path, basins: Any, fields: Any, where: str, message: str) -> None:
    file.write_text(json.dumps(basins))
    with pytest.raises(UserError) as caught:
        plan_of(**{RATE: rule(**fields)})
    (problem,) = caught.value.problems
    assert problem.where == f"recipe.optimizer.learning_rate{where}" and message in problem.message


def test_fields_without_a_law_are_refused(file: Path) -> None:
    with pytest.raises(UserError, match="a tuned rule has nothing to say of b2"):
        plan_of(recipe__optimizer__b2=rule())


def test_jobs_carry_the_rules(file: Path) -> None:
    plan = plan_of(**{RATE: rule()})
    job = plan.jobs[0]
    runs = tuple(plan.by_id[run_id] for run_id in job.run_ids)
    members = job_spec(plan, Task(job, runs, 1), runs, "train", ResultsFolder(Path("none"))).runs
    assert [member.rules for member in members] == [run.rules for run in runs]
    plan = plan_of()
    job, run = plan.jobs[0], plan.by_id[plan.jobs[0].run_ids[0]]
    (member,) = job_spec(plan, Task(job, (run,), 1), (run,), "train", ResultsFolder(Path("none"))).runs
    assert "rules" not in member.model_fields_set


def test_exponents_must_be_identified_and_the_coefficient_need_not(file: Path) -> None:
    """It is the value at inputs of 1, far from any sweep."""
    partly = {"status": {"code": "partly_identified", "message": "not determined to the stated width"}}
    law = fit("lr", 2.0, params=0.4) | partly
    law["identified"]["c"] = {"verdict": "no"}
    file.write_text(json.dumps(BASINS | {"laws": {"lr": law}}))
    assert plan_of(**{RATE: rule()}).runs
    law["identified"]["e_params"] = {"verdict": "one_sided"}
    file.write_text(json.dumps(BASINS | {"laws": {"lr": law}}))
    with pytest.raises(UserError, match="its exponents of params are not identified"):
        plan_of(**{RATE: rule()})


def test_files_of_all_fields_variants_and_axes_are_looked_at(file: Path) -> None:
    rate, batch = "recipe.optimizer.learning_rate", "recipe.batch_tokens"
    missing, other = rule(file="no.json"), rule(sha256="0" * 64)
    changes = {
        RATE: other,
        "recipe__batch_tokens": missing,
        "design": TOKENS,
        "variants": {"a": {}, "b": {rate: missing}},
        "axes": [{"cross": {batch: [256, other]}, "role": "tuning"}],
    }
    with pytest.raises(UserError) as caught:
        plan_of(**changes)
    assert {problem.where for problem in caught.value.problems} == {
        f"{rate}.sha256",
        f"{batch}.file",
        f"variants.b.{rate}.file",
        f"axes[0].cross.{batch}[1].sha256",
    }


def test_hashes_of_variants_and_cells_reach_study_yaml_and_records(file: Path) -> None:
    rate, batch = "recipe.optimizer.learning_rate", "recipe.batch_tokens"
    changes = {
        "design": TOKENS,
        "variants": {"a": {}, "b": {rate: rule()}},
        "axes": [{"cross": {batch: [256, rule()]}}],
        "holdout": [{"width": 64, "tokens": 1e6, "values": {batch: rule()}}],
    }
    study = study_from_dict(changed(**changes))
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    assert study_text(study).count(f"sha256: {sha}") == 3
    said = f"tuned basins.json sha256:{sha}"
    for run in make_plan(study, fake_index()).runs:
        rules = {rate} if run.variant == "b" else set()
        rules |= {batch} if run.role == "holdout" or run.values or "tuned" in run.label else set()
        assert run.rules == (dict.fromkeys(rules, said) or None), run.label
