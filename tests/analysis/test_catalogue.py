import pandas as pd
import pytest

from analysis import LAWS, AnalysisError, estimators
from analysis.catalogue import ESTIMATORS, Entry, catalogue, feeds
from analysis.fits.options import FitOptions
from analysis.fits.rows import prepare


def test_it_lists_everything_that_is_there():
    names = [entry.name for entry in catalogue()]
    assert set(LAWS) | set(estimators.ESTIMATORS) <= set(names) and len(set(names)) == len(names)
    assert all(entry.formula and entry.needs and entry.source for entry in catalogue())
    assert all(entry.assumptions for entry in ESTIMATORS.values())


def test_a_law_can_be_fed_by_exactly_the_columns_it_is_said_to_need():
    for entry in (e for e in catalogue() if e.kind == "law"):
        table = pd.DataFrame({column: [1e6, 2e6, 3e6] for column in entry.needs})
        assert len(prepare(LAWS[entry.name], table, FitOptions()).target) == 3
        for column in entry.needs:
            rest = table.drop(columns=column)
            if column == "flops" and {"params", "tokens"} <= set(rest.columns):  # C follows from them
                assert len(prepare(LAWS[entry.name], rest, FitOptions()).target) == 3
                continue
            with pytest.raises(AnalysisError, match=f"column '{column}'"):
                prepare(LAWS[entry.name], rest, FitOptions())


def test_what_a_table_lacks(tmp_path):
    table = pd.DataFrame({"Model Size (B)": [1.0], "C": [1e20], "loss": [None], "step": [1]})
    table.to_csv(tmp_path / "t.csv", index=False)
    lacks, notes = feeds(tmp_path / "t.csv")
    assert lacks["chinchilla"] == ("loss",) and lacks["hull"] == ("loss",)  # D = C / 6 N; no loss has a value
    assert any("Model Size (B)" in note for note in notes)
    table.assign(loss=2.0).drop(columns="C").to_csv(tmp_path / "u.csv", index=False)
    lacks, _ = feeds(tmp_path / "u.csv")
    assert lacks["power-params"] == () and lacks["power"] == ("flops",) and lacks["tied"] == ("tokens",)
    table.assign(loss=2.0, batch_tokens=2e5, steps=3e3).drop(columns="C").to_csv(
        tmp_path / "w.csv", index=False
    )
    assert feeds(tmp_path / "w.csv")[0]["tied"] == feeds(tmp_path / "w.csv")[0]["power"] == ()
    with pytest.raises(AnalysisError, match="no such file"):
        feeds(tmp_path / "v.csv")


def test_a_folder_has_runs_and_curves(tmp_path):
    entry = Entry("x", "curve law", "L", ("curve", "step", "loss"), "", "", "")
    assert entry.lacks({"step", "loss"}) == ("curve",)
    pd.DataFrame({"params": [1e6], "tokens": [1e8], "loss": [3.0]}).to_csv(tmp_path / "runs.csv", index=False)
    assert feeds(tmp_path)[0]["parabola"] == ()
