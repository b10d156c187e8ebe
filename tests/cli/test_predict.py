"""``predict``: from a table, a saved fit or given parameters; and what is refused."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from scaling.cli.points import budgets
from scaling.errors import UserError
from tests.cli.call import call

PUBLISHED = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}
FIXED = ",".join(f"{name}={value}" for name, value in PUBLISHED.items())


def loss(n, d):
    return 1.69 + 406.4 / n**0.34 + 410.7 / d**0.28


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """``runs.csv``: the law with noise; ``fit.json``: it as saved."""
    folder = tmp_path_factory.mktemp("predict")
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 7), np.geomspace(1e8, 1e11, 5)))
    noisy = loss(n, d) * np.exp(0.001 * np.random.default_rng(0).standard_normal(35))
    pd.DataFrame({"params": n, "tokens": d, "loss": noisy}).to_csv(folder / "runs.csv", index=False)
    saved = call("fit", folder / "runs.csv", "--bootstrap", "0", "--json").stdout
    (folder / "fit.json").write_text(saved)
    return folder


def lines(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_table_and_its_saved_fit_predict_the_same(folder):
    asked = ("--at", "params=7e9,tokens=1.4e11", "--at", "tokens=2e10,N=1e9", "--compute", "1e22", "--json")
    of_table = call("predict", folder / "runs.csv", "--bootstrap", "0", *asked)
    of_fit = call("predict", folder / "fit.json", *asked)
    assert of_table.stdout == of_fit.stdout and of_fit.returncode == 0
    found = json.loads(of_fit.stdout)
    assert [round(row["N"] / 1e9) for row in found["rows"]][:2] == [7, 1]
    assert found["rows"][0]["loss"] == pytest.approx(loss(7e9, 1.4e11), rel=5e-3)
    assert all(row["new_low"] <= row["low"] < row["loss"] < row["high"] for row in found["rows"])
    assert {*found["intervals"]} == {"law", "new_run"} and found["rows"][2]["C"] == 1e22
    assert all(row["se_law"] > 0 and row["se_run"] > 0 for row in found["rows"])
    assert found["rows"][0]["se_discrepancy"] > 0
    assert all(row["verdict"] == "identified" for row in found["rows"])


def test_the_text_says_convention_interval_and_how_far(folder):
    text = lines(
        call("predict", folder / "fit.json", "--at", "params=7e9,tokens=1.4e11", "--compute", "1e22")
    )
    assert text[1] == "  N = all parameters, C = flops; L (unit not stated)"
    assert "  at the inputs given" in text and "  at the best N and D for C" in text
    head = text.index("  at the inputs given") + 1
    assert text[head].split()[:4] == ["N", "D", "D/N", "loss"] and text[head].endswith("verdict")
    assert text[head + 1].split()[:3] == ["7B", "140B", "20"] and text[head + 1].endswith("identified")
    assert len(text[head]) == len(text[head + 1])
    assert text[head].split()[7:13] == ["forecast", "of", "a", "new", "run", "law/run/discrepancy"]
    assert (
        sum(
            line.startswith("  intervals, 90%: of the law, its confidence band; of a new run")
            for line in text
        )
        == 1
    )
    assert not any("rows x" in line for line in text)


def test_the_next_command_keeps_what_was_typed(folder):
    typed = ["--where", "params > 1e6", "--bootstrap", "0", "--compute", "1e20:1e22"]
    done = call("predict", folder / "runs.csv", *typed)
    asked = shlex.split(lines(done)[-1].removeprefix("next: scaling "))
    assert asked == ["optimal", str(folder / "runs.csv"), *typed]


def test_published_parameters_predict_without_a_table():
    done = call("predict", "--fixed", FIXED, "--at", "params=7e10,tokens=1.4e12", "--compute", "5.76e23")
    text = "\n".join(lines(done))
    assert "C = 6 N D" in text and "no interval" in text and "[" not in text
    found = json.loads(call("predict", "--fixed", FIXED, "--compute", "5.76e23", "--json").stdout)
    (row,) = found["rows"]
    n = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62) * (5.76e23 / 6) ** (0.28 / 0.62)  # eq. 4
    assert row["N"] == pytest.approx(n, rel=1e-6) and row["D"] == pytest.approx(5.76e23 / 6 / n, rel=1e-6)
    assert row["loss"] == pytest.approx(loss(row["N"], row["D"])) and found["intervals"] is None


def test_groups_are_predicted_each_or_by_name(folder):
    runs = pd.read_csv(folder / "runs.csv")
    both = pd.concat([runs.assign(corpus="web"), runs.assign(corpus="books", loss=1.05 * runs["loss"])])
    both.to_csv(folder / "two.csv", index=False)
    options = ("--groups", "corpus", "--bootstrap", "0", "--json")
    rows = json.loads(call("predict", folder / "two.csv", *options, "--at", "N=1e9,D=1e10").stdout)["rows"]
    assert [row["corpus"] for row in rows] == ["books", "web"]
    assert rows[0]["loss"] / rows[1]["loss"] == pytest.approx(1.05, rel=1e-3)
    one = json.loads(call("predict", folder / "two.csv", *options, "--at", "N=1e9,D=1e10,corpus=web").stdout)
    assert one["rows"] == rows[1:]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("runs.csv",), "nothing to predict; give --at params=7e9,tokens=1.4e11 or --compute 1e22"),
        (("--compute", "1e22"), "a table or a saved fit is missing; give one, or all parameters"),
        (("fit.json", "--at", "parms=1e9,tokens=1e10"), "has no such input; did you mean params?"),
        (("fit.json", "--at", "params=1e9"), "lacks tokens, needed by chinchilla; add"),
        (("fit.json", "--at", "params=1e9,N=1e9,D=1e9"), "params is given twice"),
        (
            ("fit.json", "--at", "params=7e9,tokens=1e9,flops=1e22"),
            "--at flops=1e+22: must be within a factor 2 of 4.2e+19, which params=7e+09,tokens=1e+09 cost by "
            "the fitted runs; leave out flops, or one of the other two",
        ),
        (("--fixed", FIXED, "--at", "params=7e9,tokens=1e9,flops=1e22"), "flops=1e+22: must be within"),
        (("fit.json", "--at", "params=-1,tokens=7B"), "--at tokens=7B: must be a number above 0"),
        (("fit.json", "--compute", "1e23:1e20"), "must rise; the smaller first, such as --compute 1e20:1e23"),
        (("fit.json", "--compute", "0", "--compute", "much"), "--compute much: must be FLOPs, positive"),
        (("runs.csv", "--law", "tide", "--compute", "1e22"), "--law tide is unknown; did you mean 'tied'?"),
        (
            ("runs.csv", "--where", "params < 1", "--compute", "1e22"),
            "all 35 rows are left out by --where 'params < 1'; leave out fewer",
        ),
        (("fit.json", "--law", "tied", "--compute", "1e22"), "is a fit of 'chinchilla'; leave out --law"),
        (("fit.json", "--where", "params > 1", "--compute", "1e22"), "--where: "),
        (("--fixed", "E=1,A=2", "--compute", "1e22"), "--fixed: B, alpha, beta of chinchilla not given"),
        (("--fixed", f"{FIXED},gamma=1", "--compute", "1e22"), "--fixed gamma: no parameter of chinchilla"),
        (("--fixed", FIXED, "--compute", "1e22", "--convention", "body"), "from the FLOPs of a table"),
        (("--fixed", FIXED, "--compute", "1e22", "--unit", "params=M"), "--unit: there is no table"),
        (("runs.csv", "--fixed", FIXED, "--compute", "1e22"), "nothing is left to fit to a table"),
        (("--law", "hull", "--compute", "1e22"), "--law hull: needs a table"),
        (("--law", "power-tokens", "--fixed", "A=9,alpha=.1", "--compute", "1e22"), "depends on D, which C"),
        (
            ("fit.json", "--level", "2", "--compute", "1e22"),
            "--level 2: must lie between 0 and 1; did you mean 0.02?",
        ),
    ],
)  # fmt: skip
def test_mistakes_end_with_a_message_and_exit_code_2(folder, arguments, says):
    done = call("predict", *(folder / x if x in ("runs.csv", "fit.json") else x for x in arguments))
    assert done.returncode == 2 and says in done.stderr and not done.stdout, done.stderr


def test_a_law_by_function_is_given_again(folder):
    saved = json.loads((folder / "fit.json").read_text())
    domains = {name: [0.0, 1e6] for name in PUBLISHED}
    law = {
        "name": "mine",
        "formula": "",
        "inputs": ["N", "D"],
        "linear": ["E"],
        "domains": domains,
        "source": "",
    }
    (folder / "mine.json").write_text(json.dumps(saved | {"law": law}))
    done = call("predict", folder / "mine.json", "--at", "params=1e9,tokens=1e12")
    assert done.returncode == 2 and "its law 'mine' is a function" in done.stderr
    assert "--law file.py:NAME" in done.stderr


def test_an_estimate_predicts_at_a_compute(folder):
    asked = ("predict", folder / "runs.csv", "--law", "hull", "--bootstrap", "20")
    row = json.loads(call(*asked, "--compute", "1e21", "--json").stdout)["rows"][0]
    assert row["low"] < row["loss"] < row["high"] and row["N"] * row["D"] == pytest.approx(1e21 / 6, rel=0.2)
    assert "ask with --compute" in call(*asked, "--at", "params=1e9,tokens=1e10").stderr


def test_a_range_of_compute_is_one_a_decade_and_its_end():
    assert budgets(["1e20:1e23"]) == [1e20, 1e21, 1e22, 1e23]
    assert budgets(["3e20:1e22", "1e22"]) == [3e20, 3e21, 1e22]
    assert budgets(["1e9,2e9"]) == [1e9, 2e9] and budgets(None) == []
    with pytest.raises(UserError, match="--compute 1:: must be FLOPs"):
        budgets(["1:"])
