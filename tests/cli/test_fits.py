"""Options of ``fit`` and ``import``, and messages in their words."""

import json

import numpy as np
import pandas as pd
import pytest

from scaling.cli.fits import as_options, bounds, fixed, pairs, reading
from scaling.errors import UserError
from tests.cli.call import call


def test_pairs():
    assert pairs(["a=1", " Model Size = x "], "--o", "") == {"a": "1", "Model Size": "x"}
    assert fixed(["E=1.8"]) == {"E": 1.8} and bounds(["alpha=0.1:1"]) == {"alpha": (0.1, 1.0)}
    assert reading(["params=N", "flops=none"], ["params=M"]) == {
        "columns": {"params": "N", "flops": None},
        "units": {"params": "M"},
    }
    assert reading(None, None) == {"columns": None, "units": None}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fixed(["E", "A=x"]), "--fixed E: must look like NAME=VALUE"),
        (lambda: fixed(["A=x"]), "--fixed A=x: must be a number"),
        (lambda: fixed(["A=1", "A=2"]), "is given twice"),
        (lambda: bounds(["a=1"]), "must be LOW:HIGH"),
        (lambda: bounds(["a=2:1"]), "two numbers that rise"),
    ],
)
def test_what_is_of_another_form_is_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_messages_speak_of_options():
    text = "say columns={'params': 'Model Size'} or columns={'flops': None}; units={'a': 'M', 'b': '1'}"
    wanted = "say --column 'params=Model Size' or --column flops=none; --unit a=M --unit b=1"
    assert as_options(text) == wanted


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
    call("import", tmp_path / "wild.csv", tmp_path / "runs.csv", "--unit", "params=M")
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
