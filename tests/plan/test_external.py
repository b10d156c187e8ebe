from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from scaling.counts.external import ExternalSize
from scaling.errors import UserError
from scaling.plan import describe
from scaling.plan.bill import make_bill
from scaling.plan.cost import estimate_space, recorded_speed
from scaling.plan.expand import plan_spec, plan_study
from scaling.plan.member import Counting, next_cells, next_study
from scaling.plan.plan import Plan
from scaling.plan.written import study_text
from scaling.run import ExternalData, ExternalRun, TrainerVersion, run_id, trunk_id
from scaling.spec.load import study_from_dict
from scaling.store.records import Record
from tests.plan.studies import plan_of as plan_of_built_in

SIZES = [
    {"name": "a", "params": 1e5, "flops_per_token": 6e5, "config": {"d_model": 64, "layers": 2}},
    {"name": "b", "params": 2e5, "flops_per_token": 12e5, "config": {"d_model": 128, "layers": 2}},
]
DECAY = {"kind": "power", "of": "tokens", "coefficient": 10, "exponent": -0.5}
BASE: dict[str, Any] = {
    "study": "mine",
    "trainer": {"kind": "command", "version": 1, "argv": ["train", "{run}", "{out}"]},
    "data": {"corpus": {"kind": "external", "tokens": 1e6}, "context": 128},
    "family": {"kind": "external", "sizes": SIZES},
    "recipe": {
        "kind": "external",
        "learning_rate": {"kind": "power", "coefficient": 0.2, "of": {"width": -1}},
        "batch_tokens": 2048,
        "optimizer": {
            "kind": "adam",
            "decay": {"kind": "power", "of": "tokens", "coefficient": 10, "exponent": -0.5},
        },
    },
    "design": {"kind": "isoflop", "budgets": [1e12, 3e12]},
}


GOLDEN = ["baddf0eec8a2", "07345d6a14ca", "021f40023642", "fd4e3c1e4506"]  # ids are for ever


def plan_of(**changes: Any) -> Plan:
    return plan_study(study_from_dict({**BASE, **changes}))


def run(**changes: Any) -> ExternalRun:
    size = ExternalSize(name="a", params=100, flops_per_token=600, context=8, config={"d": 4})
    fields: dict[str, Any] = {
        "trainer": TrainerVersion(version=1),
        "size": size,
        "data": ExternalData(tokens=1000),
        "recipe": {"learning_rate": 0.01, "x": [1, {"y": None}]},
        "batch_sequences": 2,
        "steps": 10,
        "seed": 0,
    }
    return ExternalRun(**{**fields, **changes})


def test_ids_of_external_runs_stay_what_they_are() -> None:
    assert run_id(run()) == trunk_id(run()) == "21d9baac59be" and run().branch_step == 0
    assert [planned.run_id for planned in plan_of().runs] == GOLDEN
    size = ExternalSize(name="a", params=100, flops_per_token=600, context=8, config={"d": 4}, params_head=0)
    changes: list[dict[str, Any]] = [
        {"trainer": TrainerVersion(version=2)},
        {"trainer": TrainerVersion(version="1")},
        {"size": size},
        {"data": ExternalData(tokens=1000, name="x")},
        {"recipe": {"learning_rate": 0.01}},
        {"order": 1},
        {"steps": 11},
    ]
    assert len({run_id(run()), *(run_id(run(**change)) for change in changes)}) == len(changes) + 1


def test_what_the_command_is_started_with_is_no_part_of_ids() -> None:
    trainer = {**BASE["trainer"], "argv": ["other", "{run}", "{out}"], "resume": True, "grace_seconds": 5}
    other = plan_of(trainer=trainer)
    assert [r.run_id for r in other.runs] == [r.run_id for r in plan_of().runs]
    assert other.command is not None and other.command.argv[0] == "other" and other.command.resume
    assert other.command.directory == str(Path().absolute()) and other.identity == plan_of().identity
    moved = study_from_dict({**BASE, "trainer": {**trainer, "folder": "/elsewhere"}})
    assert plan_study(moved).command == other.command.model_copy(update={"directory": "/elsewhere"})
    assert Plan.from_json(other.to_json()) == other


def test_budgets_lengths_rules_and_epochs() -> None:
    first, *_, last = plan_of().runs
    assert isinstance(first.run, ExternalRun) and isinstance(last.run, ExternalRun)
    assert first.run.steps == round(1e12 / (6e5 * 2048)) and first.flops == first.run.tokens * 600_000
    assert (first.run.recipe["learning_rate"], last.run.recipe["learning_rate"]) == (0.003125, 0.0015625)
    assert first.run.recipe["optimizer"]["decay"] == pytest.approx(10 * first.run.tokens**-0.5)
    assert first.epochs == first.run.tokens / 1e6 and first.unique_tokens == min(first.run.tokens, 10**6)
    assert (first.params, first.params_body, first.params_active, first.budget) == (100_000, None, None, 1e12)
    assert all(job.run_ids == (job.job_id,) for job in plan_of().jobs)
    ladder = plan_of(design={"kind": "ladder", "multiples": [20]})
    assert [round(r.run.tokens / r.params) for r in ladder.runs] == [20, 20]


def test_a_batch_is_whole_sequences() -> None:
    moved = plan_of(recipe={**BASE["recipe"], "batch_tokens": 300})
    assert {r.run.batch_tokens for r in moved.runs} == {256}
    assert any("has 256 tokens where 300 were asked for" in note for note in moved.notes)
    rule = {"kind": "power", "of": "flops", "coefficient": 1, "exponent": 0.25}
    ruled = plan_of(recipe={**BASE["recipe"], "batch_tokens": rule})
    assert {r.run.batch_tokens for r in ruled.runs} == {1024, 1280}


def test_axes_variants_noise_and_seeds() -> None:
    plan = plan_of(
        seeds=[0, {"init": 1, "order": 2}],
        axes=[
            {
                "cross": {"recipe.optimizer.eps": [1e-8, 1e-6], "recipe.learning_rate": [0.1, 0.2]},
                "at": [{"name": "a"}],
            }
        ],
        variants={"adam": {}, "sgd": {"recipe.optimizer": {"kind": "sgd", "decay": 0}}},
        noise={"name": "b", "flops": 3e12, "seeds": [7, 8]},
        holdout=[{"name": "b", "flops": 1e13}],
    )
    by_role = plan.totals.by_role
    assert by_role == {"fit": 2 * 2 * (2 * 4 + 2), "noise": 4, "holdout": 2}
    assert {run.variant for run in plan.runs} == {"adam", "sgd"}
    first = plan.runs[0]
    assert first.label == "adam/a-1e12-eps1e-8-lr0.1-s0" and first.values["eps"] == 1e-8
    seeds = {(run.run.seed, run.run.order) for run in plan.runs if run.role == "fit"}
    assert seeds == {(0, None), (1, 2)}


def test_a_rule_on_an_axis_stands_in_the_table_as_what_it_gives() -> None:
    rule = {"kind": "power", "of": "params", "coefficient": 1, "exponent": -1}
    plan = plan_of(axes=[{"cross": {"recipe.warm": [5, rule]}}])
    assert {run.values["warm"] for run in plan.runs} == {5, 1e-5, 5e-6}


def test_rules_that_give_nothing_possible_are_said_once_with_their_place() -> None:
    rule = {"kind": "power", "of": "tokens", "coefficient": 1e9, "exponent": 5}
    with pytest.raises(UserError) as caught:
        plan_of(recipe={**BASE["recipe"], "warm": {"up": rule}})
    (problem,) = caught.value.problems
    assert problem.where == "recipe.warm.up" and "(and 3 more runs)" in problem.message


def test_time_is_known_of_runs_that_have_ended_alone() -> None:
    plan = plan_of()
    assert recorded_speed(plan, []) is None and estimate_space(plan, 1) is None
    records = [record_of(planned, seconds=10.0) for planned in plan.runs[:1]]
    speed = recorded_speed(plan, records)
    assert speed is not None
    time = make_bill(plan, None, speed, workers=1).time
    assert time is not None
    assert time.training_seconds == pytest.approx(10 * sum(r.flops for r in plan.runs) / plan.runs[0].flops)
    assert time.evaluation_seconds == time.compile_seconds == 0


def record_of(planned: Any, seconds: float) -> Record:
    result = {
        **dict.fromkeys(("status_reason", "loss_se_eval", "bits_per_byte", "eval_tokens", "document_losses")),
        **{"status": "ok", "loss": 2.0, "eval_id": "e" * 12, "train_loss": 2.0, "steps": planned.run.steps},
        **{
            "tokens": planned.run.tokens,
            "unique_tokens": 1,
            "epochs": 1.0,
            "params": vars(planned.run.counts),
        },
    }
    execution = {"wall_seconds": seconds}
    return Record.model_validate(
        {"schema": 1, "run_id": planned.run_id, "result": result, "execution": execution}
    )


def test_the_next_study_takes_the_nearest_size_of_the_list() -> None:
    study = study_from_dict(BASE)
    cells = next_cells(study, [(1.6e5, 1e13), (1e9, 1e13)], 0, Counting())
    assert [cell.name for cell in cells] == ["b", "b"]
    planned = plan_study(next_study(study, cells))
    assert planned.runs[0].flops == pytest.approx(1e13, rel=0.01)
    with pytest.raises(UserError, match="params_embedding"):
        next_cells(study, [(1e5, 1e13)], 0, Counting(body=True))


def test_ids_of_built_in_runs_know_nothing_of_this() -> None:
    plan = plan_of_built_in()
    assert plan.command is None and {planned.run.kind for planned in plan.runs} == {"run"}
    assert (plan.spec_sha, plan.runs[0].run_id) == (
        "53127164c70d",
        "4a7bdb82f90a",
    )  # as before there were any


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A spec whose sizes a script beside it prints, which counts how often it is asked."""
    script = (
        "import json, sys\nopen('asked', 'a').write('x')\nasked = json.load(sys.stdin)\n"
        "w = asked['data']['context']\nsize = {'params': 1000 * w, 'flops_per_token': 6000 * w}\n"
        "print(json.dumps([{'name': 'a', **size, 'config': {'d': w}}]))\n"
    )
    (tmp_path / "sizes.py").write_text(script)
    (tmp_path / "s.yaml").write_text(
        "study: s\ntrainer: {kind: command, version: 1, argv: [train, '{run}', '{out}']}\n"
        "data: {corpus: {kind: external, tokens: 1e6}, context: 128}\n"
        f"family: {{kind: external, describe: [{sys.executable}, sizes.py]}}\n"
        "recipe: {kind: external, batch_tokens: 1024}\ndesign: {kind: grid, steps: [5]}\n"
    )
    return tmp_path / "s.yaml"


def test_a_command_describes_sizes_once_and_says_so(described: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALING_CACHE", str(described.parent / "cache"))
    said: list[str] = []
    study, plan = plan_spec(described, say=said.append)
    assert plan.runs[0].params == 128_000 and len(said) == 1 and "sizes.py" in said[0]
    assert study.model_dump(mode="json")["family"]["sizes"][0]["config"] == {"d": 128}
    plan_spec(described, say=said.append)
    asked = described.parent / "asked"
    assert len(said) == 1 and asked.read_text() == "x"
    plan_spec(described, ["data.context=64"], say=said.append)
    plan_spec(described, ["trainer.version=2"], say=said.append)
    assert asked.read_text() == "xxx"
    with pytest.raises(UserError, match="is asked for sizes by `scaling plan` and `scaling run` alone"):
        plan_of(family={"kind": "external", "describe": ["true"]})


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import sys; sys.exit('no such width')", "exited with code 1: no such width"),
        ("print('[')", "printed something that is not JSON"),
        ("print('[NaN]')", "printed something that is not JSON: NaN is no number of JSON"),
        ("print('{}')", "printed no list of sizes: sizes: must be a list"),
        ('print(\'[{"name": "a", "params": 1}]\')', "sizes[0].flops_per_token: required"),
        ("import time; time.sleep(60)", "took more than 1 s"),
        (None, "cannot be started: No such file"),
    ],
)
def test_what_a_description_can_get_wrong(
    described: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, message: str
) -> None:
    monkeypatch.setattr(describe, "SECONDS", 1.0)
    if script is None:
        described.write_text(described.read_text().replace(sys.executable, "/nowhere/python"))
    else:
        (described.parent / "sizes.py").write_text(script)
    with pytest.raises(UserError) as caught:
        plan_spec(described)
    (problem,) = caught.value.problems
    assert message in problem.message and problem.where.endswith("s.yaml:4:36") and problem.hint


def test_the_spec_that_is_kept_starts_the_same_command(tmp_path: Path) -> None:
    spec = tmp_path / "here" / "s.yaml"
    spec.parent.mkdir()
    spec.write_text(json.dumps(BASE))
    study, plan = plan_spec(spec)
    kept = tmp_path / "study.yaml"
    kept.write_text(study_text(study))
    assert plan.command is not None and plan.command.directory == str(spec.parent)
    again = plan_spec(kept)[1]
    assert (again.command, again.identity) == (plan.command, plan.identity)
