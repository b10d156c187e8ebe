"""A line of totals is no run, and an index no quantity."""

import pandas as pd
import pytest

from analysis import AnalysisError, fit, load
from analysis.tables.table import about

SIZES = [(n, n * ratio) for n in (1e7, 4e7, 1.6e8, 6.4e8) for ratio in (10, 20, 40)]
ROWS = [
    (f"r{i}", int(n), int(d), round(1.7 + 420 / n**0.34 + 900 / d**0.3, 5)) for i, (n, d) in enumerate(SIZES)
]
COLUMNS = ("run", "params", "tokens", "loss")


def summed(i, mean=False):
    return sum(row[i] for row in ROWS) / (len(ROWS) if mean else 1)


@pytest.fixture
def write(tmp_path):
    def save(*more, rows=ROWS, columns=COLUMNS):
        lines = [",".join(map(str, row)) for row in (columns, *rows, *more)]
        (tmp_path / "runs.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "runs.csv"

    return save


@pytest.mark.parametrize(
    "line",
    [
        ("Total", "", "", ""),
        ("Total", summed(1), summed(2), ""),
        ("total", summed(1), summed(2), f"{summed(3, mean=True):.3f}"),
        ("", "mean", "", summed(3, mean=True)),
        ("Average", "", "", f"{summed(3, mean=True):.3f}"),
        ("", summed(1), summed(2), summed(3, mean=True)),
        ("", summed(1), summed(2), summed(3)),
        ("MAX", ROWS[-1][1], ROWS[-1][2], max(row[3] for row in ROWS)),
    ],
)
def test_a_line_of_totals_is_left_out_and_named(write, line):
    found, truth = load(write(line)), load(write())
    assert len(found) == len(truth) == 12
    assert found["params"].dtype == truth["params"].dtype and found["loss"].equals(truth["loss"])
    (row,) = about(found).left_out
    assert row["row"] == "line 14" and row["reason"].endswith("of the other rows")
    assert any(note.startswith("line 14 is the ") for note in about(found).notes)


def test_a_description_below_a_table_is_left_out(write):
    frame = pd.DataFrame(ROWS, columns=COLUMNS).describe().loc[["count", "mean", "std", "min", "max"]]
    found = load(write(*[(name, *row) for name, row in zip(frame.index, frame.to_numpy(), strict=True)]))
    assert len(found) == 12 and len(about(found).left_out) == 5


def test_what_may_be_a_total_is_asked_about_and_left_out_as_advised(write):
    path = write(("total", 5_000_000, 7_000_000_000, 3.0))
    with pytest.raises(AnalysisError) as error:
        load(path)
    assert "line 14 is called 'total'" in str(error.value)
    assert "where='run != \"total\"'" in str(error.value)
    assert len(load(path, where='run != "total"')) == 12


def test_runs_are_no_totals(write):
    corpora = [("mean" if i % 2 else "sum", *row[1:]) for i, row in enumerate(ROWS)]
    assert len(load(write(rows=corpora, columns=("pooling", *COLUMNS[1:])))) == 12
    assert len(load(write(("max", 10**9, 10**10, 2.5)))) == 13  # a run of that name
    doubling = [(f"r{i}", 10**7 * 2**i, 10**9 * 2**i, 4 - 0.1 * i) for i in range(8)]
    assert len(load(write(rows=doubling))) == 8


@pytest.mark.parametrize("name", ["index", "Unnamed: 0", "row"])
def test_a_column_that_counts_the_rows_is_named(write, name):
    found = load(write(rows=[(i, *row[1:]) for i, row in enumerate(ROWS)], columns=(name, *COLUMNS[1:])))
    assert f"column {name!r} only counts the rows: it is not used" in about(found).notes


@pytest.mark.parametrize("name", ["total_row.csv", "unnamed0.csv", "indexed.parquet"])
def test_a_table_in_the_wild(field, name):
    found = fit("chinchilla", load(field / "formats" / name), bootstrap=0)
    right = {"E": (1.754, 0.001), "alpha": (0.349, 0.001), "beta": (0.297, 0.001)}
    assert all(abs(found.solution[x] - value) < tolerance for x, (value, tolerance) in right.items())
    assert (
        name != "total_row.csv"
        or "line 27 is the mean of the other rows, and no run: left out" in found.notes
    )
