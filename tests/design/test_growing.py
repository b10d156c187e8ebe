"""Designs that are decided as results come in."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from ruamel.yaml import YAML

from analysis.optimal_size.isoflop import IsoFlop, minima
from scaling.cli import run
from scaling.cli.next_request import _study
from scaling.design import growing
from scaling.design.centring import best_size
from scaling.design.growing import FixedPlan, PlannedStudy
from scaling.errors import UserError
from scaling.plan.expand import make_plan
from scaling.plan.grown import with_decisions
from scaling.plan.written import study_text
from scaling.spec.designs.isoflop import IsoFLOP
from scaling.spec.load import study_from_dict
from scaling.store.folder import ResultsFolder
from scaling.study import StudyStopped, run_study, whole
from scaling.study.launch import Launch
from scaling.sweep.changes import PlanChanged
from scaling.sweep.driver import Sweep
from scaling.sweep.events import Event, Outcome
from scaling.sweep.guard import LOCK
from scaling.sweep.opening import open_sweep
from scaling.sweep.stops import Reason
from tests.plan.studies import changed, fake_index_of, plan_of
from tests.sweep.plans import FAKE, trained

SIZES = [1e4, 2e4, 4e4, 8e4, 16e4]
AUTO = {"kind": "isoflop", "budgets": [1e11, 4e11, 1.6e12], "window": {"center": "auto", "sizes": 2}}


def measured(best: dict[float, float]) -> IsoFlop:
    """Curves whose minimum in log N is where ``best`` says for each budget."""
    rows = [
        {"params": n, "tokens": c / 6 / n, "flops": c, "budget": c, "loss": 2 + 0.05 * math.log(n / at) ** 2}
        for c, at in best.items()
        for n in SIZES
    ]
    return minima(pd.DataFrame(rows))


def test_a_budget_is_centred_by_the_minima_below_it() -> None:
    one, why = best_size(measured({1e11: 3e4}), 4e11)
    assert one == pytest.approx(6e4, rel=0.03) and why.startswith("N* ~ C^0.5 assumed from the minimum ")
    two, why = best_size(measured({1e11: 3e4, 2e11: 4e4, 8e11: 1.6e5}), 4e11)
    assert two == pytest.approx(4e4 * 4 / 3, rel=0.03), "a budget above says nothing of one below"
    assert why.startswith("N* ~ C^0.4") and " through the minima " in why
    steep, why = best_size(measured({1e11: 2.5e4, 1.2e11: 7e4}), 2e11)
    assert why.startswith("N* ~ C^0.80, limited from ") and steep < 8e4
    edge, why = best_size(measured({1e11: 1e3}), 4e11)
    assert edge == pytest.approx(2e4) and "no minimum inside, the best size 1e+04 at 1e+11" in why
    with pytest.raises(UserError, match="no run below"):
        best_size(measured({1e11: 3e4}), 1e10)


def test_only_what_is_decided_is_planned() -> None:
    widths = [16, 24, 32, 48]
    plan = plan_of(family__widths=widths, design=AUTO, noise={"corners": ["largest-longest"]})
    assert [run.budget for run in plan.runs] == [1e11] * 4 and not plan.excluded, "all sizes at the lowest"
    wait = "2 budgets wait for the minima of those below (4e+11, 1.6e+12 FLOPs): 2 sizes each, 4e+12 FLOPs"
    assert any(note.startswith(wait) for note in plan.notes)
    decided = [{"budget": 4e11, "params": 3e4, "because": "seen"}]
    design = AUTO | {"window": {"center": {"kind": "auto", "decided": decided}, "sizes": 2}}
    runs = plan_of(family__widths=widths, design=design).runs
    assert [run.built_in.shape.width for run in runs if run.budget == 4e11] == [24, 32]


@pytest.mark.parametrize(
    "more", [{"axes": [{"cross": {"recipe.batch_tokens": [256]}}]}, {"variants": {"a": {}}}]
)
def test_a_design_that_grows_is_of_one_recipe(more: dict[str, object]) -> None:
    with pytest.raises(UserError, match="center: auto is decided for one recipe and one family"):
        plan_of(design=AUTO, **more)
    adaptive = {"kind": "adaptive", "budget": 8e12, "compute": 2.4e12}
    with pytest.raises(UserError, match="kind adaptive are chosen for one recipe and one family"):
        plan_of(design=adaptive, **more)


def test_decisions_are_taken_over_from_the_results(tmp_path: Path) -> None:
    study = study_from_dict(changed(design=AUTO))
    assert with_decisions(study, tmp_path) == study
    assert isinstance(study.design, IsoFLOP)
    grown = study.model_copy(update={"design": study.design.decided(4e11, 3e4, "seen")})
    (tmp_path / "study.yaml").write_text(study_text(grown))
    assert with_decisions(study, tmp_path) == grown
    fewer = study_from_dict(changed(design=AUTO | {"budgets": [1e11, 1.6e12]}))
    assert with_decisions(fewer, tmp_path) == fewer, "of budgets that are not asked for any more nothing is"


TINY = changed(
    design=AUTO | {"budgets": [4e8, 8e8, 1.6e9]},
    family__widths=[8, 16, 24, 32],
    data__context=16,
    recipe__batch_tokens=128,
    recipe__schedule={"kind": "wsd", "warmup": "4 steps", "decay": "20 %"},
    evaluation={"documents": 24, "tokens": 2048},
)


@pytest.mark.parametrize(
    "moment",
    [
        "open_sweep",
        "decision",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("run_jobs", "turn")),
    ],
)
def test_a_launch_goes_on_with_what_another_one_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The other launch decides all while this one opens the folder, trains, is about to decide, or takes
    longer to decide than others wait for their turn."""
    small = {"design": AUTO | {"budgets": [4e8, 8e8]}, "execution": {"workers": 2, "device": "cpu"}}
    tiny, others = study_from_dict(TINY | small), list[str]()

    def run_another(self: Sweep | None) -> None:
        if not others:
            others.append(moment)
            if self is not None:
                self.presence.end()
            run_study(tiny, tmp_path, watch=Heard())

    def open_tiny(*given: Any, **more: Any) -> Any:
        if moment == "open_sweep":
            run_another(None)
        return open_sweep(*given, command=FAKE, **more)

    def run_jobs(self: Sweep, *given: Any, **more: Any) -> Outcome:
        outcome = train(self, *given, **more)
        if moment in ("open_sweep", "decision") or others:
            return outcome
        run_another(self)
        return replace(outcome, interrupted=Reason.PLAN_CHANGED) if moment == "run_jobs" else outcome

    def decide(self: PlannedStudy, folder: Path) -> tuple[PlannedStudy, str]:
        decided = next_of(self, folder)
        if moment == "decision" and not others:
            (folder / LOCK).unlink()  # as if a minute had passed
            run_another(None)
        return decided

    train, next_of = Sweep.run_jobs, PlannedStudy.next
    monkeypatch.setattr(PlannedStudy, "next", decide)
    monkeypatch.setattr(whole, "open_sweep", open_tiny)
    monkeypatch.setattr(Sweep, "run_jobs", run_jobs)
    monkeypatch.setattr(growing, "plan_study", lambda study: make_plan(study, fake_index_of))
    monkeypatch.setattr(Launch, "run", lambda self: self._train_fitted() or self.plan)
    heard = Heard()
    plan: Any = run_study(tiny, tmp_path, watch=heard)
    assert others == [moment] and {run.budget for run in plan.runs} == {4e8, 8e8}
    assert heard.said == ["another launch has decided what comes next: going on with that"]
    assert len(trained(tmp_path)) == len(plan.runs) == 6


def test_launches_that_ask_for_different_things_are_not_one_study(tmp_path: Path) -> None:
    """Whatever they have decided, and although they train the same."""
    few, more = (
        plan_of(design=AUTO | {"budgets": budgets}) for budgets in ([1e11, 4e11], [1e11, 4e11, 8e11])
    )
    assert few.runs == more.runs and few.identity != more.identity
    adaptive = {"kind": "adaptive", "budget": 8e12, "compute": 2.4e12, "rounds": [ROUND]}
    narrow, ended = (plan_of(design=adaptive | more) for more in ({"width": 0.02}, {"ended": "spent"}))
    assert narrow.runs == ended.runs and narrow.identity != ended.identity
    assert ended.identity == plan_of(design=adaptive).identity
    grid = {"kind": "isoflop", "budgets": [1e11]}
    assert plan_of(design=grid).identity == plan_of(design=grid | {"min_steps": 2}).identity


BASIS = {"law": "chinchilla", "source": "p", "params": {"E": 1.0}, "noise": 0.01, "runs": 0, "spent": 0.0}
ROUND = {"cells": [{"width": 24, "flops": 1e11}], "basis": BASIS}


@pytest.mark.parametrize(("moment", "known"), [("_train_fitted", [8e8, 1.6e9]), ("grow", [8e8])])
def test_a_launch_ends_when_another_one_asks_for_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, known: list[float]
) -> None:
    """While this one trains, or between two of its rounds: the study is the other's from then on."""
    monkeypatch.setattr(growing, "plan_study", lambda study: make_plan(study, fake_index_of))
    few, more = (
        study_from_dict(TINY | {"design": decided_at(*known) | {"budgets": [4e8, 8e8, 1.6e9, *rest]}})
        for known, rest in (([8e8], []), (known, [3.2e9]))
    )
    written = list[str]()

    def launch_another(self: Launch, *given: Any) -> Any:
        assert not written, "it has gone on"
        other = PlannedStudy.of(more, tmp_path)
        written.append(other.text)
        with open_sweep(tmp_path, other.plan.to_json(), other.text):
            return given[0] if given else None

    monkeypatch.setattr(Launch, moment, launch_another)
    heard = Heard()
    with pytest.raises(PlanChanged):
        run_study(few, tmp_path, watch=heard)
    assert written == [(tmp_path / "study.yaml").read_text()] and not heard.said


def test_another_recipe_has_decided_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --force its runs are trained again; what follows from their losses is decided again too."""
    monkeypatch.setattr(growing, "plan_study", lambda study: make_plan(study, fake_index_of))
    before = PlannedStudy.of(study_from_dict(TINY | {"design": decided_at(8e8)}), tmp_path)
    with open_sweep(tmp_path, before.plan.to_json(), before.text):
        ResultsFolder(tmp_path).run_dir(before.plan.runs[0].run_id).mkdir(parents=True)
    asked = dict(TINY) | {"design": decided_at()}
    asked["recipe"] = asked["recipe"] | {"batch_tokens": 256}
    seen = list[tuple[float, ...]]()

    def grow(self: Launch, study: PlannedStudy) -> PlannedStudy:
        seen.append(study.study.design.waiting)
        raise StudyStopped("stopped by the test", 130)

    monkeypatch.setattr(Launch, "grow", grow)
    with pytest.raises(StudyStopped):
        run_study(study_from_dict(asked), tmp_path, watch=Heard(), force=True)
    assert seen == [(8e8,)] and with_decisions(study_from_dict(asked), tmp_path).design.waiting == (8e8,)


@dataclass(frozen=True)
class OfOwnText:
    """A study of texts beside its spec, planned into a results folder elsewhere."""

    spec: Path
    results: Path

    def plan(self, design: dict[str, Any]) -> PlannedStudy:
        texts = self.spec.parent / "texts"
        texts.mkdir(parents=True, exist_ok=True)
        for number in range(60):
            (texts / f"{number}.txt").write_text(f"{number} is a number, and so is {number * 7919}. " * 40)
        data = {"corpus": {"kind": "text", "files": "texts/*.txt"}, "tokenizer": "bytes", "context": 16}
        YAML().dump(TINY | {"data": data, "design": design}, self.spec)
        asked = run._of_spec(self.spec, None, self.results, None)
        assert isinstance(asked.study, PlannedStudy)
        with open_sweep(self.results, asked.plan.to_json(), asked.study.text):
            return asked.study

    def forget(self, *fields: str) -> None:
        """Make the plan one of an earlier version, without these fields."""
        path = self.results / "plan.json"
        plan = json.loads(path.read_text())
        path.write_text(json.dumps({name: value for name, value in plan.items() if name not in fields}))


@pytest.fixture
def own(tmp_path: Path) -> OfOwnText:
    return OfOwnText(tmp_path / "specs" / "s.yaml", tmp_path / "results")


def decided_at(*budgets: float) -> dict[str, Any]:
    decided = [{"budget": budget, "params": 5e3, "because": "seen"} for budget in budgets]
    return AUTO | {
        "budgets": [4e8, 8e8],
        "window": {"center": {"kind": "auto", "decided": decided}, "sizes": 2},
    }


def test_by_its_results_a_study_finds_the_files_of_its_spec(own: OfOwnText) -> None:
    planned = own.plan(decided_at())
    again = run._of_folder(own.results, None, None, None)
    assert again.plan.identity == planned.plan.identity and again.plan.folder == str(own.spec.parent)
    assert isinstance(again.study, PlannedStudy) and again.study.text == planned.text
    (own.results / "next.yaml").write_text(planned.text)  # as `scaling next` writes it
    assert run._of_spec(own.results / "next.yaml", None, own.results, None).plan.runs == planned.plan.runs
    study, _ = _study(own.results, None)
    assert study.source.folder == own.spec.parent


def test_a_finished_study_needs_its_text_no_more(own: OfOwnText) -> None:
    planned = own.plan(decided_at(8e8))
    (own.spec.parent / "texts").rename(own.spec.parent / "moved")
    for earlier in ((), ("unfinished", "folder")):
        own.forget(*earlier)
        again = run._of_folder(own.results, None, None, None)
        assert again.study == FixedPlan(again.plan, None) and again.plan.identity == planned.plan.identity


def test_a_plan_of_an_earlier_version_is_finished_where_its_spec_is(own: OfOwnText) -> None:
    own.plan(decided_at())
    own.forget("unfinished")
    again = run._of_folder(own.results, None, None, None)
    assert isinstance(again.study, PlannedStudy) and again.study.waits


def test_a_plan_that_waits_for_decisions_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="decides more as results come in, and a plan cannot"):
        run_study(plan_of(design=AUTO), tmp_path)
    assert not list(tmp_path.iterdir())


def test_decisions_that_cannot_be_read_are_told_with_what_to_do(tmp_path: Path) -> None:
    study, written = study_from_dict(changed(design=AUTO)), tmp_path / "study.yaml"
    written.write_text(whole.PYTHON)
    assert with_decisions(study, tmp_path) == study, "what is planned in Python has no spec"
    written.write_text("study: [")
    with pytest.raises(
        UserError, match=r"correct or remove this file, or name another folder with --results"
    ):
        with_decisions(study, tmp_path)


class Heard:
    """A reporter that keeps what it is told in words."""

    def __init__(self) -> None:
        self.said = list[str]()

    def __call__(self, event: Event) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.slow
def test_two_launches_of_a_growing_study_both_end_well(tmp_path: Path) -> None:
    spec = tmp_path / "tiny.yaml"
    YAML().dump(TINY | {"execution": {"workers": 1}}, spec)
    command = [sys.executable, "-m", "scaling", "run", spec, "--results", tmp_path / "results", "--no-report"]
    launches = [subprocess.Popen(command) for _ in range(2)]
    assert [launch.wait(600) for launch in launches] == [0, 0]
    assert [one["budget"] for one in decisions(tmp_path)] == [8e8, 1.6e9]
    assert len(pd.read_csv(tmp_path / "results" / "runs.csv")) == 8


@pytest.mark.slow
def test_a_study_grows_by_its_results_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decide, said = PlannedStudy.next, list[str]()

    def once(self: PlannedStudy, folder: Path) -> tuple[PlannedStudy, str]:
        if said:
            raise StudyStopped("stopped by the test", 130)
        grown = decide(self, folder)
        said.append(grown[1])
        return grown

    monkeypatch.setattr(PlannedStudy, "next", once)
    with pytest.raises(StudyStopped):
        run_study(study_from_dict(TINY), tmp_path / "results", workers=2)
    monkeypatch.undo()
    before = decisions(tmp_path)
    assert [one["budget"] for one in before] == [8e8]
    run_study(study_from_dict(TINY), tmp_path / "results", workers=2)
    after = decisions(tmp_path)
    assert after[:1] == before and [one["budget"] for one in after] == [8e8, 1.6e9]
    rows = pd.read_csv(tmp_path / "results" / "runs.csv")
    assert rows.groupby("budget").size().to_dict() == {4e8: 4, 8e8: 2, 1.6e9: 2}
    assert set(rows["status"]) == {"ok"}


def decisions(folder: Path) -> list[dict[str, object]]:
    written = YAML(typ="safe").load((folder / "results" / "study.yaml").read_text())
    return [dict(one) for one in written["design"]["window"]["center"]["decided"]]
