"""What imports of ``analysis`` pull in and change, seen in one fresh process, step by step."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import analysis
from tests.test_imports import ROOT, below

PROGRAM = f"""
import importlib, json, sys

def top():
    return sorted({{name.partition(".")[0] for name in sys.modules}})

import analysis
alone = top()
from analysis import AnalysisError, Fit, LAWS, Law, fit, load, select
from analysis import backtest, figures, forecasts, isoflop, report
assert "analysis.figures.style" in sys.modules
from analysis.catalogue import ESTIMATORS
calls = [entry.call.partition("(")[0] for entry in ESTIMATORS.values()]
callables = [callable(eval(call)) for call in calls]  # as a user writes them
usual = top()
import jax, jax.numpy as jnp
before = str(jnp.ones(1).dtype)
for name in {below("analysis")!r}:
    importlib.import_module(name)
after = [str(jnp.ones(1).dtype), jax.config.jax_enable_x64]
print(json.dumps(dict(alone=alone, callables=callables, usual=usual, all=top(), before=before, after=after)))
"""


# fmt: off
PUBLIC = [
    "AnalysisError", "BestSchedule", "CURVE_LAWS", "Comparison", "CurveLaw", "Estimate", "Fit",
    "GivenLaw", "LAWS", "Law", "Multipliers", "TwoStep", "after", "backtest", "basins", "best_schedule",
    "bnsl", "check", "compare", "coordinates", "criticalbatch", "envelope", "estimate", "estimators",
    "figures", "findings", "fit", "forecasts", "import_table", "isoflop", "ledger", "load", "multiplier",
    "precision", "report", "schedules", "select", "summaries",
    "twostep",
]
# fmt: on


def test_public_names_are_there() -> None:
    assert sorted(dir(analysis)) == sorted(analysis.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(analysis, name) is not None
    assert callable(analysis.fit) and analysis.schedules is analysis.training_curves
    with pytest.raises(AttributeError, match="'analysis' has no attribute 'fitt'"):
        _ = analysis.fitt  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture(scope="module")
def seen() -> dict:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_package_alone_is_light(seen: dict) -> None:
    assert "analysis" in seen["alone"]
    assert not {"numpy", "pandas", "scipy", "matplotlib"} & {*seen["alone"]}


def test_the_catalogue_calls_what_the_package_has(seen: dict) -> None:
    assert seen["callables"] and all(seen["callables"])


def test_importing_what_is_usual_needs_no_scaling_and_no_jax(seen: dict) -> None:
    assert not {"scaling", "jax", "flax"} & {*seen["usual"]}


def test_importing_everything_needs_no_scaling_and_nothing_of_training(seen: dict) -> None:
    assert not {"flax", "optax", "orbax", "scaling"} & {*seen["all"]}


def test_importing_everything_changes_nobodys_dtypes(seen: dict) -> None:
    assert seen["before"] == "float32" and seen["after"] == ["float32", False]
