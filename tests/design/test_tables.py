"""Targets of a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from analysis.planning.target import Target
from scaling.design.following import require_beyond
from scaling.design.tables import farther
from scaling.plan.expand import make_plan
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed, fake_index

INDEX = replace(fake_index(10_000), floor=1.5)
GRID = {"kind": "isoflop", "budgets": [1e11, 8e11]}


@pytest.mark.parametrize(
    ("holdout", "times"),
    [([], 10), ([{"width": 32, "flops": 2.4e12}], 3), ([{"width": 32, "flops": 3e11}], 10)],
)
def test_a_compute_that_next_accepts_lies_beyond_the_fitted_runs(holdout: list[Any], times: float) -> None:
    plan = make_plan(study_from_dict(changed(design=GRID, holdout=holdout)), INDEX)
    fitted = [run for run in plan.runs if run.role == "fit"]
    found = farther(plan)
    assert found == float(f"{found:.3g}") == pytest.approx(times * 8e11, rel=0.01)
    runs = pd.DataFrame({"C": [run.flops for run in fitted]})
    require_beyond(Target.at_compute(found), runs)
