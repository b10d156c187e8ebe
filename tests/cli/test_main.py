"""The command's answers to good and bad input: messages, exit codes, no tracebacks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.call import call

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "experiments" / "quickstart.yaml"


def refused(*arguments):
    done = call(*arguments)
    assert done.returncode == 2 and not done.stdout, done
    return done.stderr


@pytest.mark.parametrize("module", ["scaling", "scaling.cli"])
def test_help_names_every_verb(module):
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    text = done.stdout
    for verb in (
        "plan",
        "run",
        "status",
        "logs",
        "collect",
        "import",
        "fit",
        "predict",
        "optimal",
        "basins",
        "plot",
        "export",
        "clean",
        "cancel",
        "doctor",
    ):
        assert f" {verb} " in text


def test_plan_prints_every_run_and_what_sharing_saves():
    done = call("plan", QUICKSTART, "--no-probe")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("osize  ") == 42 and "sharing trunks saves" in done.stdout
    assert done.stdout.rstrip().endswith(f"next: scaling run {QUICKSTART}")
    plan = json.loads(call("plan", QUICKSTART, "--no-probe", "--json").stdout)
    assert plan["totals"]["by_role"] == {"fit": 40, "noise": 2, "holdout": 2}
    flops = sum(run["run"]["steps"] for run in plan["runs"])
    assert flops > 0 and plan["totals"]["flops_spent"] < 0.95 * plan["totals"]["flops"]


def test_plan_prints_the_columns_asked_for(tmp_path):
    spec = ROOT / "tests" / "study" / "miniature.yaml"
    names = "run,warmup_steps,decay_steps,learning_rate,weight_decay"
    done = call("plan", spec, "--no-probe", "--no-identify", "--columns", names)
    heading, *rows = done.stdout.split("\n\n")[1].splitlines()
    assert heading.split("  ")[-1] == "weight decay"
    assert ["w8-5e8-s0", "20", "41", "0.025", "0.1"] in [row.split() for row in rows]
    every = call("plan", spec, "--no-probe", "--no-identify", "--columns", "all").stdout.split("\n\n")[1]
    assert "spent" in every and "run id" in every
    message = refused("plan", spec, "--columns", "run,warmup")
    assert "no column is named 'warmup'" in message and "warmup_steps" in message


def test_a_full_disk_is_told_without_a_traceback(tmp_path, full_disk):
    spec = ROOT / "tests" / "study" / "miniature.yaml"
    with full_disk(3000):
        done = call("run", spec, "--results", tmp_path / "study")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "File too large; free some space and run the same command again" in done.stderr


def test_every_problem_of_a_spec_is_reported_at_its_place(tmp_path):
    spec = tmp_path / "bad.yaml"
    text = QUICKSTART.read_text().replace("depth: 2", "depth: true").replace("batch_tokens", "batch_tokes")
    spec.write_text(text.replace("budgets: [1.7e11,", "budgets: [-1.7e11,"))
    message = refused("plan", spec)
    lines = text.splitlines()
    for field, hint in (("depth: true", ""), ("batch_tokes", "did you mean"), ("budgets", "")):
        line = next(i for i, text in enumerate(lines, 1) if text.strip().startswith(field))
        assert f"bad.yaml:{line}:" in message and hint in message


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("plan", "missing.yaml"), "missing.yaml"),
        (("status", "no-such-folder"), "plan.json is missing"),
        (("fit", "no-such.csv"), "no such file"),
        (("plan", QUICKSTART, "--set", "recipe.batch_tokens=true"), "--set recipe.batch_tokens"),
        (("plan", QUICKSTART, "--set", "recipe.batch_tokens=100"), "multiple"),
        (("run", QUICKSTART, "--workers", "0"), "--workers 0: must be 1 or more"),
        (
            ("plan", QUICKSTART, "--workers", "x", "--noise", "much"),
            "--workers x: must be a valid integer, unable to parse string as an integer; see --workers in "
            "`scaling plan --help`\n--noise much: must be",
        ),
        (
            ("fit", "runs.csv", "--loss", "los"),
            "--loss los: is no option of `scaling fit`; the columns of a table are named with --column "
            "loss=los, what is fitted with --target los",
        ),
        (("fit", "runs.csv", "--tokens=D"), "--tokens D: is no option of `scaling fit`"),
        (("fit", "--zzz", "runs.csv"), "--zzz: is no option of `scaling fit`"),
        (("fit", "--zzz=7", "runs.csv"), "--zzz 7: is no option of `scaling fit`"),
        (
            ("fit", "runs.csv", "--targt", "x"),
            "--targt: is no option of `scaling fit`; did you mean --target?",
        ),
        (("plan", QUICKSTART, "--zzz"), "see `scaling plan --help`"),
        (("nonsense",), "nonsense"),
    ],
)
def test_bad_requests(arguments, expected):
    assert expected in refused(*arguments)


@pytest.fixture
def table(tmp_path):
    """A law without noise: 4 sizes x 4 horizons."""
    path = tmp_path / "made_up.csv"
    rows = [
        f"{n:g},{d:g},{1.5 + 400 / n**0.35 + 900 / d**0.4!r}"
        for n in (1e5, 3e5, 1e6, 3e6)
        for d in (1e7, 3e7, 1e8, 3e8)
    ]
    path.write_text("params,tokens,loss\n" + "\n".join(rows) + "\n")
    return path


def test_fit_finds_the_law_of_any_table(table):
    fitted = json.loads(call("fit", table, "--bootstrap", "0", "--json").stdout)
    assert fitted["params"]["alpha"] == pytest.approx(0.35, rel=1e-4)
    assert fitted["params"]["E"] == pytest.approx(1.5, rel=1e-4)
    assert "next: scaling optimal" in call("fit", table).stdout


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--law", "chinchila"), "chinchilla"),
        (("--delta", "-1"), "delta"),
        (("--objective", "mse"), "objective"),
        (("--convention", "mine"), "convention"),
    ],
)
def test_bad_fits(table, options, expected):
    assert expected in refused("fit", table, *options)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "made_up.csv"),
        ("params,tokens\n1,2\n", "'loss' is missing"),
        ("params,tokens,loss\n1e5,1e7,two\n", "loss"),
        ("params,tokens,loss\n-5,1e7,2\n", "params"),
        ("params,tokens,loss\nTrue,1e7,2\n", "params"),
    ],
)
def test_bad_tables(table, text, expected):
    table.write_text(text)
    assert expected in refused("fit", table)


def test_a_table_of_one_size_gives_no_exponents(tmp_path):
    table = tmp_path / "runs.csv"
    rows = "\n".join(f"1000,{10**k},{3 - k / 10}" for k in range(4, 10))
    table.write_text(f"params,tokens,loss\n{rows}\n")
    done = call("fit", table)
    assert done.returncode == 0 and "not_identified" in done.stdout
    assert json.loads(call("fit", table, "--json").stdout)["params"] == {}


def test_doctor_finds_no_problem_here(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # a Slurm of this machine may be down
    done = call("doctor", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["problems"] == 0


def test_schema_is_json():
    assert "study" in json.loads(call("schema").stdout)["properties"]
    assert json.loads(call("schema", "--external").stdout).keys() == {
        "run.json",
        "metrics.jsonl",
        "result.json",
    }
