"""Options of ``scaling run`` and ``plan`` that are about a cluster, and ``scaling cancel``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.files import write_json, write_text
from tests.cli.call import call
from tests.sweep.plans import make_plan

SPEC = "experiments/quickstart.yaml"
PROFILE = (
    "kind: slurm\npartition: main\ntime: 30 min\nmemory: 2 GB\nlarger: [{params: 1e5, cpus: 2, time: 2 h}]\n"
)


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(PROFILE)
    return path


def test_scripts_are_printed_and_nothing_is_written(tmp_path: Path, profile: Path) -> None:
    done = call("run", SPEC, "--on", profile, "--dry-run", "--results", tmp_path / "results")
    assert done.returncode == 0 and [path.name for path in tmp_path.iterdir()] == ["cluster.yaml"]
    scripts = done.stdout.split("#!/bin/bash\n")[1:]
    times = [line for text in scripts for line in text.splitlines() if line.startswith("#SBATCH --time")]
    assert sorted(times[:2]) == ["#SBATCH --time=120", "#SBATCH --time=30"] and len(scripts) > 2
    assert all(f"scaling.sweep.pilot {tmp_path}/results " in text for text in scripts)


def test_a_plan_for_a_cluster_says_nothing_of_this_machine(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Path(SPEC).absolute()
    monkeypatch.chdir(tmp_path)  # whose results no earlier study has, by whose speed it would be told
    done = call("plan", spec, "--on", profile)
    assert done.returncode == 0 and "this machine" not in done.stdout
    assert (
        "; an allocation has 2 GB" in done.stdout
        and "for these shapes on nodes of the cluster" in done.stdout
    )
    assert done.stdout.endswith(f"next: scaling run {spec} --on {profile}\n")
    resolved = json.loads(call("plan", spec, "--on", profile, "--resolved").stdout)
    assert resolved["execution"]["partition"] == "main"
    plans = [call("plan", spec, "--json", "--no-probe", *on).stdout for on in ((), ("--on", profile))]
    here, there = map(json.loads, plans)
    assert [run["run_id"] for run in here["runs"]] == [run["run_id"] for run in there["runs"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--detach",), "--detach leaves jobs to a cluster, and execution.kind = local"),
        (("--dry-run",), "--dry-run prints scripts for Slurm, and execution.kind = local"),
        (("--set", "execution.kind=slurm", "--profile", "3"), "--profile traces a job of this machine"),
        (("--on", "nowhere.yaml"), "nowhere.yaml: no such file; give the path of a profile"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: tuple[str, ...], expected: str) -> None:
    done = call("run", SPEC, "--results", tmp_path / "results", *options)
    assert done.returncode == 2 and expected in done.stderr and not (tmp_path / "results").exists()


def test_a_results_folder_goes_on_by_its_plan(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", make_plan([(8, 50)], kind="slurm") | {"unfinished": False})
    write_text(tmp_path / "study.yaml", "study: tiny\n")
    done = call("run", tmp_path, "--dry-run")
    assert done.returncode == 0 and f"scaling.sweep.pilot {tmp_path} " in done.stdout
    done = call("run", tmp_path, "--set", "recipe.batch_tokens=256")
    assert done.returncode == 2 and "--set goes with a spec" in done.stderr
    done = call("run", tmp_path / "other")
    assert done.returncode == 2 and "no such file" in done.stderr


def test_cancel_says_what_it_did(tmp_path: Path) -> None:
    write_json(tmp_path / "plan.json", make_plan([(8, 50)], kind="slurm"))
    done = call("cancel", tmp_path)
    assert done.returncode == 0
    assert done.stdout == f"nothing is at work on it\n\nnext: scaling status {tmp_path}\n"
    done = json.loads(call("cancel", tmp_path, "--json").stdout)
    assert done == {"jobs": [], "processes": [], "problems": []}
    assert call("cancel", tmp_path / "none").returncode == 2
