"""Runs that start from other weights: their ids, where the weights lie, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling.canonical import canonical_json
from scaling.errors import UserError
from scaling.model.roles import init_params
from scaling.plan.expand import make_plan
from scaling.plan.plan import PlannedRun
from scaling.spec.load import load_study
from scaling.store.records import Record
from scaling.store.weights import identity, save
from tests.plan.studies import changed, fake_index, plan_of
from tests.store.test_records import RECORD

ONE = {"family__widths": [16], "design": {"kind": "grid", "steps": [500]}}


@pytest.fixture
def planned() -> PlannedRun:
    return plan_of(**ONE).runs[0]


def start_from(text: str, **changes: Any) -> PlannedRun:
    return plan_of(**ONE | changes, recipe__init_from=text).runs[0]


def wrong(text: str, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        plan_of(**ONE | changes, recipe__init_from=text)
    (problem,) = caught.value.problems
    assert problem.where == "recipe.init_from" and problem.hint
    return problem.message


def test_weights_of_a_file_are_part_of_the_id_and_its_path_is_not(
    tmp_path: Path, planned: PlannedRun
) -> None:
    weights = init_params(planned.run.shape, 5)
    for name in ("a", "b"):
        save(tmp_path / name, weights, planned.run)
    a, b = start_from(str(tmp_path / "a")), start_from(str(tmp_path / "b"))
    assert a.run.init_from == identity(weights) and a.start == str(tmp_path / "a")
    assert a.run_id == b.run_id != planned.run_id and a.trunk_id != planned.trunk_id
    assert "init_from" not in canonical_json(planned.run) and planned.start is None
    save(tmp_path / "b", init_params(planned.run.shape, 6), planned.run)
    assert start_from(str(tmp_path / "b")).run_id != a.run_id


def test_a_path_is_relative_to_the_spec(tmp_path: Path, planned: PlannedRun) -> None:
    save(tmp_path / "w.safetensors", init_params(planned.run.shape, 5), planned.run)
    spec = tmp_path / "s.yaml"
    spec.write_text(json.dumps(changed(**ONE, recipe__init_from="w.safetensors"), indent=1))
    (run,) = make_plan(load_study(spec), fake_index()).runs
    assert run.start == str(tmp_path / "w.safetensors")
    spec.write_text(spec.read_text().replace("w.safe", "v.safe"))
    with pytest.raises(UserError, match=r"s\.yaml:\d+:\d+: recipe.init_from: .*v\.safetensors: no such file"):
        make_plan(load_study(spec), fake_index())


def test_weights_that_do_not_fit_are_named_with_the_run(tmp_path: Path, planned: PlannedRun) -> None:
    weights = init_params(planned.run.shape, 5)
    save(tmp_path / "w", weights, planned.run)
    message = wrong(str(tmp_path / "w"), family__widths=[16, 32])
    assert message.startswith("does not fit w32-500st-s0: blocks/attention_norm/gain is 2 x 16, not 2 x 32; ")
    assert message.endswith(f"(and {len(weights) - 3} more arrays)")
    del weights["head/kernel"]
    save(tmp_path / "w", weights | {"more": weights["final_norm/gain"]}, planned.run)
    fit = "does not fit w16-500st-s0: head/kernel is missing; more is not an array of this model"
    assert wrong(str(tmp_path / "w")) == fit
    assert wrong("~nobody-of-this-name/w").endswith("/w: no such file")


def test_a_run_is_found_by_its_id_where_its_final_checkpoint_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planned: PlannedRun
) -> None:
    monkeypatch.chdir(tmp_path)
    name = planned.run_id
    assert wrong(name) == f"no folder in results/ has a run {name}"
    folder = tmp_path / "results" / "base"
    run = folder / "runs" / name
    run.mkdir(parents=True)
    (run / "run.json").write_text(canonical_json(planned.run))
    record = Record.model_validate(RECORD | {"run_id": name})
    (run / "record.json").write_text(json.dumps(record.to_json()))
    assert wrong(name) == f"run {name} in {folder} has no final checkpoint"
    place = folder / "jobs" / ("0" * 12) / "checkpoints" / name / "500"
    place.mkdir(parents=True)
    assert "no final checkpoint" in wrong(name), "half a checkpoint"
    (place / "manifest.json").touch()
    started = start_from(name)
    assert (started.run.init_from, started.start) == (name, str(place))
    assert wrong(name, family__widths=[24]).startswith("does not fit w24-500st-s0: ")
    (run / "run.json").write_text(canonical_json(planned.run.model_copy(update={"seed": 1})))
    with pytest.raises(UserError, match=f"is not run {name}"):
        start_from(name)
