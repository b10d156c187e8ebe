"""``basins``: optima of a sweep and their laws from the command line."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.plan.tuned import settled
from scaling.spec.load import load_study
from scaling.spec.sections import Recipe
from tests.cli.call import call

QUICKSTART = load_study(Path(__file__).parents[2] / "experiments" / "quickstart.yaml")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """lr* = 2 N^-0.4, batch* = 3 D^0.5, nearly without noise."""
    rng, rows = np.random.default_rng(0), []
    for n in (1e7, 1e8, 1e9):
        for d in (1e9, 4e9, 2e10):
            for i in range(-2, 3):
                for j in range(-2, 3):
                    rate, batch = 2 * n**-0.4 * 2.1**i, 3 * d**0.5 * 1.9**j
                    off = 0.01 * (i * np.log(2.1)) ** 2 + 0.005 * (j * np.log(1.9)) ** 2
                    rows.append((n, d, rate, batch, (2 + 1e3 / d**0.4) * np.exp(off + 1e-4 * rng.normal())))
    path = tmp_path_factory.mktemp("basins") / "sweep.csv"
    names = ["params", "tokens", "lr", "batch_tokens", "loss"]
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)
    return path


def test_optima_laws_and_the_optimum_elsewhere(table):
    asked = ("basins", table, "--bootstrap", "0", "--at", "N=1e10,D=1e11")
    found = json.loads(call(*asked, "--json").stdout)
    assert found["laws"]["lr"]["solution"]["e_params"] == pytest.approx(0.4, abs=0.01)
    (row,) = found["at"]
    assert row["lr"] == pytest.approx(2e-4, rel=0.05) and row["batch"] == pytest.approx(
        3e11**0.5 * 3**0.5, rel=0.05
    )
    text = call(*asked).stdout.splitlines()
    head = next(i for i, line in enumerate(text) if line.split()[:2] == ["params", "tokens"])
    assert len({len(line) for line in text[head : head + 10]}) == 1
    assert text[head].split().count("off") == 2 and "interior" in text[head + 1]
    assert "  at params = 10B, tokens = 100B" in text and "beyond the cells" in text[-1]


def test_laws_are_written_for_the_rules_of_a_study(table, tmp_path):
    out = tmp_path / "made" / "basins.json"
    done = call("basins", table, "--bootstrap", "20", "--lr-on", "params", "--out", out)
    assert done.returncode == 0 and f"{{kind: tuned, file: {out}}}" in done.stderr
    recipe = QUICKSTART.recipe.model_dump(mode="json") | {"batch_tokens": 128}
    recipe["optimizer"]["learning_rate"] = {"kind": "tuned", "file": str(out)}
    recipe, _ = settled(Recipe.model_validate(recipe), tmp_path)
    assert recipe.optimizer.peak({"params": 1e6}) == pytest.approx(2 * 1e6**-0.4, rel=0.02)
    assert recipe.shares_trunk
    done = call("basins", table, "--bootstrap", "20", "--out", tmp_path)
    assert done.returncode == 2 and f"--out {tmp_path}: cannot be written" in done.stderr


def test_a_law_that_no_recipe_takes_is_written_with_what_it_lacks(table, tmp_path):
    runs = pd.read_csv(table)
    runs[runs["tokens"] == 1e9].to_csv(tmp_path / "one.csv", index=False)
    done = call(
        "basins", tmp_path / "one.csv", "--batch", "none", "--bootstrap", "0", "--out", tmp_path / "lr.json"
    )
    assert "no recipe takes its law of lr" in done.stderr and "kind: tuned" not in done.stderr


def test_only_the_learning_rate_where_there_is_no_batch(table):
    runs = pd.read_csv(table)
    one = runs[runs["batch_tokens"] == runs.groupby("tokens")["batch_tokens"].transform("median")]
    path = table.parent / "rates.csv"
    one.drop(columns="batch_tokens").rename(columns={"lr": "max lr"}).to_csv(path, index=False)
    typed = ["--lr", "max lr", "--lr-on", "params", "--bootstrap", "0"]
    text = call("basins", path, *typed).stdout
    assert "note: no column batch_tokens: only the other is tuned" in text and "batch*" not in text
    again = shlex.split(text.splitlines()[-1].removeprefix("next: scaling "))
    assert again == ["basins", str(path), *typed, "--at", "params=1e10"]
    done = call(*again)
    assert done.returncode == 0 and "lr* = 0.0002" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--at", "params=1e9"), "lacks tokens, needed by lr* and batch*"),
        (("--at", "width=9,tokens=1"), "--at width=9: lr* and batch* has no such input"),
        (("--lr", "los"), "--lr los: no such column; did you mean 'loss'?"),
        (("--loss", "los", "--by", "param"), "--by param: no such column; did you mean 'params'?"),
        (("--loss", "los", "--by", "param"), "--loss los: no such column; did you mean 'loss'?"),
        (("--style", "paper"), "--style: belongs to --plot; name a folder: --plot figures"),
        (("--by", "params"), "lr_on = ('params', 'tokens'): name columns out of by"),
        (("--method", "best"), "method 'best' is unknown; choose one of quadratic, local, argmin"),
    ],
)
def test_mistakes_end_with_a_message_and_exit_code_2(table, arguments, says):
    done = call("basins", table, "--bootstrap", "0", *arguments)
    assert done.returncode == 2 and says in done.stderr and not done.stdout, done.stderr


def test_a_table_without_a_sweep_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n1e8,1e9,3\n2e8,1e9,2.9\n")
    done = call("basins", tmp_path / "runs.csv")
    assert done.returncode == 2 and "no column learning_rate or batch_tokens" in done.stderr
