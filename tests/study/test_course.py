"""The way of a study from records to a report, with a trainer that trains nothing and losses made up."""

import functools
import json
import os
import signal

import pytest

from analysis import findings as found_by
from analysis import fit
from analysis.figures import Drawn
from scaling.cli.tables import fit_table
from scaling.design import growing
from scaling.errors import UserError
from scaling.files import write_json
from scaling.plan.expand import make_plan
from scaling.spec.load import load_study, study_from_dict
from scaling.study import StudyStopped, launch, run_study, whole
from scaling.sweep.driver import Sweep
from scaling.sweep.events import JobStarted, Outcome
from scaling.sweep.opening import open_sweep
from scaling.sweep.stops import Reason
from tests.plan.studies import changed, fake_index
from tests.sweep.plans import FAKE, behave, trained

HELD_OUT = "w48-4000st-s0"


def study_of(steps=(500, 1000, 2000), **more):
    return study_from_dict(
        changed(
            family__widths=[16, 24, 32, 64],
            family__depth=1,
            design__steps=list(steps),
            holdout=[{"width": 48, "steps": 4000}],
            execution={"workers": 2, "device": "cpu"},
            **more,
        )
    )


def plan_of(*args, **more):
    return make_plan(study_of(*args, **more), fake_index())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """The fake trainer, few replicates; figures are one file of text."""

    def draw(findings, source, out):
        write_json(out / "drawn.png", len(findings.trials))
        return Drawn((out / "drawn.png",), {})

    monkeypatch.setattr(whole, "open_sweep", functools.partial(open_sweep, command=FAKE))
    monkeypatch.setattr(found_by, "fit", functools.partial(fit, bootstrap=0))
    monkeypatch.setattr(found_by.forecasts, "sensitivity", lambda *given: [])
    monkeypatch.setattr(found_by, "draw", draw)


class Heard:
    def __init__(self, on_event=lambda event: None):
        self.said, self.on_event = [], on_event

    def __call__(self, event):
        self.on_event(event)

    def say(self, text):
        self.said.append(text)


def records(plan, folder, *, diverged=(), without=()):
    """Records of all but held-out runs, as if they had been trained, from a law with some noise."""
    for i, run in enumerate(plan.runs):
        if run.role == "holdout" or run.label in without:
            continue
        law = 1.2 + 40 / run.params**0.4 + 300 / run.run.tokens**0.5
        bad = run.label in diverged
        result = {
            "status": "diverged" if bad else "ok",
            "status_reason": "loss not finite at step 7" if bad else None,
            "loss": None if bad else law * (1 + 0.004 * (-1) ** i),
            "loss_se_eval": None,
            "bits_per_byte": None,
            "train_loss": None,
            "document_losses": None,
            "unique_tokens": run.unique_tokens,
            "epochs": run.epochs,
            "eval_id": plan.data.eval_id,
            "eval_tokens": 1000,
            "steps": run.run.steps,
            "tokens": run.run.tokens,
            "params": {"total": run.params, "embedding": 1, "head": 1, "body": run.params_body},
        }
        value = {"schema": 1, "run_id": run.run_id, "result": result, "execution": {"device": "cpu"}}
        write_json(folder / "runs" / run.run_id / "record.json", value, durable=False)


def states(folder):
    """Of each forecast: its state, and whether it has a score."""
    return {
        path.name.split(".")[0]: (
            json.loads(path.read_text())["state"],
            path.with_name(path.name.replace("status", "score")).exists(),
        )
        for path in (folder / "forecasts").glob("*.status.json")
    }


def test_fitted_then_frozen_then_trained_then_scored(tmp_path, monkeypatch):
    analyses = []
    monkeypatch.setattr(launch, "analyse", lambda *given: analyses.append(1) or found_by.analyse(*given))
    plan, heard = plan_of(), Heard()
    records(plan, tmp_path)
    report = run_study(plan, tmp_path, spec="study: s\n", workers=1, watch=heard)
    assert trained(tmp_path) == [HELD_OUT] and len(analyses) == 1
    assert list(states(tmp_path).values()) == [("open", True)]
    assert "OUTCOME" in report.text and "RECORDS" not in report.text and "frozen" in heard.said[0]
    assert report.to_json()["forecasts"][0]["score"]["loss"] == 2.5
    assert (tmp_path / "study.yaml").read_text() == "study: s\n"
    fitted = found_by.fit("chinchilla", launch.load(tmp_path))
    assert (tmp_path / "fits" / "chinchilla.json").read_text() == fitted.to_json()
    assert run_study(plan, tmp_path, watch=heard).text == report.text


def test_each_variant_has_its_own_forecast_and_they_are_compared(tmp_path, monkeypatch):
    compare = functools.partial(found_by.compare_variants, bootstrap=20)
    monkeypatch.setattr(found_by, "compare_variants", compare)
    plan, heard = plan_of(variants={"swiglu": {}, "gelu": {"family.mlp": "gelu"}}), Heard()
    records(plan, tmp_path)
    report = run_study(plan, tmp_path, workers=1, watch=heard)
    assert sorted(trained(tmp_path)) == [f"gelu/{HELD_OUT}", f"swiglu/{HELD_OUT}"]
    assert list(states(tmp_path).values()) == [("open", True)] * 2
    targets = [forecast["forecast"]["target"] for forecast in report.to_json()["forecasts"]]
    assert [target["variant"] for target in targets] == ["swiglu", "gelu"]
    assert list(report.to_json()["laws"]) == ["swiglu", "gelu"]
    (contrast,) = report.to_json()["variants"]["contrasts"]
    assert contrast["difference"]["pairs"] == 12 and contrast["worth"][-1]["target"]
    assert contrast["worth"][-1]["at"] == max(run.flops for run in plan.runs if run.role == "holdout")
    assert (tmp_path / "fits" / "gelu" / "chinchilla.json").exists() and report.text.count("OUTCOME") == 2


@pytest.mark.parametrize(
    "crash", [pytest.param("after the record", marks=pytest.mark.slow), "while it is trained"]
)
def test_more_data_after_the_outcome_leave_the_forecast_as_it_was(tmp_path, monkeypatch, crash):
    plan, more = plan_of(), plan_of((500, 1000, 1500, 2000))
    records(plan, tmp_path)
    if crash == "after the record":
        run_study(plan, tmp_path, watch=Heard())
        for path in (tmp_path / "forecasts").glob("*.score.json"):
            path.unlink()
    else:
        behave(tmp_path, **{HELD_OUT.replace("-", "_"): "crash"})
        with pytest.raises(StudyStopped):
            run_study(plan, tmp_path, watch=Heard())
        behave(tmp_path)
    (genuine,) = states(tmp_path)
    records(more, tmp_path)
    before = []
    monkeypatch.setattr(
        launch, "analyse", lambda *given: before.append(states(tmp_path)) or found_by.analyse(*given)
    )
    heard = Heard()
    report = run_study(more, tmp_path, watch=heard)
    assert before == [{genuine: ("open", crash == "after the record")}]  # scored before all else
    now = states(tmp_path)
    assert now.pop(genuine) == ("open", True) and list(now.values()) == [("hindsight", False)]
    assert "computed after the outcome was known" in heard.said[0]
    assert f"frozen as {genuine}" in report.text and report.text.count("FORECAST") == 1


def test_more_data_before_the_held_out_run_make_a_new_forecast(tmp_path):
    plan, more = plan_of(), plan_of((500, 1000, 1500, 2000))
    records(plan, tmp_path)
    table = tmp_path / "forecasts"
    with open_sweep(tmp_path, plan.to_json(), "study: s\n", command=FAKE) as sweep:
        launch.collect(tmp_path)
        course = launch.Launch(sweep, tmp_path, plan, None, Heard())
        loaded = launch.load(tmp_path)
        course._freeze(found_by.analyse(loaded), plan.runs[-1:])
    (old,) = states(tmp_path)
    records(more, tmp_path)
    run_study(more, tmp_path, watch=Heard())
    now = states(tmp_path)
    assert now.pop(old) == ("superseded", False) and list(now.values()) == [("open", True)]
    assert len(list(table.glob("*.json"))) == 5


def test_runs_that_branch_from_a_checkpoint_that_was_removed_are_not_begun(tmp_path):
    design = {"kind": "critical-batch", "tokens": [256_000], "batches": [256, 512], "trunk_tokens": 128_000}
    plan = make_plan(study_from_dict(changed(design=design, family__widths=[16, 24, 32, 64])), fake_index())
    records(plan, tmp_path, without=[run.label for run in plan.runs if run.role == "fit"])
    with pytest.raises(UserError, match="trunk-s0 was removed, and 2 runs are to branch") as caught:
        run_study(plan, tmp_path, watch=Heard())
    assert len(caught.value.problems) == 4 and not trained(tmp_path)


def test_without_a_law_the_held_out_run_waits(tmp_path):
    plan, heard = plan_of(), Heard()
    report = run_study(plan, tmp_path, watch=heard)  # the fake trainer's runs all have one loss
    assert HELD_OUT not in trained(tmp_path) and len(trained(tmp_path)) == 12
    assert not (tmp_path / "forecasts").exists()
    for words in ("not_identified", f"not trained: {HELD_OUT}", "next:", "scaling fit", "1 pending"):
        assert words in report.text
    assert "not trained" in heard.said[-1] and "not trained" in (tmp_path / "summary.txt").read_text()
    records(plan, tmp_path)  # now there is a law
    assert "OUTCOME" in run_study(plan, tmp_path, watch=heard).text and HELD_OUT in trained(tmp_path)


def test_runs_that_all_diverged_are_an_answer(tmp_path):
    plan = plan_of()
    records(plan, tmp_path, diverged=[run.label for run in plan.runs])
    report = run_study(plan, tmp_path, watch=Heard())
    assert not trained(tmp_path) and report.findings.fit.params == {}
    assert "no usable runs" in report.text and "12 runs (12 diverged)" in report.text


def test_a_diverged_held_out_run_is_an_outcome(tmp_path):
    plan = plan_of()
    records(plan, tmp_path)
    behave(tmp_path, **{HELD_OUT.replace("-", "_"): "diverge"})
    report = run_study(plan, tmp_path, watch=Heard())
    assert list(states(tmp_path).values()) == [("open", False)]
    assert "OUTCOME\n  no loss" in report.text and "diverged: loss not finite at step 7" in report.text
    assert report.to_json()["forecasts"][0]["failure"]


def test_what_is_known_is_written_before_the_held_out_run(tmp_path):
    plan, seen = plan_of(), []
    records(plan, tmp_path)

    def stop(event):
        if isinstance(event, JobStarted):
            seen.extend(path for path in tmp_path.glob("*/*") if path.parent.name in ("fits", "figures"))
            os.kill(os.getpid(), signal.SIGINT)

    behave(tmp_path, **{HELD_OUT.replace("-", "_"): "hang"})
    with pytest.raises(StudyStopped, match="interrupted by SIGINT; run the same command again") as stopped:
        run_study(plan, tmp_path, watch=Heard(stop))
    assert stopped.value.exit_code == 130
    assert {path.name for path in seen} == {"chinchilla.json", "drawn.png"}
    summary = (tmp_path / "summary.txt").read_text()
    assert "FORECAST" in summary and "OUTCOME" not in summary


def test_a_launch_whose_plan_was_replaced_is_interrupted(tmp_path, monkeypatch):
    def run_jobs(self, *given, **more):
        write_json(tmp_path / "plan.json", plan_of(steps=(500, 1000)).to_json())
        return Outcome((), (), ("0" * 12,), Reason.PLAN_CHANGED, 1.0)

    monkeypatch.setattr(Sweep, "run_jobs", run_jobs)
    with pytest.raises(
        StudyStopped, match="interrupted by another launch, which changed the plan"
    ) as stopped:
        run_study(plan_of(), tmp_path, watch=Heard())
    assert stopped.value.exit_code == 130


def test_of_a_study_with_failures_the_rest_is_fitted(tmp_path):
    plan, broken = plan_of(), "w16-500st-s0"
    records(plan, tmp_path, without=[broken])
    behave(tmp_path, **{broken.replace("-", "_"): "crash"})
    with pytest.raises(StudyStopped, match=r"some runs failed; .*what the 11 done runs say is in") as stopped:
        run_study(plan, tmp_path, watch=Heard())
    assert stopped.value.exit_code == 1 and not states(tmp_path)
    assert stopped.value.report and "INCOMPLETE" in stopped.value.report.text
    assert fit_table([tmp_path], bootstrap=0).usable
    summary = (tmp_path / "summary.txt").read_text()
    assert "INCOMPLETE" in summary and f"no record: {broken} (exception: " in summary
    records(plan, tmp_path)
    behave(tmp_path)
    assert "INCOMPLETE" not in run_study(plan, tmp_path, watch=Heard()).text


def test_nothing_done_is_nothing_to_fit(tmp_path):
    plan = plan_of()
    behave(tmp_path, **{run.label.replace("-", "_"): "own error" for run in plan.runs})
    with pytest.raises(StudyStopped, match="nothing to fit"):
        run_study(plan, tmp_path, watch=Heard())


def test_runs_of_an_earlier_plan_are_counted(tmp_path):
    records(plan_of((500, 1000, 1500, 2000)), tmp_path)
    report = run_study(plan_of(), tmp_path, watch=Heard())
    assert "RECORDS\n  13 runs (0 diverged), 4 of an earlier plan, left out" in report.text


def test_a_stop_after_the_last_run_says_how_to_go_on():
    text = launch._why(Outcome(("a",), (), (), "SIGINT", 1.0))
    assert "None" not in text and "run the same command again" in text


def test_a_study_of_python_needs_nothing_else(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(growing, "plan_study", lambda study: make_plan(study, fake_index()))
    study = study_of()
    records(plan_of(), tmp_path / "results" / "s")
    report = run_study(study)
    assert report.folder.resolve() == tmp_path / "results" / "s" and trained(report.folder) == [HELD_OUT]
    assert load_study(report.folder / "study.yaml") == study
    said = capsys.readouterr()
    assert f"{HELD_OUT} ok, loss 2.5" in said.err and not said.out
    assert "plan.json" in (run_study(plan_of(), "two").folder / "study.yaml").read_text()
