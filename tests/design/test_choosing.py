"""Cells that are chosen for a forecast: all at once, and round after round."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from analysis.fits.fitting import fit
from analysis.planning.help import Advice
from analysis.planning.prior import Prior
from analysis.planning.rivals import Decision as Deciding
from analysis.planning.split import split_of
from analysis.planning.target import Target
from analysis.tables.runs import select
from scaling.cli.plan_request import PlanRequest
from scaling.design.aimed import least_steps
from scaling.design.choosing import Decision, choose, next_round
from scaling.design.following import Wish, next_runs, prior_of
from scaling.design.growing import decided
from scaling.design.proposal import Following
from scaling.design.rounds import said_of
from scaling.design.tables import offered
from scaling.errors import UserError
from scaling.plan.expand import plan_spec, plan_study
from scaling.plan.plan import Plan
from scaling.plan.warnings import LEAST_STEPS
from scaling.plan.written import cell_text, study_text
from scaling.spec.designs.cells import Added, Replicates
from scaling.spec.designs.chosen import FEWEST, Adaptive, Optimal, Round
from scaling.spec.load import load_study, study_from_dict
from scaling.spec.models import Study
from scaling.sweep.clock import TimeLimit
from tests.cli.call import call
from tests.plan.studies import changed as changed_study

KEPT = ("run_id", "label", "role", "params", "params_body", "flops", "trunk_id")
REFERENCE = Path(__file__).resolve().parents[2] / "results" / "reference"
SPECS = Path(__file__).resolve().parents[2] / "experiments" / "designs"


def changed(name: str, **design: Any) -> Study:
    study = load_study(SPECS / f"{name}.yaml")
    return study.model_copy(update={"design": study.design.model_copy(update=design)})


def measured(plan: Plan, seed: int = 0) -> pd.DataFrame:
    """The table of the fitted runs, as a law would have them."""
    rng, rows = np.random.default_rng(seed), []
    for run in plan.runs:
        if run.role == "fit":
            loss = 0.85 + 1000 / run.params**0.785 + 41.55 / run.run.tokens**0.3156
            rows.append(
                {
                    **{name: getattr(run, name) for name in KEPT},
                    "tokens": run.run.tokens,
                    "seed": 0,
                    "status": "ok",
                    "loss": loss * np.exp(rng.normal(0, 0.003)),
                }
            )
    return pd.DataFrame(rows)


def test_optimal_cells_lie_within_the_budget_and_are_those_of_study_yaml(tmp_path):
    study = changed("optimal")
    with pytest.raises(UserError, match="design: has no cells yet"):
        plan_study(study)
    chosen = choose(study)
    plan = plan_study(chosen)
    fitted = [run for run in plan.runs if run.role == "fit"]
    assert 8 <= len(fitted) <= 20 and sum(run.flops for run in fitted) <= 8e12 * 1.01
    assert len({run.params for run in fitted}) >= 4 and max(run.flops for run in fitted) <= 1.21e12
    (tmp_path / "study.yaml").write_text(study_text(chosen), "utf-8")
    assert decided(study, tmp_path).design == chosen.design


def test_the_prior_of_a_design_is_a_file_beside_its_spec_or_its_line_is_named(tmp_path):
    text = (
        (SPECS / "optimal.yaml").read_text("utf-8").replace("kind: optimal,", "kind: optimal, prior: a.json,")
    )
    (tmp_path / "spec.yaml").write_text(text, "utf-8")
    study = load_study(tmp_path / "spec.yaml")
    with pytest.raises(
        UserError, match=r"spec.yaml:10:\d+: design\.prior: 'a\.json' is no prior that is known"
    ):
        choose(study)
    (tmp_path / "a.json").write_bytes((REFERENCE / "quickstart" / "fits" / "chinchilla.json").read_bytes())
    assert choose(study).design != choose(changed("optimal")).design


def test_a_prior_that_the_law_does_not_have_is_named_with_its_line_and_hides_nothing():
    given = ("design.prior=gamma=1,alpha=5:6", "family.widths=[33, 34]")
    with pytest.raises(UserError) as refused:
        plan_spec(SPECS / "adaptive.yaml", given, choose=choose)
    *widths, first, second = refused.value.problems
    assert first.where == second.where == f"--set {given[0]}"
    assert "design.prior: gamma is no parameter" in first.message
    assert "alpha = 5:6 must lie within" in second.message
    assert ["family.widths" in problem.message for problem in widths] == [True, True]


def test_a_design_that_finds_no_cells_says_why():
    with pytest.raises(UserError, match=r"optimal.yaml:10:\d+: design\.budget: 8 runs are .* raise it to"):
        choose(changed("optimal", budget=1e8))
    with pytest.raises(UserError, match=r"design\.compute: 0 cells within 5e\+07 .* raise compute"):
        choose(changed("optimal", budget=2e9, compute=1e8))
    with pytest.raises(UserError, match=r"optimal.yaml:10:\d+: design\.prior: no 8 runs can be chosen"):
        choose(changed("optimal", prior="A=1e-200:2e-200", goal="size"))
    done = call("plan", SPECS / "optimal.yaml", "--set", "design.budget=1e15", "--no-probe")
    assert done.returncode == 2 and "is 417 times design.compute, 2.4e+12 FLOPs" in done.stderr


def test_rounds_follow_each_other_until_the_budget_is_spent_or_the_width_reached():
    study, widths = choose(changed("adaptive", width=None)), list[float]()
    for _ in range(10):
        plan = plan_study(study)
        have = [run for run in plan.runs if run.role == "fit"]
        decision = next_round(study, measured(plan), have)
        if decision.round is None:
            break
        assert decision.round.basis.runs == len(have) and decision.round.basis.records
        widths.append(decision.round.basis.width or np.nan)
        design = study.design
        assert isinstance(design, Adaptive) and decision.round.cells
        costs, left = [cell.flops or 0 for cell in decision.round.cells], 8e12 - decision.round.basis.spent
        assert sum(costs[:-1]) < max(left / 2, 8e11) * 1.01, "a round ends where half of the rest is spent"
        rounds = (*design.rounds, decision.round)
        study = study.model_copy(update={"design": design.model_copy(update={"rounds": rounds})})
    else:
        pytest.fail("the loop does not end")
    assert "no cell is left within" in decision.ended and decision.width is not None
    said = said_of(decision, study)
    assert f"the interval is {decision.width:.2%} wide; to go on, raise design.budget" in said
    spent = sum(run.flops for run in plan.runs if run.role == "fit")
    assert 0.8 * 8e12 < spent <= 8e12 * 1.01
    assert widths[-1] < 0.7 * widths[0]
    asked = study.design.model_copy(update={"width": 0.001})
    short = next_round(study.model_copy(update={"design": asked}), measured(plan), have)
    assert f"is {decision.width:.2%} wide, 0.10% were asked for; to go on" in short.ended
    enough = study.model_copy(
        update={"design": study.design.model_copy(update={"width": 0.5, "budget": 1e14})}
    )
    assert "were asked for" in next_round(enough, measured(plan), have).ended


def test_a_fit_that_does_not_say_what_is_irreducible_is_never_narrow_enough():
    study = choose(changed("adaptive", width=0.9))
    plan = plan_study(study)
    have, table = [run for run in plan.runs if run.role == "fit"], measured(plan)
    noise = np.exp(0.003 * np.random.default_rng(0).standard_normal(len(table)))
    powers = 30 * table["params"] ** -0.07 * table["tokens"] ** -0.08
    decision = next_round(study, table.assign(loss=powers * noise), have)
    assert decision.round is not None and decision.width is not None and decision.width < 0.9
    said, basis = said_of(decision, study), decision.round.basis
    assert basis.status == "at_bound" and "; the fit is at_bound: the best fit has E = 0" in said
    assert "so narrow an interval does not end the rounds" in said


def test_a_width_far_below_the_one_expected_is_said():
    study = choose(changed("adaptive", width=None))
    plan = plan_study(study)
    decision = next_round(study, measured(plan), [run for run in plan.runs if run.role == "fit"])
    assert isinstance(study.design, Adaptive) and decision.width is not None
    for times, far in ((1.9, False), (2.1, True)):
        basis = study.design.rounds[0].basis.model_copy(update={"expected": times * decision.width})
        rounds = (study.design.rounds[0].model_copy(update={"basis": basis}),)
        design = study.design.model_copy(update={"rounds": rounds})
        said = said_of(decision, study.model_copy(update={"design": design}))
        assert ("the width is far below the" in said) == far


def test_rounds_have_no_more_cells_than_are_asked_for():
    study = choose(changed("adaptive", width=None, batch=1, runs=10, budget=4e13, first=0.1))
    design = study.design
    assert isinstance(design, Adaptive) and len(design.rounds[0].cells) == 10 - design.room <= 10
    plan = plan_study(study)
    have = [run for run in plan.runs if run.role == "fit"]
    short = design.model_copy(update={"runs": len(have) + 2})
    more = next_round(study.model_copy(update={"design": short}), measured(plan), have)
    assert more.round is not None and len(more.round.cells) == 1
    full = design.model_copy(update={"runs": len(have)})
    ended = next_round(study.model_copy(update={"design": full}), measured(plan), have).ended
    assert f"all {len(have)} runs are chosen" in ended and ended.endswith("raise design.runs")


def test_a_first_round_has_cells_enough_for_the_law_or_is_refused_with_the_budget_that_does() -> None:
    for name in ("adaptive", "optimal"):
        with pytest.raises(UserError, match="8 runs are needed to begin with") as error:
            choose(changed(name, budget=6e11))
        found = re.search(r"design\.budget: .* raise it to ([\d.e+]+)", str(error.value))
        assert found is not None
        design = choose(changed(name, budget=float(found.group(1)))).design
        assert isinstance(design, Adaptive | Optimal)
        assert len(design.rounds[0].cells if isinstance(design, Adaptive) else design.cells) >= FEWEST


def test_cells_of_the_results_are_kept_while_they_answer_what_is_asked(tmp_path):
    optimal = choose(changed("optimal"))
    (tmp_path / "study.yaml").write_text(study_text(optimal), "utf-8")
    dearer = decided(changed("optimal", budget=1.6e13), tmp_path).design
    assert isinstance(dearer, Optimal) and isinstance(optimal.design, Optimal)
    assert dearer.cells and dearer.cells != optimal.design.cells
    adaptive = choose(changed("adaptive"))
    ended = adaptive.model_copy(update={"design": adaptive.design.model_copy(update={"ended": "enough"})})
    (tmp_path / "study.yaml").write_text(study_text(ended), "utf-8")
    assert decided(changed("adaptive"), tmp_path).design == ended.design
    asked = PlanRequest(SPECS / "adaptive.yaml", [], results=tmp_path)
    assert asked.chosen(changed("adaptive")).design == ended.design, "a plan shows what a run would do"
    more = decided(changed("adaptive", budget=1e13), tmp_path).design
    assert isinstance(more, Adaptive) and isinstance(adaptive.design, Adaptive)
    assert more.rounds == adaptive.design.rounds and more.ended is None


def test_a_finished_study_of_before_stays_finished_however_rounds_share_out_their_cells(tmp_path):
    adaptive = choose(changed("adaptive"))
    ended = adaptive.model_copy(update={"design": adaptive.design.model_copy(update={"ended": "enough"})})
    former = study_text(ended).replace("  runs: 100\n", "  batch: 4\n")
    assert "batch: 4" in former
    (tmp_path / "study.yaml").write_text(former, "utf-8")
    assert load_study(tmp_path / "study.yaml").design == ended.design, "4 was the default of batch"
    for same in ({}, {"batch": 3}, {"first": 0.2}, {"runs": 200}):
        kept = decided(changed("adaptive", **same), tmp_path).design
        assert isinstance(kept, Adaptive) and kept.ended == "enough", same
    for other in ({"width": 0.01}, {"goal": "size"}, {"min_steps": 300}, {"noise": 0.01}):
        assert decided(changed("adaptive", **other), tmp_path).design.unfinished, other
    full = ended.design.model_copy(update={"runs": len(ended.design.rounds[0].cells)})  # type: ignore[union-attr]
    (tmp_path / "study.yaml").write_text(study_text(ended.model_copy(update={"design": full})), "utf-8")
    assert decided(changed("adaptive"), tmp_path).design.unfinished, "it ended for want of runs"


def test_the_limit_of_steps_that_was_the_default_once_decides_nothing_anew():
    chosen = choose(changed("optimal", min_steps=100)).design
    assert changed("optimal").design.continued(chosen) == chosen
    assert changed("optimal", min_steps=200).design.continued(chosen).unchosen


def test_runs_have_the_steps_that_a_plan_asks_for_where_the_budget_allows_it():
    least = dict[float, int]()
    for budget, given in ((1e12, None), (3e11, None), (1e12, 100)):
        design = {"kind": "optimal", "budget": budget, "compute": 1e12, "runs": 10}
        if given:
            design["min_steps"] = given
        raw = changed_study(family__widths=[16, 24, 32, 48, 64, 96], design=design)
        study = choose(study_from_dict(raw))
        plan = plan_study(study)
        least[given or budget] = min(run.run.steps for run in plan.runs)
        said = any("steps were chosen" in note for note in plan.notes)
        assert said == (budget < 1e12), "shorter ones, as longer ones cost too much"
    assert least[1e12] >= LEAST_STEPS > least[3e11] >= 100 and least[100] < LEAST_STEPS


def test_a_short_cell_that_is_added_neither_shortens_further_rounds_nor_is_blamed_on_the_budget():
    short = Added(width=32, steps=400)
    study = choose(changed("adaptive")).model_copy(update={"added": (short,)})
    plan, design = plan_study(study), study.design
    have = [run for run in plan.runs if run.role == "fit"]
    assert isinstance(design, Adaptive) and min(run.run.steps for run in have) == 400
    assert not any("steps were chosen" in note for note in plan.notes)
    assert design.rounds[0].basis.least_steps == least_steps(design, have) == LEAST_STEPS
    (first,) = design.rounds
    of_before = replace_basis(first, least_steps=None)
    assert least_steps(design.model_copy(update={"rounds": (of_before,)}), have) == 400
    lower = design.model_copy(update={"rounds": (replace_basis(first, least_steps=200),)})
    assert least_steps(lower, have[:1]) == 200, "though all its runs are longer"
    assert least_steps(lower.model_copy(update={"min_steps": 300}), have) == 300


def replace_basis(one: Round, **changes: Any) -> Round:
    return one.model_copy(update={"basis": one.basis.model_copy(update=changes)})


def test_cells_beside_runs_of_elsewhere_are_as_long_as_the_design_would_choose_them():
    runs = [(5e4, 1e6, 3e11), (1e5, 2e6, 1.2e12)]

    def shortest(study: Study, most: float) -> int:
        return min(offer.steps for offer in offered(study, 256, runs, (2e5, 1e7, 1e13), most))

    study = load_study(SPECS / "adaptive.yaml")
    asked = study.model_copy(update={"recipe": study.recipe.model_copy(update={"batch_tokens": 2048})})
    given = asked.model_copy(update={"design": study.design.model_copy(update={"min_steps": 150})})
    assert shortest(asked, 1.2e12) >= LEAST_STEPS > shortest(given, 1.2e12) >= 150
    assert 400 <= shortest(asked, 3e11) < LEAST_STEPS


def test_a_last_round_spends_what_is_left_where_that_is_little():
    study = choose(changed("adaptive", width=None, first=0.93))
    plan = plan_study(study)
    have = [run for run in plan.runs if run.role == "fit"]
    left = 8e12 - sum(run.flops for run in have)
    assert 2e11 < left < 0.1 * 8e12
    found = next_round(study, measured(plan), have).round
    assert found is not None and sum(cell.flops or 0 for cell in found.cells) > 0.8 * left


def test_runs_that_cannot_be_fitted_are_spent_too():
    study = choose(changed("adaptive", width=None))
    plan = plan_study(study)
    have = [run for run in plan.runs if run.role == "fit"]
    table = measured(plan)
    table.loc[table["flops"].idxmin(), ["status", "loss"]] = ["diverged", np.nan]
    decision = next_round(study, table, have)
    assert decision.round is not None and decision.round.basis.runs == len(have) - 1
    assert decision.round.basis.spent == sum(run.flops for run in have)
    with pytest.raises(UserError, match="no run so far has a loss"):
        next_round(study, table.assign(status="diverged"), have)


def test_the_next_runs_are_of_the_variant_that_was_chosen():
    raw = changed_study(
        variants={"a": {}, "b": {"recipe.batch_tokens": 512}}, family__widths=[16, 24, 32, 48]
    )
    study = study_from_dict(raw | {"design": {"kind": "isoflop", "budgets": [1e11, 2e11, 4e11]}})
    plan = plan_study(study)
    table = measured(plan).assign(variant=[run.variant for run in plan.runs])
    wish = Wish(Target.at_compute(4e12), many=2)
    with pytest.raises(UserError, match=r"runs of 2 variants \(a, b\)"):
        next_runs(study, table, wish, plan)
    of_b: Any = table[table["variant"] == "b"]
    found = next_runs(study, of_b, wish, plan)
    more = plan_study(found.study).runs[len(plan.runs) :]
    assert len(more) == len(found.chosen) > 0 and {run.variant for run in more} == {"b"}
    alone = next_runs(study, of_b, wish).study
    assert alone.variants == {} and {run.run.batch_tokens for run in plan_study(alone).runs} == {512}
    with pytest.raises(UserError, match="variant 'c' is none of a, b"):
        next_runs(study, of_b.assign(variant="c"), wish)


@pytest.mark.parametrize("inputs", [{"C": 4e12}, {"N": 3e5, "D": 2e6, "C": 4e12}])
def test_the_next_runs_start_from_what_the_fit_predicts(inputs: dict[str, float]) -> None:
    study = study_from_dict(changed_study(family__widths=[16, 24, 32, 48])
                            | {"design": {"kind": "isoflop", "budgets": [1e11, 2e11, 4e11]}})  # fmt: skip
    plan = plan_study(study)
    table, target = measured(plan), Target(inputs, "here")
    found = next_runs(study, table, Wish(target, many=2), plan)
    said = fit("chinchilla", table).predict({x: np.array([v]) for x, v in inputs.items()}).frame.iloc[0]
    assert found.help.before == pytest.approx(0.5 * np.log(said["new_high"] / said["new_low"]))
    assert found.help.now.discrepancy == pytest.approx(said["se_discrepancy"])
    assert found.help.then.discrepancy < found.help.now.discrepancy and found.help.then.run > 0
    assert f"noise of {found.prior.noise.text}; the law off by {found.misfit.size:.2%}" in found.text
    if "N" in inputs:
        made = fit("chinchilla", table)
        assert (found.prior.noise, found.misfit) == split_of(made, Prior.of_fit(made, "here"), inputs)
    (first,) = (line for line in found.text.splitlines() if "90% interval of the forecast" in line)
    assert f"now +-{found.help.before:.2%} (sd: law {said['se_law']:.2%}, run {said['se_run']:.2%}" in first


@pytest.fixture(scope="module")
def within_reach() -> Following:
    """The quickstart's next runs for hardly more compute than it has, where none gains."""
    table = pd.read_csv(REFERENCE / "quickstart" / "runs.csv")
    study = load_study(SPECS.parent / "quickstart.yaml")
    return next_runs(study, table, Wish(Target.at_compute(1e12), many=4, laws=("chinchilla", "kaplan")))


def test_runs_that_gain_less_than_a_hundredth_are_not_proposed(within_reach: Following) -> None:
    assert within_reach.chosen == () and "narrows it by 1% or more" in within_reach.text


def test_laws_that_the_runs_tell_apart_already_need_no_cells(within_reach: Following) -> None:
    (told,) = within_reach.told
    assert told.deviations > 2 and within_reach.decisions == () and told.label.startswith("w")
    assert "the runs that are there tell kaplan from chinchilla already" in within_reach.text


def test_where_cells_that_decide_are_written_is_said_as_it_is(within_reach: Following) -> None:
    deciding = [Deciding(i, 1e11, "chinchilla", "tied", 0.05, 3.0) for i in (0, 1)]
    found = replace(within_reach, decisions=tuple(deciding), told=())
    assert "these are beside the budget" in found.text
    assert (
        "put into `added` of the spec that was given: {" in found.text
        and "seeds: [{init: 0, order: by-size}]" in found.text
    )
    assert "`added` of study.yaml: {" in replace(found, extends=True).text
    row = Advice(0, 1e5, 1e6, 1e11, 1e11, 0.1, 0.05, 1e-12, "a new size")
    listed = replace(found, help=replace(found.help, runs=(row,)))
    cell = cell_text(listed.offers[1].cell)
    assert f"to train it put into `design.runs` of the spec below: {cell}" in listed.text
    assert f"{listed.offers[0].label} (1e+11 FLOPs, one of the runs above)" in listed.text
    assert [one["chosen"] for one in listed.to_json()["decisions"]] == [True, False]


def test_what_is_written_for_the_next_runs_is_what_is_not_left_out_by_default() -> None:
    study = load_study(SPECS.parents[1] / "results" / "reference" / "quickstart" / "study.yaml")
    table = pd.read_csv(SPECS.parents[1] / "results" / "reference" / "quickstart" / "runs.csv")
    found = next_runs(study, table, Wish(Target.at_compute(1e13)))
    text = found.yaml()
    assert "kind: bytes" in text and "separator" not in text and "execution" not in text
    raw = YAML(typ="safe").load(text)
    again = study_from_dict(raw)
    assert again.model_dump(exclude={"execution"}) == found.study.model_dump(exclude={"execution"})


def test_corners_are_repeated_when_there_is_no_further_round():
    study = choose(changed("adaptive")).model_copy(
        update={"noise": Replicates.model_validate({"corners": ["largest-longest"], "init": 1, "order": 1})}
    )
    assert "noise" not in {run.role for run in plan_study(study).runs}
    ended = study.model_copy(update={"design": study.design.model_copy(update={"ended": "enough"})})
    assert [run.role for run in plan_study(ended).runs].count("noise") == 2


def test_what_cannot_be_asked_of_rounds_is_refused_before_training(tmp_path):
    folder = tmp_path / "results"
    done = call("run", SPECS / "adaptive.yaml", "--results", folder, "--detach")
    assert done.returncode == 2 and "--detach leaves jobs to a cluster" in done.stderr
    done = call("run", SPECS / "adaptive.yaml", "--results", folder, "--max-hours", -1)
    assert done.returncode == 2 and "max_hours = -1.0: must be positive" in done.stderr
    assert not folder.exists()


def test_a_limit_of_hours_holds_for_all_rounds_together(monkeypatch):
    now = 100.0
    monkeypatch.setattr("scaling.sweep.clock.time.monotonic", lambda: now)
    limit = TimeLimit.of(2)
    now += 3600
    assert limit.hours == 1 and TimeLimit.of(None).hours is None
    now += 7200
    assert limit.hours == pytest.approx(1 / 3600)


@pytest.mark.slow
def test_an_adaptive_study_is_trained_and_resumed(tmp_path):
    spec, folder = tmp_path / "tiny.yaml", tmp_path / "results"
    spec.write_text(
        """\
study: tiny
data: {corpus: state-of-the-union, tokenizer: bytes, context: 16}
evaluation: {documents: 24, tokens: 2048}
family: {kind: width-dial, depth: 1, widths: [8, 16, 24], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: {kind: power, of: width, coefficient: 0.2, exponent: -1}}
  schedule: {kind: wsd, warmup: 4 steps, decay: 20 %}
  batch_tokens: 128
design: {kind: adaptive, budget: 4e9, compute: 2e9, batch: 3, min_steps: 10}
holdout: [{width: 16, flops: 2e9}]
""",
        "utf-8",
    )
    assert call("run", spec, "--results", folder, "--no-report", "--workers", 1).returncode == 0
    design = load_study(folder / "study.yaml").design
    assert isinstance(design, Adaptive) and len(design.rounds) > 1 and design.ended
    runs = pd.read_csv(folder / "runs.csv")
    assert set(runs["status"]) == {"ok"} and runs["role"].tolist().count("holdout") == 1
    assert call("run", spec, "--results", folder, "--no-report", "--workers", 1).returncode == 0
    assert load_study(folder / "study.yaml").design == design
    more = call("run", spec, "--results", folder, "--no-report", "--workers", 1, "--set", "design.budget=6e9")
    assert more.returncode == 0 and len(pd.read_csv(folder / "runs.csv")) > len(runs)


@pytest.mark.parametrize(("goal", "what"), [("loss", "loss"), ("size", "N*")])
def test_the_width_of_a_round_is_that_of_its_goal(goal: str, what: str) -> None:
    study = choose(changed("adaptive", goal=goal))
    assert isinstance(study.design, Adaptive)
    said = said_of(Decision(study.design.rounds[0], 0.125, ""), study)
    assert f"the 90% interval of {what} at" in said and "12.50% wide" in said


def test_a_plan_of_rounds_says_which_they_are_and_what_waits(tmp_path):
    asked = SPECS / "adaptive.yaml", "--no-probe", "--results", tmp_path
    text = call("plan", *asked, "--no-identify").stdout
    said = re.search(r"round 1, chosen before any result: ([\d.e+]+) of the budget of 8e\+12 FLOPs", text)
    wait = re.search(r"([\d.e+]+) wait for rounds that results decide", text)
    assert said is not None and wait is not None and 1e12 < float(said.group(1)) <= 0.3 * 8e12
    assert float(said.group(1)) + float(wait.group(1)) == pytest.approx(8e12, rel=2e-3)
    design = choose(changed("adaptive")).design.model_copy(update={"ended": "enough"})
    assert design.stage(1e12) == "rounds 1 to 1, and no further one: enough"
    assert load_study(SPECS / "grid.yaml").design.stage(1e12) == ""


def test_rounds_are_not_chosen_by_an_exponent_that_ran_to_the_end_of_its_domain() -> None:
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(5e4, 5e5, 4), np.geomspace(2e5, 4e6, 5)))
    table = pd.DataFrame(
        {"params": n, "tokens": d, "flops": 6 * n * d, "loss": 2 + 3e18 / n**4 + 95 / d**0.5}
    )
    kept, _ = select(table, ("fit",), needs="NDCL", cells="all")
    made = fit("chinchilla", table, bootstrap=0)
    assert made.usable and made.solution["alpha"] == pytest.approx(3.0, rel=1e-3)
    found, _ = prior_of(made, kept, "chinchilla")
    known = Prior.published("bytes")
    assert {x: found.params[x] for x in ("alpha", "beta")} == {x: known.params[x] for x in ("alpha", "beta")}
    assert found.params["B"] < 0.5 * known.params["B"] and known.source in found.source, "the rest is fitted"
    assert 0.5 < float(np.mean(found.losses({"N": n, "D": d}) / table["loss"])) < 1.5


def test_a_prior_is_not_asked_for_where_a_fit_is_an_optimum() -> None:
    design = {"kind": "isoflop", "budgets": [1e11, 2e11, 4e11]}
    study = study_from_dict(changed_study(family__widths=[16, 24, 32, 48]) | {"design": design})
    table = measured(plan_study(study))
    kept, _ = select(table, ("fit",), needs="NDCL", cells="all")
    found, _ = prior_of(
        fit("chinchilla", table), kept, "chinchilla", base=lambda: pytest.fail("its file may be gone")
    )
    assert found.source == "fitted to the table"
