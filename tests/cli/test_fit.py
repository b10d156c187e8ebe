"""Options of ``fit``, and messages in their words."""

import functools
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.errors import Argument
from analysis.laws import lookup
from analysis.variants.comparison import compare_variants
from scaling.cli.arguments import as_option, bound_values, fixed_values, pairs
from scaling.cli.options import USUAL_LAW, Reading
from scaling.errors import UserError
from tests.cli.call import call

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_the_usual_law_is_that_of_the_analysis():
    assert USUAL_LAW == lookup.LAW


def test_pairs():
    assert pairs(["a=1", " Model Size = x "], "--o", "") == {"a": "1", "Model Size": "x"}
    assert fixed_values(["E=1.8"]) == {"E": 1.8} and bound_values(["alpha=0.1:1"]) == {"alpha": (0.1, 1.0)}
    assert fixed_values(["E=1,A[c4, en]=2, B=3", "C=4"]) == {"E": 1, "A[c4, en]": 2, "B": 3, "C": 4}
    assert Reading("seed == 0", column=["params=N", "flops=none"], unit=["params=M"]).arguments() == {
        "where": "seed == 0",
        "columns": {"params": "N", "flops": None},
        "units": {"params": "M"},
    }
    assert Reading().arguments() == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fixed_values(["E", "A=x"]), "--fixed E: must look like NAME=VALUE"),
        (lambda: fixed_values(["A=x"]), "--fixed A=x: must be a number"),
        (lambda: fixed_values(["A=1", "A=2"]), "is given twice"),
        (lambda: bound_values(["a=1"]), "must be LOW:HIGH"),
        (lambda: bound_values(["a=2:1"]), "two numbers that rise"),
    ],
)
def test_what_is_of_another_form_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


N = np.geomspace(1e6, 1e8, 5)
LAW = """
from analysis import Law

def bent(x, A, alpha, x0):
    return A * (1 + x / x0) ** -alpha

LAW = Law("bent", function=bent, linear=("A",), domains={"A": (0, 100), "alpha": (0.01, 3), "x0": (1, 1e6)})
"""


def test_a_table_in_the_wild_and_a_law_of_ones_own(tmp_path):
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1, 100, 6), np.geomspace(1e9, 1e11, 6)))
    loss = 1.7 + 400 / (n * 1e6) ** 0.34 + 410 / d**0.28
    wild = pd.DataFrame(
        {"Model Size": n, "train_tokens": d, "val_loss": loss, "x": d, "y": 3 * (1 + d / 5e9) ** -0.3}
    )
    wild.to_csv(tmp_path / "wild.csv", index=False)
    refused = call("fit", tmp_path / "wild.csv")
    assert refused.returncode == 2 and "--unit params=M" in refused.stderr
    call("import", tmp_path / "wild.csv", "--out", tmp_path / "runs.csv", "--unit", "params=M")
    done = call(
        "fit",
        tmp_path / "runs.csv",
        "--fixed",
        "E=1.7",
        "--where",
        "params > 1e6",
        "--bootstrap",
        "50",
        "--json",
    )
    found = json.loads(done.stdout)
    assert found["fixed"] == {"E": 1.7} and found["params"]["alpha"] == pytest.approx(0.34, abs=1e-3)
    assert len(found["excluded"]) == 6 and found["excluded"][0]["reason"] == "where: params > 1000000"
    (tmp_path / "laws.py").write_text(LAW)
    arguments = (
        "fit",
        tmp_path / "wild.csv",
        "--law",
        f"{tmp_path / 'laws.py'}:LAW",
        "--target",
        "y",
        "--bootstrap",
        "0",
    )
    own = json.loads(call(*arguments, "--bounds", "x0=1e8:1e11", "--json").stdout)
    assert own["solution"]["alpha"] == pytest.approx(0.3, rel=1e-3)
    assert own["solution"]["x0"] == pytest.approx(5e9, rel=1e-2)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(1e7, 2e8, 4.5), (1e8, -2e9, "n.b."), (1e9, 0, 2.7)],
         ["'tokens' must be finite and positive: line 3 = -2e+09, line 4 = 0", "'loss' is not a number in line 3"]),  # noqa: E501
        ([(10, 2e8, 4.5), (1e8, 2e9, 3.4), (1e9, 2e10, 2.7)],
         ["'params' is below 1000 in 1 of 3 rows (line 2 = 10), others above 1e6: mixed units"]),
    ],
)  # fmt: skip
def test_bad_tables_end_with_a_message_and_exit_code_2(tmp_path, rows, says):
    pd.DataFrame(rows, columns=["params", "tokens", "loss"]).to_csv(tmp_path / "bad.csv", index=False)
    done = call("fit", tmp_path / "bad.csv")
    assert all(text in done.stderr for text in says), done.stderr
    assert done.returncode == 2 and not done.stdout


def test_help_lists_the_methods_of_the_analysis():
    from analysis.fits.bootstrap import METHODS
    from scaling.cli.options import METHOD

    assert set(re.findall(r"[a-z]+(?:-[a-z]+)?\d?", METHOD)) >= {*METHODS, "profile"}


def test_checkpoints_from_the_command(tmp_path):
    tokens = np.geomspace(1e7, 1e9, 6)
    rows = [(f"r{i}", n, d, 1.7 + 400 / n**0.34 + 410 / d**0.28) for i, n in enumerate(N) for d in tokens]
    path = tmp_path / "checkpoints.csv"
    pd.DataFrame(rows, columns=["run", "params", "tokens", "loss"]).to_csv(path, index=False)
    found = json.loads(
        call("fit", path, "--after", "0.02", "--run", "run", "--bootstrap", "0", "--json").stdout
    )
    assert [row["reason"] for row in found["excluded"]] == ["in the first 0.02 of its run by tokens"] * 5
    assert found["objective"]["n"] == 25
    done = call("import", path, "--out", tmp_path / "out.csv", "--after", "0.02", "--run", "run")
    assert "5 rows left out" in done.stdout and "fit" in done.stdout and "--after 0 --run run" in done.stdout


def test_a_law_of_tokens_needs_no_sizes(tmp_path):
    tokens = np.geomspace(1e7, 1e9, 6)
    pd.DataFrame({"D": tokens, "loss": 30 * tokens**-0.1}).to_csv(tmp_path / "t.csv", index=False)
    options = ("--law", "power-tokens", "--bootstrap", "0", "--json")
    found = json.loads(call("fit", tmp_path / "t.csv", *options).stdout)
    assert found["params"]["alpha"] == pytest.approx(0.1, rel=1e-5)
    assert "'params' is missing" in call("fit", tmp_path / "t.csv").stderr


def test_laws_lists_what_there_is_and_what_a_table_can_feed(tmp_path):
    text = call("laws", "--long").stdout
    assert "  chinchilla: L = E + A / N^alpha + B / D^beta\n    needs params, tokens, loss\n" in text
    assert "analysis.estimate('hull', table)" in text and "note" not in text and "next" not in text
    assert (
        text.index("OPTIMAL SIZES")
        < text.index("  hull:")
        < text.index("OTHER EST")
        < text.index("  basins:")
    )
    brief = call("laws").stdout.splitlines()
    assert sum(line.startswith("  chinchilla ") for line in brief) == 1
    assert max(map(len, brief)) <= 80 and any(line.endswith("...") for line in brief)
    pd.DataFrame({"D": [1e9], "loss": [3.0]}).to_csv(tmp_path / "t.csv", index=False)
    text = call("laws", tmp_path / "t.csv", "--long").stdout
    assert "needs params, tokens, loss: this table lacks params\n" in text
    text = call("laws", tmp_path / "t.csv").stdout
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    assert lines["tied"].endswith("  lacks params") and "lacks" not in lines["power-tokens"]
    assert "next: scaling fit" in text and "--law power-tokens" in text
    found = json.loads(call("laws", tmp_path / "t.csv", "--json").stdout)
    entry = next(entry for entry in found["laws"] if entry["name"] == "power-tokens")
    assert entry["fed"] and entry["needs"] == ["tokens", "loss"] and entry["lacks"] == []
    assert call("laws", tmp_path / "none.csv").returncode == 2
    pd.DataFrame({"params": [1e9], "final": [3.0]}).to_csv(tmp_path / "t.csv", index=False)
    text = call("laws", tmp_path / "t.csv").stdout  # feeds none: the law that lacks least
    assert text.endswith(f"next: scaling fit {tmp_path / 't.csv'} --law power-params\n")


def test_an_unknown_law_is_refused_with_the_nearest(tmp_path):
    pd.DataFrame({"D": [1e9], "loss": [3.0]}).to_csv(tmp_path / "t.csv", index=False)
    refused = call("fit", tmp_path / "t.csv", "--law", "power-token").stderr
    assert "did you mean 'power-tokens'?" in refused and "`scaling laws`" in refused


def test_laws_are_compared_on_runs_they_have_not_seen(tmp_path):
    table = str(tmp_path / "runs.csv")
    rng = np.random.default_rng(0)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 5)))
    loss = (1.7 + 400 / n**0.34 + 4000 / d**0.45) * np.exp(0.002 * rng.standard_normal(30))
    pd.DataFrame({"params": n, "tokens": d, "loss": loss}).to_csv(table, index=False)
    done = call("compare", table, "--law", "power", "--law", "chinchilla")
    assert done.returncode == 0 and "least error on the held-out end (far): chinchilla" in done.stdout
    assert f"next: scaling fit {table} --law chinchilla" in done.stdout
    shown = json.loads(call("compare", table, "--law", "power", "--law", "tied", "--json").stdout)
    assert shown["best"] == "tied" and [row["law"] for row in shown["laws"]] == ["tied", "power"]
    refused = call("compare", table, "--law", "power")
    assert refused.returncode == 2 and "--law: 1 given, a comparison needs two or more" in refused.stderr


def test_studies_are_compared_without_a_law(tmp_path, monkeypatch):
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 4)))
    noise = np.exp(0.002 * np.random.default_rng(0).standard_normal(20))
    tables = []
    for name, worth in (("old", 1.0), ("new", 1.5)):
        loss = 1.7 + 400 * (worth**0.5 / n) ** 0.34 + 4000 * (worth**0.5 / d) ** 0.45
        tables.append(tmp_path / f"{name}.csv")
        frame = pd.DataFrame({"params": n, "tokens": d, "loss": loss * noise, "study": name})
        frame.to_csv(tables[-1], index=False)
    (found,) = json.loads(call("compare", *tables, "--json").stdout)["contrasts"]
    assert (found["reference"], found["variant"], found["difference"]["pairs"]) == ("old", "new", 20)
    low, high = found["worth"][0]["ends"]
    assert low < 1.5 < high
    monkeypatch.setattr(
        "scaling.cli.tables.compare_variants", functools.partial(compare_variants, bootstrap=20)
    )
    said = call("compare", *tables, "--level", "0.8").stdout
    again = shlex.split(said.splitlines()[-1].removeprefix("next: scaling "))
    assert again == ["fit", *map(str, tables), "--groups", "source", "--level", "0.8"]
    grouped = call(*again, "--bootstrap", "0")
    assert grouped.returncode == 0 and "status: ok" in grouped.stdout
    refused = call("compare", tables[0])
    assert refused.returncode == 2 and "nothing to compare" in refused.stderr


def test_the_next_command_has_the_options_that_were_typed(tmp_path):
    table = str(tmp_path / "t.csv")
    d = np.geomspace(1e8, 1e11, 8)
    noise = np.exp(0.002 * np.array([1, -1, 2, 0, -2, 1, -1, 0]))
    pd.DataFrame({"D": d, "y": (1 + 400 / d**0.3) * noise, "fold": 1.0}).to_csv(table, index=False)
    typed = ["--where", "y > 0", "--target", "y", "--column", "tokens=D"]
    laws = ["--law", "power-tokens", "--law", "power-offset-tokens"]
    done = call("compare", table, *laws, *typed, "--folds", "4")
    best = "power-offset-tokens"
    asked = shlex.split(done.stdout.splitlines()[-1].removeprefix("next: scaling "))
    assert asked[:4] == ["fit", table, "--law", best] and sorted(asked[4:]) == sorted(typed)
    done = call(*asked, "--bootstrap", "0", "--level", "0.8")
    asked = shlex.split(done.stdout.splitlines()[-1].removeprefix("next: scaling "))
    assert asked[:4] == ["plot", table, "--law", best]
    assert sorted(asked[4:]) == sorted([*typed, "--level", "0.8"])


@pytest.mark.parametrize(
    ("name", "value", "options"),
    [
        (
            "columns",
            {"params": "Model Size", "flops": None},
            "--column 'params=Model Size' --column flops=none",
        ),
        ("units", {"params": "M"}, "--unit params=M"),
        ("bounds", {"alpha": (0.1, 1)}, "--bounds alpha=0.1:1"),
        ("fixed", {"E": 1.8}, "--fixed E=1.8"),
        ("groups", "data set", "--groups 'data set'"),
        ("compute", 6e15, "--compute 6e+15"),
    ],
)
def test_an_argument_of_the_analysis_is_named_as_an_option(name, value, options):
    assert as_option(Argument(name, value)) == options


def test_several_tables_from_the_command(tmp_path):
    for name, n in (("a", 1e7), ("b", 1e8)):
        rows = [(n, d, 1.7 + 400 / n**0.34 + 410 / d**0.28) for d in (2e8, 2e9, 2e10)]
        text = pd.DataFrame(rows, columns=["params", "tokens", "loss"]).to_csv(
            sep=";", decimal=",", index=False
        )
        (tmp_path / f"{name}.csv").write_text(text)
    refused = call("import", str(tmp_path / "*.csv"), "--out", tmp_path / "runs.csv")
    assert refused.returncode == 2 and "say --decimal ," in refused.stderr
    done = call("import", str(tmp_path / "[ab].csv"), "--out", tmp_path / "runs.csv", "--decimal", ",")
    assert done.stdout.count("sha256") == 2 and "2 tables, named in column 'source'" in done.stdout
    table = pd.read_csv(tmp_path / "runs.csv")
    assert table["source"].nunique() == 2 and table["params"].tolist() == [1e7] * 3 + [1e8] * 3
    other = call("import", tmp_path / "runs.csv", "--out", tmp_path / "d.csv", "--need", "tokens", "--json")
    assert json.loads(other.stdout)["table"] == str(tmp_path / "d.csv")


def test_several_tables_are_one_with_a_group_each(tmp_path):
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)))
    loss = 1.7 + 400 / n**0.34 + 410 / d**0.28
    for name, factor in (("web", 1.0), ("books", 1.1)):
        noisy = factor * loss * np.exp(0.001 * np.random.default_rng(0).standard_normal(25))
        pd.DataFrame({"params": n, "tokens": d, "loss": noisy}).to_csv(tmp_path / f"{name}.csv", index=False)
    tables = [str(tmp_path / "web.csv"), str(tmp_path / "books.csv")]
    typed = ["--groups", "source", "--bootstrap", "0"]
    done = call("fit", *tables, *typed)
    asked = shlex.split(done.stdout.splitlines()[-1].removeprefix("next: scaling "))
    assert asked[:5] == ["optimal", *tables, *typed[:2]] and done.returncode == 0
    found = json.loads(call("fit", *tables, *typed, "--json").stdout)["solution"]
    ends = {name.partition("[")[0] for name in found if "[" in name}
    assert ends == {"E", "A", "B"} and len(found) == 8
    by_name = {name: value for name, value in found.items() if name.startswith("E[")}
    web, books = (next(v for k, v in by_name.items() if part in k) for part in ("web", "books"))
    assert books / web == pytest.approx(1.1, rel=0.02)


def test_a_rule_for_a_flag_is_given_and_repeated_in_the_next_command(tmp_path):
    table = pd.read_csv(REFERENCE / "quickstart" / "runs.csv")
    table["flags"] = table["flags"].astype(object)
    table.loc[:4, "flags"] = "loss_spike"
    table.to_csv(tmp_path / "runs.csv", index=False)
    fitted = ("fit", tmp_path / "runs.csv", "--bootstrap", "0")
    used = json.loads(call(*fitted, "--json").stdout)
    dropped = json.loads(call(*fitted, "--flags", "loss_spike=drop", "--json").stdout)
    assert used["objective"]["n"] == dropped["objective"]["n"] + 5
    assert any("5 of 40 runs are used with flag loss_spike" in note for note in used["notes"])
    assert "--flags loss_spike=drop" in call(*fitted, "--flags", "loss_spike=drop").stdout.splitlines()[-1]
    wrong = call(*fitted, "--flags", "loss_spik=drop")
    assert wrong.returncode == 2 and "--flags loss_spik=drop" in wrong.stderr and "loss_spike" in wrong.stderr


def test_latex_is_printed_alone(tmp_path):
    done = call("fit", REFERENCE / "quickstart", "--bootstrap", "0", "--latex")
    assert done.returncode == 0 and done.stdout.startswith("% needs") and done.stdout.endswith("{table}\n")
    both = call("fit", REFERENCE / "quickstart", "--latex", "--json")
    assert both.returncode == 2 and "--latex and --json" in both.stderr and not both.stdout


def test_json_says_what_splits_a_table(tmp_path):
    kinds = list[pd.DataFrame]()
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 3e10, 5)))
    for i, corpus in enumerate("ab"):
        loss = (1 + 0.2 * i) * (1.7 + 400 / n**0.34 + 410 / d**0.28)
        kinds.append(pd.DataFrame({"params": n, "tokens": d, "loss": loss, "corpus": corpus}))
    table = tmp_path / "runs.csv"
    pd.concat(kinds).to_csv(table, index=False)
    at = ("--compute", "1e22", "--bootstrap", "0")
    laws = ("--law", "tied", "--law", "power", "--folds", "2")
    for command in (("predict", table, *at), ("optimal", table, *at), ("compare", table, *laws)):
        done = call(*command, "--json")
        assert done.returncode == 0, done.stderr
        assert [split["columns"] for split in json.loads(done.stdout)["splits"]] == [["corpus"]]
