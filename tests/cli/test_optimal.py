"""``optimal``: the best sizes for a compute, and the nearest members of a family as the next study."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.spec.load import load_study
from tests.cli.call import call
from tests.cli.test_predict import FIXED, folder, lines

__all__ = ["folder"]  # a fixture
ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "experiments" / "quickstart.yaml"
RESULTS = ROOT / "results" / "reference" / "quickstart"


def test_a_table_its_fit_and_the_next_command(folder):
    asked = ("optimal", folder / "runs.csv", "--bootstrap", "0", "--compute", "1e20:1e22")
    found = json.loads(call(*asked, "--json").stdout)
    assert [row["C"] for row in found["rows"]] == [1e20, 1e21, 1e22] and found["cost"] == "C = 6 N D"
    for row in found["rows"]:
        assert row["N_low"] < row["N"] < row["N_high"] and row["N"] * row["D"] == pytest.approx(row["C"] / 6)
    again = json.loads(call("optimal", folder / "fit.json", "--compute", "1e20:1e22", "--json").stdout)
    assert again["rows"] == found["rows"]
    text = lines(call(*asked))
    head = next(i for i, line in enumerate(text) if line.split()[:2] == ["C", "N*"])
    assert {"D*", "D/N", "loss", "verdict"} < {*text[head].split()} and "of the law" not in text[head]
    assert len({len(line) for line in text[head : head + 4]}) == 1
    assert text[-1] == f"next: scaling plot {folder / 'runs.csv'} --law chinchilla"


def test_fit_leads_to_optimal(folder):
    typed = ["--where", "params > 1e6", "--bootstrap", "0"]
    text = lines(call("fit", folder / "runs.csv", *typed))
    again = shlex.split(text[-1].removeprefix("next: scaling "))
    assert again == ["optimal", str(folder / "runs.csv"), *typed, "--compute", "1e20:1e22"]
    assert call(*again).returncode == 0


def test_given_parameters_have_no_interval():
    text = lines(call("optimal", "--fixed", FIXED, "--compute", "5.76e23"))
    row = next(line for line in text if line.split()[:1] == ["5.76e+23"])
    assert row.split() == ["5.76e+23", "32.2B", "2.98T", "92.6", "1.931"]
    assert "  cost: C = 6 N D" in text and "no interval" in text[-1]


def test_the_nearest_members_are_a_spec_that_plans(tmp_path):
    out = tmp_path / "next.yaml"
    asked = ("optimal", RESULTS, "--bootstrap", "0", "--compute", "1e12:1e13", "--spec", QUICKSTART)
    text = lines(call(*asked, "--out", out))
    assert text[-1] == f"next: scaling plan {out}"
    plan = json.loads(call("plan", out, "--no-probe", "--json").stdout)
    printed = "\n".join(lines(call(*asked)))
    assert out.read_text().rstrip() in printed and printed.endswith("--out quickstart-next.yaml")
    assert load_study(out).recipe == load_study(QUICKSTART).recipe
    found = json.loads(call(*asked, "--json").stdout)
    assert found["cost"].startswith("C/D counted from the width-dial") and found["spec"] == out.read_text()
    for run, member, row in zip(plan["runs"], found["members"], found["rows"], strict=True):
        assert run["label"] == member["run"] and run["run"]["steps"] == member["steps"]
        assert member["C"] == pytest.approx(row["C"], rel=1e-3) and member["C_asked"] == row["C"]
        assert member["N"] == pytest.approx(row["N"], rel=0.25) and member["N_asked"] == row["N"]
        batch = run["run"]["batch_sequences"] * run["run"]["shape"]["context"]
        assert member["learning_rate"] == pytest.approx(0.0125 * batch**0.5 / run["run"]["shape"]["width"])


def test_axes_and_variants_are_left_out_and_that_is_said(tmp_path):
    spec = tmp_path / "varied.yaml"
    text = QUICKSTART.read_text() + "\naxes: [{cross: {recipe.optimizer.b2: [0.9]}, role: tuning}]\n"
    spec.write_text(text + "variants: {plain: {}, gelu: {family.mlp: gelu}}\n")
    asked = ("optimal", RESULTS, "--bootstrap", "0", "--compute", "1e12", "--spec", spec)
    said = "without its axes (recipe.optimizer.b2) and its variants (plain, gelu)"
    assert said in call(*asked).stdout and said not in call(*asked[:-1], QUICKSTART).stdout
    out = tmp_path / "next.yaml"
    call(*asked, "--out", out)
    following = load_study(out)
    assert said in out.read_text() and not (following.axes or following.variants)


def test_groups_have_a_row_each(folder):
    runs = pd.read_csv(folder / "runs.csv")
    both = pd.concat([runs.assign(corpus=name) for name in ("web", "books")])
    both.to_csv(folder / "grouped.csv", index=False)
    options = ("--groups", "corpus", "--bootstrap", "0", "--compute", "1e21", "--json")
    rows = json.loads(call("optimal", folder / "grouped.csv", *options).stdout)["rows"]
    assert [row["corpus"] for row in rows] == ["books", "web"]
    assert np.isclose(rows[0]["N"], rows[1]["N"], rtol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fit.json",), "no compute to spend; give --compute 1e22, or 1e20:1e23"),
        (("--compute", "1e22"), "a table or a saved fit is missing"),
        (("fit.json", "--compute", "1e23:1e20"), "must rise; the smaller first"),
        (("runs.csv", "--law", "power-tokens", "--compute", "1e22", "--bootstrap", "0"), "no optimal all"),
        (("--law", "power-tokens", "--fixed", "A=9,alpha=.1", "--compute", "1e22"), "no optimal allocation"),
        (("fit.json", "--compute", "1e22", "--out", "x.yaml"), "there is no spec to write; give --spec"),
        (("fit.json", "--compute", "1e22", "--spec", QUICKSTART, "--out", "runs.csv"), "exists already"),
        (("fit.json", "--compute", "1e22", "--spec", "none.yaml"), "none.yaml: no such file"),
        (("fit.json", "--compute", "1e2", "--spec", QUICKSTART), "no best size to train at this compute"),
        (("--fixed", FIXED, "--compute", "1e5", "--spec", QUICKSTART), "is less than one step of w"),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_message_and_exit_code_2(folder, arguments, says):
    done = call("optimal", *(folder / x if x in ("runs.csv", "fit.json") else x for x in arguments))
    assert done.returncode == 2 and says in done.stderr and not done.stdout, done.stderr
