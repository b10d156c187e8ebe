"""``plan`` says what a design can identify, and ``next`` which runs to add to it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.spec.load import load_study
from tests.cli.call import call

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "experiments" / "quickstart.yaml"
RUNS = ROOT / "results" / "reference" / "quickstart" / "runs.csv"
PLAN = ("plan", "--no-probe")


def ray(tmp_path: Path) -> Path:
    """Eight sizes, each trained on 20 tokens for each parameter."""
    text = QUICKSTART.read_text("utf-8")
    begin, end = text.index("design:"), text.index("# Two initialisations")
    text = f"{text[:begin]}design: {{kind: ladder, multiples: [20]}}\nseeds: [0]\n"
    text = text.replace("[32, 48, 72, 96, 128]", "[32, 40, 48, 64, 72, 80, 96, 128]")
    assert end > begin
    path = tmp_path / "ray.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_plan_of_a_ray_says_not_identifiable(tmp_path):
    done = call(*PLAN, ray(tmp_path))
    assert "can identify of chinchilla: NOT IDENTIFIABLE: D is proportional to N" in done.stdout
    assert "What would help the interval of N*" in done.stdout
    found = json.loads(call(*PLAN, ray(tmp_path), "--json").stdout)["identification"]
    assert found["expected"][0]["verdict"] == "not_identifiable"
    assert "identification" not in json.loads(call(*PLAN, ray(tmp_path), "--json", "--no-identify").stdout)


def test_the_plan_of_the_quickstart_takes_priors_noise_and_laws():
    def half(*options: str, name: str = "beta") -> float:
        found = json.loads(call(*PLAN, QUICKSTART, "--json", *options).stdout)["identification"]
        return next(q for q in found["expected"][0]["quantities"] if q["name"] == name)["half_width"]

    by_default = half()
    assert half("--noise", "0.0112") == pytest.approx(2 * by_default, rel=1e-6)
    assert half("--compute", "1e14", name="loss(C = 1e+14)") > half(name="loss(C = 2.4e+12)")
    assert "the target has 125 times the compute" in call(*PLAN, QUICKSTART, "--compute", "1e14").stdout
    fit = RUNS.parent / "fits" / "chinchilla.json"
    assert half("--prior", str(fit)) > 1.3 * by_default  # whose residuals vary more than seeds
    assert "studies of tied simulated" in call(*PLAN, QUICKSTART, "--law", "tied", "--simulate", "2").stdout
    both = call(*PLAN, QUICKSTART, "--law", "chinchilla", "--law", "tied").stdout
    assert "What would help is by chinchilla, the first of the laws." in both
    wrong = call(*PLAN, QUICKSTART, "--prior", "alpha=x,gamma=1")
    assert wrong.returncode == 2 and "must be a number or a range" in wrong.stderr


def test_next_ranks_runs_and_writes_a_spec_that_plans(tmp_path):
    asked = ("next", RUNS, "--spec", QUICKSTART, "--compute", "1e13", "--law", "chinchilla", "--law", "tied")
    out = tmp_path / "next.yaml"
    text = call(*asked, "--budget", "2e12", "--out", out).stdout
    assert "90% interval of the forecast now" in text and "no cell on offer decides" in text
    assert "D = 13.6M; C 12.5x, D 3.83x beyond the runs" in text and "; discrepancy 2." in text
    assert text.rstrip().endswith(f"next: scaling plan {out}")
    found = json.loads(call(*asked, "--budget", "2e12", "--json").stdout)
    assert 0 < len(found["runs"]) <= 5 and found["flops"] <= 2e12
    assert found["half_width_after"] < found["half_width_before"]
    planned = json.loads(call(*PLAN, out, "--json", "--no-identify").stdout)
    assert {run["label"] for run in planned["runs"]} == {f"{run['label']}-i0osize" for run in found["runs"]}
    assert sum(run["cost"] for run in found["runs"]) == pytest.approx(planned["totals"]["flops"], rel=1e-3)


def test_where_no_run_helps_that_is_said_and_nothing_is_written(tmp_path):
    table, out, rng = tmp_path / "runs.csv", tmp_path / "next.yaml", np.random.default_rng(0)
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 3e10, 5)))
    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28) * np.exp(rng.normal(0, 1e-3, len(n)))
    frame = pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "loss": loss})
    frame.to_csv(table, index=False)
    asked = ("next", table, "--spec", QUICKSTART, "--compute", "1e23", "--budget", "1e18", "--runs", 2)
    done = call(*asked, "--out", out)
    assert done.returncode == 0 and "cells on offer narrows it by 1% or more" in done.stdout, done.stderr
    assert "next:" not in done.stdout and not out.exists()
    found = json.loads(call(*asked, "--json").stdout)
    assert found["runs"] == [] and found["spec"] is None
    assert any("no run of quickstart is like one of the table" in text for text in found["warnings"])
    assert f"warning: {found['warnings'][0]}" in done.stdout
    assert found["half_width_after"] == found["half_width_before"]
    assert (
        "556 times the compute" in found["warnings"][-1] and "up to 42 times beyond" in found["warnings"][-1]
    )


def test_what_next_cannot_answer_is_said(tmp_path):
    asked = ("next", RUNS, "--spec", QUICKSTART)
    for more, message in {
        (): "--compute, --at: neither is given",
        ("--compute", "1e11"): "lies below the largest run",
        (
            "--compute",
            "1e13",
            "--budget",
            "1e3",
        ): "--budget 1000: no cell of the family lies within the budget",
        ("--at", "params=1e6,tokns=1e8"): "needs D, and N, tokns are given",
        ("--compute", "-1"): "must be positive and finite",
        ("--at", "params=1e6,tokens=1e8", "--goal", "size"): "--goal size: N* is that of a compute, and --at",
    }.items():
        done = call(*asked, *more)
        assert done.returncode == 2 and message in done.stderr, done.stderr
    muon = ROOT / "results" / "reference" / "muon"
    done = call("next", muon / "runs.csv", "--spec", muon / "study.yaml", "--compute", "1e14")
    assert done.returncode == 2 and "runs of 4 variants (adamw, adamw-half, muon, muon-half)" in done.stderr
    assert "--spec study.yaml" in call("next", RUNS, "--compute", "1e13").stderr
    assert "is not there" in call("next", tmp_path / "none", "--compute", "1e13").stderr
    done = call("next", muon, "--compute", "1e14")
    assert done.returncode == 2 and f"a study of their own, like {muon / 'study.yaml'}" in done.stderr


def test_all_that_is_wrong_with_what_is_typed_is_said_at_once(tmp_path):
    spec = tmp_path / "bad.yaml"
    spec.write_text(QUICKSTART.read_text("utf-8").replace("[32, 48,", "[33, 48,"), "utf-8")
    done = call(
        *("next", tmp_path / "none.csv", "--spec", spec, "--compute", -1, "--budget", 0, "--noise", -1),
        *("--goal", "size of it", "--law", "foo", "--law", "tiedd", "--out", spec),
    )
    said = [
        "--budget 0:",
        "--noise -1:",
        "--goal size of it:",
        f"--out {spec}: exists",
        "--law foo is",
        "--law tiedd",
    ]
    said += ["--compute -1:", "none.csv: is not there", "bad.yaml:"]
    assert done.returncode == 2 and [text for text in said if text not in done.stderr] == []
    done = call(
        *PLAN, spec, "--compute", -1, "--noise", 0, "--law", "foo", "--prior", "bar", "--columns", "zz"
    )
    said = ["--compute -1:", "--noise 0:", "--law foo is", "--prior: 'bar' is no prior"]
    said += ["--columns: no column is named 'zz'", "bad.yaml:"]
    assert done.returncode == 2 and [text for text in said if text not in done.stderr] == []


def test_a_target_below_the_runs_is_refused():
    done = call(*PLAN, QUICKSTART, "--compute", "1e10")
    assert done.returncode == 2 and "--compute 1e+10: lies below the smallest fitted run" in done.stderr
    done = call("next", RUNS, "--spec", QUICKSTART, "--at", "params=1e4,tokens=1e5")
    assert done.returncode == 2 and "--at params=1e4,tokens=1e5: its 6e+09 FLOPs lie below" in done.stderr


def test_added_cells_are_fitted_beside_the_design(tmp_path):
    path = tmp_path / "more.yaml"
    added = "added:\n- {width: 40, flops: 2e12, seeds: [7]}\n- {width: 40, flops: 3e11}\n"
    path.write_text(QUICKSTART.read_text("utf-8") + added, "utf-8")
    assert len(load_study(path).added) == 2
    runs = json.loads(call(*PLAN, path, "--json", "--no-identify").stdout)["runs"]
    more = {run["label"]: run["role"] for run in runs if run["label"].startswith("w40")}
    assert more == {"w40-2e12-s7": "fit", "w40-3e11-i0osize": "fit", "w40-3e11-i1osize": "fit"}
