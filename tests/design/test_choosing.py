"""Cells that are chosen for a forecast: all at once, and round after round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from scaling.design.adaptive import choose_for
from scaling.design.choosing import choose, next_round
from scaling.errors import UserError
from scaling.plan.expand import plan_study
from scaling.plan.plan import Plan
from scaling.spec.designs.chosen import Adaptive
from scaling.spec.load import load_study
from scaling.spec.models import Study
from scaling.study import study_text
from tests.cli.call import call

KEPT = ("run_id", "label", "role", "params", "params_body", "flops", "trunk_id")
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
    assert choose_for(study, tmp_path).design == chosen.design


def test_a_design_that_finds_no_cells_says_why():
    with pytest.raises(UserError, match=r"optimal.yaml:10:\d+: design\.budget: 0 cells lie .* raise budget"):
        choose(changed("optimal", budget=1e8))
    done = call("plan", SPECS / "optimal.yaml", "--set", "design.budget=1e15", "--no-probe")
    assert done.returncode == 2 and "is 417 times the compute that is forecast" in done.stderr


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
        assert isinstance(design, Adaptive) and 0 < len(decision.round.cells) <= design.batch
        rounds = (*design.rounds, decision.round)
        study = study.model_copy(update={"design": design.model_copy(update={"rounds": rounds})})
    else:
        pytest.fail("the loop does not end")
    assert "no cell is left within" in decision.ended
    spent = sum(run.flops for run in plan.runs if run.role == "fit")
    assert 0.8 * 8e12 < spent <= 8e12 * 1.01
    assert widths[-1] < 0.7 * widths[0]
    enough = study.model_copy(
        update={"design": study.design.model_copy(update={"width": 0.5, "budget": 1e14})}
    )
    assert "were asked for" in next_round(enough, measured(plan), have).ended


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
    assert call("run", spec, "--results", folder, "--workers", 1).returncode == 0
    design = load_study(folder / "study.yaml").design
    assert isinstance(design, Adaptive) and len(design.rounds) > 1 and design.ended
    runs = pd.read_csv(folder / "runs.csv")
    assert set(runs["status"]) == {"ok"} and runs["role"].tolist().count("holdout") == 1
    assert call("run", spec, "--results", folder, "--workers", 1).returncode == 0
    assert load_study(folder / "study.yaml").design == design
    more = call("run", spec, "--results", folder, "--workers", 1, "--set", "design.budget=6e9")
    assert more.returncode == 0 and len(pd.read_csv(folder / "runs.csv")) > len(runs)
