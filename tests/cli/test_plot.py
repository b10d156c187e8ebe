"""``plot``: the figures of a study, or of a law."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.cli.call import call

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "quickstart"


@pytest.fixture
def table(tmp_path):
    d = np.geomspace(1e8, 1e11, 8)
    noise = np.exp(0.002 * np.array([1, -1, 2, 0, -2, 1, -1, 0]))
    runs = pd.DataFrame({"N": 1e8, "tokens": d, "score": (1 + 400 / d**0.3) * noise})
    runs.assign(loss=2 * runs["score"]).to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path / "runs.csv"


def test_a_law_is_fitted_and_drawn(table):
    asked = ("plot", table, "--law", "power-offset-tokens", "--where", "tokens > 1e8", "--column", "params=N")
    done = call(*asked, "--fixed", "E=2", "--profile", "alpha")
    folder = table.parent / "figures" / "power-offset-tokens"
    names = ("law", "fit_and_residuals", "intervals", "profile_alpha")
    assert done.stdout.splitlines()[:4] == [str(folder / f"{name}.png") for name in names]
    assert all((folder / f"{name}.png").stat().st_size > 10_000 for name in names) and done.returncode == 0
    again = done.stdout.splitlines()[-1].removeprefix("next: scaling ").replace("'tokens > 1e8'", "W").split()
    assert again == ["fit", *map(str, asked[1:4]), "--where", "W", "--column", "params=N", "--fixed", "E=2"]


def test_the_file_of_a_law_is_run_once(table):
    file, log = table.parent / "mine.py", table.parent / "log"
    file.write_text(f"""
from analysis import Law
with open({str(log)!r}, "a") as log:
    log.write("run ")
MINE = Law("mine", {{"E": {{}}, "A": {{"D": "alpha"}}}})
""")
    done = call("plot", table, "--law", f"{file}:MINE")
    assert done.returncode == 0 and log.read_text() == "run "
    assert (table.parent / "figures" / "mine" / "law.png").is_file()


def test_an_estimator_draws_its_optima(tmp_path):
    asked = ("plot", REFERENCE, "--law", "hull", "--out", tmp_path)
    done = call(*asked)
    assert done.returncode == 0 and (tmp_path / "optima.png").stat().st_size > 10_000
    done = call(*asked, "--profile", "a")
    assert done.returncode == 2 and "it has no law to draw" in done.stderr


def test_what_cannot_be_drawn_says_why(table):
    done = call("plot", table, "--out", table.parent / "out", "--json")
    found = json.loads(done.stdout)
    assert [path.rpartition("/")[2] for path in found["figures"]] == ["loss_against_compute.png"]
    assert found["skipped"]["isoflop"] == "no isoFLOP curves: 0 budgets have 4 sizes or more"
    assert found["skipped"]["fit_and_residuals"].startswith("1 distinct model size")
    assert found["skipped"]["training_curves"] == "no curves.parquet beside the table"
    done = call("plot", table, "--law", "chinchilla")
    assert "not drawn: law, fit_and_residuals, intervals: 1 distinct model size" in done.stdout
    assert done.stdout.endswith(f"next: scaling fit {table} --law chinchilla\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ("--target", "score", "--profile", "E"),
            ["--target: belongs to a law", "--profile: belongs to a law"],
        ),
        (("--law", "power-tokens", "--x", "N"), ["--x N: must be one of D"]),
        (
            ("--law", "power-tokens", "--profile", "E"),
            ["profile of 'E': choose a free parameter of A, alpha"],
        ),
        (("--law", "power-tokens", "--target", "nope"), ["--target nope: no such column"]),
        (("--law", "power-tokens", "--out", "FILE"), ["is a file"]),
    ],
)
def test_bad_requests_end_with_a_message_and_exit_code_2(table, options, says):
    done = call("plot", table, *(table if option == "FILE" else option for option in options))
    assert done.returncode == 2 and all(text in done.stderr for text in says), done.stderr
    assert not done.stdout and not (table.parent / "figures").exists()


def test_formats_style_and_width_are_taken(table):
    asked = ("plot", table, "--law", "power-tokens", "--where", "tokens > 1e8", "--style", "paper")
    done = call(*asked, "--format", "pdf,svg", "--width", "8.5cm", "--profile", "alpha")
    folder = table.parent / "figures" / "power-tokens"
    assert done.returncode == 0 and {path.suffix for path in folder.iterdir()} == {".pdf", ".svg"}
    assert f'width="{85 / 25.4 * 72:.6f}pt"'[:12] in (folder / "law.svg").read_text()[:900]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--width", "8.5"), "--width 8.5: must be a length; a number and in, cm, mm, pt"),
        (("--width", "1in"), "width = 1 inches: must be 1.5 to 40"),
        (("--format", "pdf,gif"), "--format gif: must be one of pdf, svg, png"),
        (("--style", "glossy"), "--style glossy: no such style; choose paper or talk"),
    ],
)
def test_bad_formats_styles_and_widths_are_refused(table, options, says):
    done = call("plot", table, *options)
    assert done.returncode == 2 and says in done.stderr and not (table.parent / "figures").exists()
