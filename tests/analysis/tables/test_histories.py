"""Several rows a run: the last of each with a loss."""

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, estimate, fit, load
from analysis.tables.histories import History, history
from analysis.tables.loading import import_table
from analysis.tables.runs import select
from analysis.tables.table import about

TRUTH = {"E": 1.7, "A": 420.0, "B": 900.0, "alpha": 0.34, "beta": 0.30}


def loss(n, d):
    return TRUTH["E"] + TRUTH["A"] / n ** TRUTH["alpha"] + TRUTH["B"] / d ** TRUTH["beta"]


def logged(run="run", step="_step", decayed=0.9):
    """Logs of 12 runs, losses too high but for the last, whose rate has decayed; evaluated now and then."""
    rows = []
    for n in (1e7, 4e7, 1.6e8, 6.4e8):
        for ratio in (10, 20, 40):
            d = n * ratio
            for s in (1, 25, 50, 75, 100):
                at = loss(n, d * s / 100) * (1 if s == 100 else 1 / decayed)
                rows.append((f"n{n:.0e}-r{ratio}", s, n, d * s / 100, at if s in (50, 100) else np.nan))
    return pd.DataFrame(rows, columns=[run, step, "params", "tokens", "loss"])


@pytest.fixture
def saved(tmp_path):
    def save(table):
        table.to_csv(tmp_path / "log.csv", index=False)
        return tmp_path / "log.csv"

    return save


def right(table):
    found = fit("chinchilla", table, bootstrap=0)
    return found.objective.n == 12 and all(
        abs(found.solution[name] / value - 1) < 1e-4 for name, value in TRUTH.items()
    )


@pytest.mark.parametrize(
    ("run", "step"),
    [("run", "_step"), ("run_id", "step"), ("run_name", "global_step"), ("name", "trainer/global_step")],
)
def test_of_a_history_the_last_row_of_each_run_is_taken(saved, run, step):
    table = load(saved(logged(run, step).sample(frac=1, random_state=0)))
    assert len(table) == 12 and right(table)
    (note,) = (note for note in about(table).notes if "history" in note)
    assert "60 rows are the history of 12 runs" in note and repr(run) in note and repr(step) in note
    assert {row["reason"] for row in about(table).left_out} == {f"not the last of its {run}"}
    assert right(logged(run, step))  # a frame that was not loaded


def test_a_slip_in_one_size_does_not_make_its_rows_runs(saved):
    table = logged()
    table.loc[2, "params"] *= 10
    table = load(saved(table))
    assert right(table)
    assert any("the size changes within n1e+07-r10" in note for note in about(table).notes)


def test_tokens_that_rise_make_a_history_of_a_column_of_runs(saved):
    assert right(load(saved(logged().drop(columns="_step"))))


def test_every_row_is_kept_where_it_is_asked(saved, tmp_path):
    path = saved(logged().dropna())
    table = load(path, cells="all")
    assert len(table) == len(select(table)[0]) == 24 and about(table).run == "run"
    assert len(load(path, run="run", after=0.0)) == 24
    notes = import_table(path, tmp_path / "runs.csv")
    assert "12 rows left out: not the last of its run" in notes and right(load(tmp_path))
    with pytest.raises(AnalysisError, match="load the table with cells='all'"):
        estimate("envelope", load(path))
    assert len(estimate("envelope", table, bootstrap=0).data["run"]) == 24


def test_sizes_and_tokens_logged_apart_from_losses_are_taken_from_the_rows_before(saved):
    table = logged()
    evaluated = table.dropna()[["run", "_step", "loss"]]
    trained = table.drop(columns="loss")
    trained.loc[trained["_step"] > 1, "params"] = np.nan
    found = load(saved(pd.concat([trained, evaluated])))
    assert right(found) and any(note.startswith("params, tokens: empty") for note in about(found).notes)


def test_losses_from_before_the_end_and_runs_without_any_are_said(saved):
    table = logged()
    first, second = table["run"].unique()[:2]
    table.loc[(table["run"] == first) & (table["_step"] > 50), "loss"] = np.nan
    table.loc[table["run"] == second, "loss"] = np.nan
    found = load(saved(table))
    assert len(found) == 11
    assert any(
        "1 of these runs have no loss at their end, but from 50%" in note for note in about(found).notes
    )
    assert {"no loss in any row of its run", "not the last of its run"} == {
        row["reason"] for row in about(found).left_out
    }


def test_rows_that_are_runs_are_no_history():
    table = logged().groupby("run").tail(1)
    assert history(table) is None
    sizes = table.assign(run=[f"{n:.0e}" for n in table["params"]]).drop(columns="_step")
    assert history(sizes.rename(columns={"run": "model"})) is None  # of one size at several token counts
    assert history(sizes.rename(columns={"run": "name"})) is None
    assert history(table.assign(run=range(3, 15))) is None
    replicates = table.assign(run=np.arange(12) % 3)  # one name, several sizes
    assert history(replicates) is None
    assert history(logged()) == History("run", "_step")


def test_a_law_of_steps_keeps_the_history():
    kept, _ = select(logged().dropna(), needs="L")
    assert len(kept) == 24


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_history_in_the_wild(field, kind):
    path = field / "wandb_history" / f"history.{kind}"
    try:
        table = load(path)
    except AnalysisError as error:
        assert "columns={'tokens': 'throughput/total_tokens'}" in str(error)
        table = load(path, columns={"tokens": "throughput/total_tokens"})
    assert len(table) == 12 and any("252 rows are the history of 12 runs" in n for n in about(table).notes)
    right = {"E": 1.70, "A": 407.0, "B": 873.0}
    found = fit("chinchilla", table, bootstrap=0)
    assert all(ends.low <= right[name] <= ends.high
               for name, (_, ends) in found.estimates().items() if name in right)  # fmt: skip
    held = fit("chinchilla", table, fixed={"alpha": 0.34, "beta": 0.30}, bootstrap=0)
    assert all(abs(held.solution[name] / value - 1) < 0.03 for name, value in right.items())
