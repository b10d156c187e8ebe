"""Laws against one another on runs that they were not fitted to."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, Law, comparison
from analysis.comparison import compare


@pytest.fixture(scope="module")
def table():
    """A law with two exponents, noise by size."""
    rng = np.random.default_rng(0)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e9, 10), np.geomspace(1e9, 1e11, 6)))
    noise = 0.003 * rng.standard_normal(60) + np.tile(0.002 * rng.standard_normal(10), 6)
    loss = (1.7 + 400 / n**0.34 + 4000 / d**0.45) * np.exp(noise)
    return pd.DataFrame({"params": n, "tokens": d, "loss": loss, "run_id": [f"r{i}" for i in range(60)]})


def test_the_law_that_made_the_table_wins_beyond_it(table):
    found = compare(["power", "tied", "chinchilla"], table, bootstrap=0)
    assert found.best == "chinchilla" and found.ranked == "far" and "power" not in found.as_good
    rows = found.frame.set_index("law")
    assert rows.loc["chinchilla", "far"] < 0.006 < 0.03 < rows.loc["power", "far"]
    assert rows.loc["chinchilla", ["far_gap", "far_low", "far_high"]].tolist() == [0, 0, 0]
    assert rows.loc["power", "far_low"] > 1 and rows.loc["tied", "free"] == 4
    assert (
        "least error on the held-out end (far): chinchilla" in found.summary()
        and "times the compute" in found.notes[0]
    )
    ratio = rows.loc["power", "far"] / rows.loc["chinchilla", "far"]
    assert f"   {ratio:.2f}x [" in found.summary()  # rms errors, as the columns before
    assert comparison._ratio(-1.0) == "0x" and comparison._ratio(0.44) == "1.20x"
    assert json.loads(found.to_json())["laws"][0]["law"] == "chinchilla"
    assert found.as_good == ("chinchilla",)
    same = found.frame.assign(far_low=[0, 1e-8, 1.0])  # as of one law in two forms
    assert len(dataclasses.replace(found, frame=same).as_good) == 2


def test_errors_are_those_of_fits_without_the_held_out_runs(table):
    from analysis import fit

    found = compare(["tied", "power"], table, objective="log-ls", bootstrap=0)
    c = 6 * table["params"] * table["tokens"]
    held = c >= np.sort(c)[40]
    assert held.sum() == 20
    again = fit("tied", table[~held], objective="log-ls", bootstrap=0).predict(table[held])["loss"].to_numpy()
    error = np.log(again / table["loss"][held].to_numpy())
    row = found.frame.set_index("law").loc["tied"]
    assert row["far"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert row["bias"] == pytest.approx(np.mean(error), rel=1e-4)


def test_a_law_of_ones_own_and_rows_that_not_all_can_use(table):
    own = Law("cubes", {"E": {}, "A": {"size": "alpha"}})
    sizes = table.assign(size=table["params"] ** (1 / 3)).astype({"size": float})
    sizes.loc[3, "size"] = np.nan
    found = compare([own, "power-offset-params"], sizes, bootstrap=0)
    near, _ = found.frame["near"]
    assert found.frame["near"].iloc[1] == pytest.approx(near, rel=1e-3)  # the same law in another unit
    assert any(note.startswith("1 row that") for note in found.notes)
    assert set(found.as_good) == {"cubes", "power-offset-params"}


@pytest.mark.parametrize(
    ("laws", "options", "message"),
    [
        (["tied"], {}, "name two laws"),
        (["tied", "tied"], {}, "each once"),
        (["tied", "power"], {"folds": 1}, "folds = 1"),
        (["tied", "power"], {"where": "params < 2e7"}, "power|tied"),
    ],
)
def test_what_cannot_be_compared_is_said(table, laws, options, message):
    with pytest.raises(AnalysisError, match=message):
        compare(laws, table, bootstrap=0, **options)


def test_the_order_of_laws_and_rows_does_not_matter(table):
    """Laws sort their rows by their own inputs; without flops these are other orders."""
    mixed = table.sample(frac=1, random_state=1)
    one = compare(["chinchilla", "power-offset-params"], mixed, bootstrap=0).frame.set_index("law")
    two = compare(
        ["power-offset-params", "chinchilla"], mixed.assign(flops=1e3 * table["tokens"]), bootstrap=0
    )
    assert not one["far"].equals(two.frame.set_index("law")["far"])  # another end of the table
    full = mixed.assign(flops=6 * mixed["params"] * mixed["tokens"])
    three = compare(["power-offset-params", "chinchilla"], full, bootstrap=0).frame.set_index("law")
    for column in ("near", "far", "bias", "far_low"):
        assert one[column].to_dict() == pytest.approx(three[column].to_dict(), rel=1e-6), column
