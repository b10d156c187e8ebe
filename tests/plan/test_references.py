"""The committed studies are planned from where they lie, as the runs that their tables have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scaling.plan.expand import plan_study
from scaling.spec.load import load_study

FOLDER = Path(__file__).resolve().parents[2] / "results" / "reference"
SPECS = sorted(FOLDER.rglob("study.yaml"))
TRAINED = ("bpe-1k", "bpe-4k")  # whose tokenizers are trained first


def _case(spec: Path) -> object:
    marks = [pytest.mark.slow] if spec.parent.name in TRAINED else []
    return pytest.param(spec, id=str(spec.parent.relative_to(FOLDER)), marks=marks)


@pytest.mark.parametrize("spec", [*map(_case, SPECS)])
def test_a_reference_study_plans_the_runs_of_its_table(spec: Path) -> None:
    runs = pd.read_csv(spec.parent / "runs.csv", dtype=str)
    planned = {(run.run_id, run.label, run.role) for run in plan_study(load_study(spec)).runs}
    assert planned == set(runs[["run_id", "label", "role"]].itertuples(index=False, name=None))
