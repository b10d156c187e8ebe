"""``scaling plan``: what it takes, what is refused, what differs, and the figure of the design."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.plan.plan import Plan
from tests.cli.call import call
from tests.plan.studies import plan_of, record_run

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "tests" / "study" / "miniature.yaml"
PRICE = "execution.price_per_device_hour={amount: 2, currency: EUR}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_speed_that_is_given_makes_hours_and_money() -> None:
    told = ("plan", SPEC, "--no-probe", "--no-identify", "--speed", "1e6", "--set", PRICE)
    text = call(*told).stdout
    heading = text.split("\n\n")[1].splitlines()[0]
    assert heading.split()[-3:] == ["spent", "time", "price"]
    assert "at 1e+06 FLOP/s each, as given" in text and "EUR at 2 EUR an hour" in text
    plan = json.loads(call(*told, "--json").stdout)
    training = plan["totals"]["flops_spent"] / 1e6
    assert plan["time"]["training_seconds"] == pytest.approx(training)
    assert plan["bill"]["device_hours"] > training / 3600
    assert plan["bill"]["price"] == pytest.approx(2 * plan["bill"]["device_hours"])
    rows = plan["table"]
    assert [row["run_id"] for row in rows] == [run["run_id"] for run in plan["runs"]]
    assert sum(row["device_hours"] for row in rows) == pytest.approx(plan["bill"]["device_hours"])
    assert all(row["flops_6n"] == 6 * row["params"] * row["tokens"] > row["flops_6n_body"] for row in rows)
    assert {warning["kind"] for warning in plan["warnings"]} >= {"few_steps"}


def test_earlier_runs_on_the_same_kind_of_device_tell_the_speed() -> None:
    told = ("plan", SPEC, "--no-probe", "--no-identify")
    for run in plan_of().runs:
        record_run(Path("results/s"), run)  # on an H200
    cluster = ("--set", "execution={kind: slurm, device: gpu}")
    text = call(*told, *cluster).stdout
    assert "with 5 workers on NVIDIA H200" in text and "speed by 4 earlier runs, which scatter by" in text
    assert "time: not estimated" in call(*told).stdout, "they were on another device"


def test_more_device_hours_than_allowed_are_refused() -> None:
    told = ("plan", SPEC, "--no-probe", "--no-identify", "--max-device-hours", "1")
    for more, says in ((("--speed", "1e6"), "takes about"), ((), "not known")):
        done = call(*told, *more)
        assert done.returncode == 2 and says in done.stderr and not done.stdout
    assert call(*told, "--speed", "1e9").returncode == 0


def test_a_compute_or_noise_that_is_not_positive_is_refused() -> None:
    for option, value, *more in (("--compute", "-3"), ("--noise", "0", "--no-identify")):
        done = call("plan", SPEC, "--no-probe", option, value, *more)
        assert (
            done.returncode == 2 and f"{option} {value}: must be positive" in done.stderr and not done.stdout
        )


def test_all_that_is_wrong_with_options_is_said_at_once() -> None:
    wrong = (
        "--workers 0",
        "--speed 0",
        "--max-device-hours -1",
        "--simulate -3",
        "--noise 0",
        "--law nosuch",
    )
    wrong += ("--compute 1e3", "--figure a.doc", "--prior gamma=1")
    options = [part for option in wrong for part in option.split()]
    done = call("plan", SPEC, "--no-probe", *options, "--diff", "--results", "none")
    assert done.returncode == 2 and not done.stdout
    said = done.stderr.splitlines()
    for option in ("--diff", "--compute 1000", *wrong[:6], *wrong[7:]):
        assert sum(line.startswith(option) for line in said) == 1, option
    assert len(said) == 10


def test_the_design_is_drawn(tmp_path: Path) -> None:
    done = call("plan", SPEC, "--no-probe", "--no-identify", "--figure", "design.svg")
    assert done.returncode == 0 and "drew design.svg" in done.stderr
    first = Path("design.svg").read_bytes()
    call("plan", SPEC, "--no-probe", "--no-identify", "--figure", "design.svg")
    assert Path("design.svg").read_bytes() == first, "the same bytes"
    for name, says in (("design.gif", ".png, .pdf, .svg"), ("design.svg/design.png", "cannot be written")):
        done = call("plan", SPEC, "--no-probe", "--no-identify", "--figure", name)
        assert done.returncode == 2 and says in done.stderr


def test_a_difference_needs_a_folder(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", SPEC):
        done = call("plan", SPEC, "--no-probe", "--no-identify", "--diff", "--results", folder)
        assert done.returncode == 2 and "plan.json is missing" in done.stderr and "--results" in done.stderr
    plan = json.loads(call("plan", SPEC, "--no-probe", "--no-identify", "--json").stdout)
    known = {name: plan[name] for name in ("schema", *Plan.model_fields) if name in plan}
    Path("before").mkdir()
    Path("before/plan.json").write_text(json.dumps(known))
    told = (
        "plan",
        SPEC,
        "--no-probe",
        "--no-identify",
        "--diff",
        "--results",
        "before",
        "--set",
        "seeds=[0, 7]",
    )
    assert "8 runs new: " in call(*told).stdout
    found = json.loads(call(*told, "--json").stdout)
    assert len(found["new"]) == 8 and len(found["left"]) == 10 and not found["changed"]


def test_a_difference_says_what_waits_for_results(tmp_path: Path) -> None:
    spec = ROOT / "experiments" / "designs" / "adaptive.yaml"
    planned = json.loads(call("plan", spec, "--no-probe", "--no-identify", "--json").stdout)
    known = {name: planned[name] for name in ("schema", *Plan.model_fields) if name in planned}
    (tmp_path / "plan.json").write_text(json.dumps(known))
    said = call("plan", spec, "--no-probe", "--no-identify", "--diff", "--results", tmp_path).stdout
    last = said.splitlines()[-1]
    assert last.startswith("round 1, chosen before any result: ") and "wait for rounds" in last
