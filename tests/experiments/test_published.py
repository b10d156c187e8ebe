"""The scripts of experiments/published, on the data that they name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import fit, load

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments" / "published"


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("chinchilla_epoch", 2),
        *(pytest.param(*x, marks=pytest.mark.slow) for x in (("gadre", 4), ("porian", 15))),
    ],
)
def test_what_was_published_is_reached(script, published, failed, name, count):
    assert failed(script(name).verdicts(published / name)) == (count, [])


@pytest.mark.slow
def test_gemstones_approach_3_is_reached(script, published, failed):
    fits = pd.read_csv(published / "gemstones" / "published_approach3.csv", dtype={"delta": str})
    table = load(published / "gemstones" / "runs.csv")
    assert failed(script("gemstones").optima(table, fits.set_index(["subset", "delta"]))) == (6, [])


@pytest.mark.slow
def test_all_of_gemstones_is_reached(script, published, failed):
    assert failed(script("gemstones").verdicts(published / "gemstones")) == (30, [])


def test_targets_are_those_of_the_data_folder(script, published):
    """The scripts stand alone; what they repeat of the folder's list must not drift from it."""
    wanted = json.loads((published / "EXPECTED.json").read_text())
    epoch, chinchilla = wanted["chinchilla_epoch"], script("chinchilla_epoch")
    best = epoch["best_known"]["objective"], epoch["all_245_rows"]["objective"]
    assert best == (chinchilla.BEST_KNOWN, chinchilla.BEST_KNOWN_ALL_ROWS)
    for name, value in chinchilla.PUBLISHED.items():
        assert value == pytest.approx(epoch["published"][name], abs=6e-6 if value < 10 else 6e-5 * value)
    for name, ends in chinchilla.PUBLISHED_95.items():
        assert list(ends) == epoch["published"]["ci95"][name]

    gemstones = script("gemstones")
    best = {key: row["best_known"] for key, row in wanted["gemstones"]["approach3"].items()}
    assert {"|".join(key): value for key, value in gemstones.APPROACH_3.items()} == best
    hulls = pd.read_csv(published / "gemstones" / "published_approach1.csv").set_index("label")["coef"]
    for subset, (a, b) in wanted["gemstones"]["approach1"].items():
        label = gemstones.APPROACH_1[subset]
        assert [a, b] == [round(hulls[f"{x}{label}"], 6) for x in ("params", "tokens")]

    errors = wanted["gadre"]["published_rpj_c4_val_rel_error_percent"]
    assert [float(x) for x in script("gadre").PUBLISHED.values()] == list(errors.values())
    fits = pd.read_csv(published / "porian" / "published_fits.csv").round(4)
    for dataset, steps in wanted["porian"]["published"].items():
        assert set(steps.values()) <= set(fits[fits["dataset"] == dataset]["a_bs_median_weighted"])


def test_a_worse_optimum_than_the_best_known_fails(script):
    n, d = np.repeat([1e7, 1e8, 1e9], 4), np.tile([1e9, 4e9, 2e10, 9e10], 3)
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(12))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": (1.7 + 400 / n**0.34 + 2e3 / d**0.37) * noise})
    found, verdicts = fit("chinchilla", table, delta=1e-3, bootstrap=0), script("verdicts")
    truth = {"E": 1.7, "A": 400.0, "B": 2e3, "alpha": 0.34, "beta": 0.37}
    value = verdicts.objective(found, found.solution)
    assert value == pytest.approx(found.objective.value, rel=1e-9)
    for best_known, passed in ((value, True), (value * (1 - 1e-5), False)):
        verdict, gain, *_ = verdicts.as_good("objective", found, truth, best_known, flops=1e20)
        assert verdict.passed is passed and verdict.line().startswith("  pass" if passed else "  FAIL")
        assert gain.startswith(f"{1 - value / verdicts.objective(found, truth):.1e} below")
    size = verdicts.best_size(found.solution, 1e20)
    assert size == pytest.approx(found.optimal(1e20)["N"].iloc[0], rel=1e-6)


@pytest.mark.slow
def test_a_failed_verdict_is_an_exit_code(tmp_path, published):
    table = pd.read_csv(published / "gadre" / "runs.csv")
    table.loc[table["model"] == "open_lm_1b", "loss_c4_val"] *= 1.01
    (tmp_path / "gadre").mkdir()
    table.to_csv(tmp_path / "gadre" / "runs.csv", index=False)
    command = [sys.executable, str(SCRIPTS / "gadre.py"), str(tmp_path), "--json"]
    env = os.environ | {"PYTHONPATH": str(SCRIPTS.parents[1])}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert found.returncode == 1, found.stderr
    passed = [x["passed"] for x in json.loads(found.stdout)["gadre"] if isinstance(x, dict)]
    assert passed[:2] == [False, True]


def test_without_data_a_script_says_so(script, monkeypatch, tmp_path, capsys):
    def run(*options: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["gadre.py", *options])
        script("verdicts").run("gadre", script("gadre").verdicts)
        return capsys.readouterr()

    monkeypatch.delenv("SCALING_PUBLISHED_DATA", raising=False)
    assert run()[0].startswith("gadre: skipped, SCALING_PUBLISHED_DATA is not set")
    monkeypatch.setenv("SCALING_PUBLISHED_DATA", str(tmp_path))
    assert "has no folder gadre" in run()[0]
    with pytest.raises(SystemExit, match="2"):
        run(str(tmp_path))  # asked for by name: no skipping
    (tmp_path / "gadre").mkdir()
    with pytest.raises(SystemExit, match=r"gadre: .*no such file"):
        run()
