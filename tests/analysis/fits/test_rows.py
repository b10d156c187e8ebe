"""What a fit needs of a table, by its law; what it says of the rows and columns it cannot use."""

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, Law, fit, load
from analysis.fits.options import FitOptions
from analysis.fits.rows import prepare
from analysis.laws.shipped import LAWS
from analysis.tables.table import about, tell

X = np.geomspace(1e8, 1e12, 12)


@pytest.mark.parametrize(("law", "column"), [("power-tokens", "tokens"), ("power", "flops")])
def test_a_law_of_one_input_needs_no_other_column(law, column):
    found = fit(law, pd.DataFrame({column: X, "loss": 30 * X**-0.1}), bootstrap=0)
    assert found.params["alpha"] == pytest.approx(0.1, rel=1e-5)
    junk = pd.DataFrame({column: X, "loss": 30 * X**-0.1, "params": "unknown"})
    assert fit(law, junk, bootstrap=0).solution == found.solution
    typo = junk.astype({column: object})
    typo.loc[5, column] = "12M"
    (left_out,) = prepare(LAWS[law], typo, FitOptions()).excluded
    assert left_out["row"] == "row 5" and "= 12M is not finite and positive" in left_out["reason"]


def test_compute_is_taken_as_given_and_filled_where_it_is_not():
    table = pd.DataFrame({"params": X / 20, "tokens": X, "loss": 30 * X**-0.1})
    table["flops"] = np.where(np.arange(12) % 2, 7 * X**2 / 20, np.nan)
    rows = prepare(LAWS["power"], table, FitOptions())
    ratio = rows.inputs["C"] / (rows.frame["params"] * rows.frame["tokens"])
    assert sorted(ratio) == pytest.approx([6] * 6 + [7] * 6, rel=1e-12)
    with pytest.raises(
        AnalysisError, match="'flops' is missing; law 'power' needs flops, loss; columns here"
    ):
        prepare(LAWS["power"], table[["tokens", "loss"]], FitOptions())


def test_options_that_name_no_column_are_told_by_their_name(study):
    with pytest.raises(AnalysisError) as error:
        fit("chinchilla", study, weights="weight", groups="Corpus", cluster="trunk", target="lss")
    told = [str(problem) for problem in error.value.problems]
    assert [problem.split("=")[0] for problem in told] == ["weights", "groups", "cluster", "target"]
    assert "cluster='trunk': no such column; did you mean 'trunk_id'?" in told
    assert "target='lss': no such column; did you mean 'loss'?" in told


def test_columns_go_by_the_names_they_had_in_the_file(tmp_path):
    n, d = (axis.ravel() for axis in np.meshgrid(X[:4] / 20, X[:4]))
    table = pd.DataFrame({"N": n, "D": d, "nll": 1.7 + 400 / n**0.34 + 410 / d**0.28, "lr": 1.0 + (n > 2e7)})
    table.to_csv(tmp_path / "t.csv", index=False)
    loaded = load(tmp_path / "t.csv", needs=("params", "tokens", "val"))
    assert prepare(LAWS["chinchilla"], loaded, FitOptions(weights="lr")).weights is not None
    law = Law("by rate", {"E": {}, "A": {"lr": "k"}})
    assert "lr" in load(tmp_path / "t.csv", needs=("lr", "loss")).columns  # a column that is needed keeps it
    with pytest.raises(AnalysisError, match="column 'lr' is missing"):
        prepare(law, load(tmp_path / "t.csv"), FitOptions())


def test_checkpoints_share_the_noise_of_their_run():
    table = pd.DataFrame({"run": ["a", "b", "c"] * 4, "tokens": X, "loss": 30 * X**-0.1})
    tell(table, run="run")
    rows = prepare(LAWS["power-tokens"], table, FitOptions())
    assert rows.by == "run" and rows.cluster.max() == 2
    assert (
        len(
            set(
                prepare(LAWS["power-tokens"], table.assign(run="a", trunk_id=range(12)), FitOptions()).cluster
            )
        )
        == 12
    )


def test_what_was_left_out_on_loading_is_listed_by_the_fit(tmp_path):
    frame = pd.DataFrame({"params": 1e8, "tokens": X, "loss": 3 - np.log(X) / 100, "status": "ok"})
    frame.loc[3, "status"] = "diverged"
    frame.to_csv(tmp_path / "t.csv", index=False)
    rows = prepare(LAWS["chinchilla"], load(tmp_path / "t.csv", where="tokens > 2e8"), FitOptions())
    assert [row["row"] for row in rows.excluded] == ["line 2", "line 5"]
    assert rows.by == "run (all of one size)"
    text = fit("power-tokens", load(tmp_path / "t.csv", where="tokens > 2e8"), bootstrap=0).summary()
    assert "left out: 1 row, where: tokens > 200000000\n" in text
    assert text.count("diverged") == 2  # the row left out, and one note of what that may do


def test_magnitudes_of_a_frame_that_was_not_loaded_are_noted():
    table = pd.DataFrame({"params": [10.0, 1e8, 1e9], "tokens": [2e8, 2e9, 2e10], "loss": [4.0, 3.0, 2.0]})
    assert any(
        "mixed units" in note for note in about(prepare(LAWS["chinchilla"], table, FitOptions()).frame).notes
    )
    fine = prepare(LAWS["chinchilla"], table.assign(params=[1e7, 1e8, 1e9]), FitOptions())
    assert not any("units" in note for note in about(fine.frame).notes)


def test_a_target_that_rises_is_told_and_the_advice_gives_its_law():
    rng, cells = (
        np.random.default_rng(0),
        [(n, n * r) for n in (1e7, 4e7, 1.6e8, 6.4e8) for r in (5, 10, 20, 40)],
    )
    table = pd.DataFrame(cells, columns=["params", "tokens"])
    error = (0.1 + 20 / table["params"] ** 0.3 + 30 / table["tokens"] ** 0.3) * np.exp(
        0.002 * rng.normal(size=16)
    )
    table["accuracy"] = 1 - error
    found = fit("chinchilla", table, target="accuracy", bootstrap=0)
    assert (
        found.status.code == "not_identified"
        and "'accuracy' rises with size and tokens" in found.status.message
    )
    advised = "fit('chinchilla', table.assign(error=1 - table['accuracy']), target='error')"
    assert advised in found.status.advice and "twostep" in found.status.advice
    right = fit("chinchilla", table.assign(error=1 - table["accuracy"]), target="error", bootstrap=0)
    assert right.usable and abs(right.solution["E"] / 0.1 - 1) < 0.3
    percent = fit(
        "chinchilla", table.assign(accuracy=100 * table["accuracy"]), target="accuracy", bootstrap=0
    )
    assert "error=100 - table['accuracy']" in percent.status.advice
