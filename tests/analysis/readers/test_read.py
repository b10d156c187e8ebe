"""What trackers, trainers and people write, each recognised by its content."""

import bz2
import gzip
import json
import lzma

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, load
from analysis.readers.files import files
from analysis.readers.numbers import NumberFormat, proposal
from analysis.readers.read import read

ROWS = [(1e7, 2e8, 4.5), (1e8, 2e9, 3.4), (1e9, 2e10, 2.7)]
COLUMNS = ["params", "tokens", "loss"]
FRAME = pd.DataFrame(ROWS, columns=COLUMNS)


def write(tmp_path, content, name="runs"):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path / name


def refused(path, **options):
    with pytest.raises(AnalysisError) as error:
        read(path, **options)
    assert str(path) in str(error.value)
    return str(error.value)


def is_table(reading):
    np.testing.assert_allclose(reading.frame[COLUMNS].to_numpy(float), ROWS, rtol=1e-12)
    return True


def text(header="params,tokens,loss", rows=ROWS, delimiter=","):
    return "\n".join([header, *(delimiter.join(f"{x:.10g}" for x in row) for row in rows)]) + "\n"


@pytest.mark.parametrize("encode", [gzip.compress, bz2.compress, lzma.compress], ids=["gz", "bz2", "xz"])
def test_a_compressed_file_is_its_content(tmp_path, encode):
    assert is_table(read(write(tmp_path, encode(text().encode()))))


def test_a_damaged_archive_is_named(tmp_path):
    assert "cannot be read" in refused(write(tmp_path, gzip.compress(text().encode())[:30]))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_are_seen(tmp_path, encoding):
    reading = read(write(tmp_path, text().encode(encoding)))
    assert is_table(reading) and list(reading.frame.columns) == COLUMNS


def test_comments_are_left_out_and_named(tmp_path):
    content = "# made today\n# by, us, all\n" + text().replace("1e+09", "# 5e8,1e9,3\n1e+09")
    content = content.replace("1000000000,", "# once more\n1000000000,", 1)
    reading = read(write(tmp_path, content))
    assert is_table(reading) and reading.frame.index.tolist() == [4, 5, 7]
    assert reading.notes == ("comments left out (line 1, 2)", "comments left out (line 6)")


def test_a_header_may_be_a_comment(tmp_path):
    np.savetxt(tmp_path / "runs.dat", ROWS, header="params tokens loss")
    reading = read(tmp_path / "runs.dat")
    assert is_table(reading) and reading.notes == () and reading.frame.index.tolist() == [2, 3, 4]
    numbered = [(i, *row) for i, row in enumerate(ROWS)]
    reading = read(write(tmp_path, text("#,params,tokens,loss", numbered)))
    assert is_table(reading) and "columns without a name left out (places 1)" in reading.notes
    assert "numbers only: no header" in refused(write(tmp_path, text("").lstrip()))


def test_columns_between_spaces(tmp_path):
    assert is_table(read(write(tmp_path, FRAME.to_string(index=False))))
    reading = read(write(tmp_path, FRAME.to_string()))
    assert is_table(reading) and "columns without a name left out (places 1)" in reading.notes
    wide = FRAME.rename(columns={"params": "Model Size"}).to_string(index=False, col_space=14)
    assert list(read(write(tmp_path, wide)).frame.columns) == ["Model Size", "tokens", "loss"]
    by_r = '"params" "tokens" "loss"\n"1" 1e7 2e8 4.5\n"2" 1e8 2e9 3.4\n"3" 1e9 2e10 2.7\n'
    assert is_table(read(write(tmp_path, by_r)))
    assert "line 3 has 2" in refused(write(tmp_path, "a b c\n1 2 3\n1 2\n"))


def test_a_delimiter_at_the_end_of_rows_moves_no_column(tmp_path):
    reading = read(write(tmp_path, text().replace("\n", ",\n").replace("loss,", "loss")))
    assert is_table(reading) and reading.notes == ("the delimiter at the end of each row left out",)


MARKDOWN = """
Our runs:

| params | tokens | loss |
|-------:|:------:|------|
| 1e7 | 2e8 | 4.5 |
| 1e8 | 2e9 | **3.4** |
| 1e9 | 2e10 | `2.7` |
"""
PSQL = """
 params | tokens | loss
--------+--------+------
    1e7 |    2e8 |  4.5
    1e8 |    2e9 |  3.4
    1e9 |   2e10 |  2.7
"""
DRAWN = """
+--------+--------+------+
| params | tokens | loss |
+========+========+======+
| 1e7    | 2e8    | 4.5  |
| 1e8    | 2e9    | 3.4  |
| 1e9    | 2e10   | 2.7  |
+--------+--------+------+
"""


@pytest.mark.parametrize("content", [MARKDOWN, PSQL, DRAWN], ids=["markdown", "psql", "drawn"])
def test_tables_with_bars(tmp_path, content):
    reading = read(write(tmp_path, content))
    assert is_table(reading)
    assert reading.frame.index.tolist()[-1] == content[: content.index("2.7")].count("\n") + 1
    assert ("1 lines of text around the table left out" in reading.notes) == (content is MARKDOWN)
    assert "holds 2 tables" in refused(write(tmp_path, content + "\n" + content))


SPLIT = {"columns": COLUMNS, "data": ROWS}
LAYOUTS = {
    "records": FRAME.to_dict("records"),
    "lists": FRAME.to_dict("list"),
    "cells": json.loads(FRAME.to_json()),
    "index": {f"run{i}": row for i, row in enumerate(FRAME.to_dict("records"))},
    "split": SPLIT,
    "table": json.loads(FRAME.to_json(orient="table")),
    "wrapped": {"date": "today", "runs": FRAME.to_dict("records")},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("indent", [None, 1])
def test_layouts_of_json(tmp_path, layout, indent):
    assert is_table(read(write(tmp_path, json.dumps(LAYOUTS[layout], indent=indent))))


def test_nested_json_has_dotted_names(tmp_path):
    items = [{"config": {"model": {"n": n}, "betas": [0.9, 0.95]}, "loss": loss} for n, _, loss in ROWS]
    for content in (json.dumps(items), "\n".join(map(json.dumps, items))):
        frame = read(write(tmp_path, content)).frame
        assert frame["config.model.n"].tolist() == [1e7, 1e8, 1e9]
        assert frame["config.betas"].tolist() == ["[0.9, 0.95]"] * 3
    assert read(write(tmp_path, json.dumps(items[0]))).frame.shape == (1, 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([1, {"a": 1}], "item 1 is 1: no object"),
        ({"a": [1, 2], "b": [1]}, "columns of several lengths: 'a' has 2, 'b' has 1"),
        ({"a": [{"x": 1}], "b": [{"x": 1}], "c": 1}, "several tables: 'a', 'b'"),
        ({"columns": ["a", "b"], "data": [[1, 2], [1]]}, "row 2 has not 2 cells"),
        ({"columns": ["a", "a"], "data": [[1, 2]]}, "'a' is there 2 times"),
        ({}, "without members"),
    ],
)
def test_other_json_is_refused_with_what_it_is(tmp_path, content, says):
    assert says in refused(write(tmp_path, json.dumps(content)))


def test_broken_json_is_named_by_its_line(tmp_path):
    broken = json.dumps(LAYOUTS["records"], indent=1).replace("4.5\n", "4.5,,\n")
    assert "line 5: Expecting property name enclosed in double quotes" in refused(write(tmp_path, broken))
    assert "line 1: a key is there twice" in refused(write(tmp_path, '{"a": 1, "a": 2}\n{"a": 1}'))


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"PK\x03\x04..", "Excel"),
        (b"\x80\x05..", "pickle"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"%PDF-1.7", "a PDF"),
    ],
)
def test_other_formats_are_refused_with_what_they_are(tmp_path, start, says):
    assert says in refused(write(tmp_path, start))


def test_feather_and_an_index_of_parquet(tmp_path):
    FRAME.to_feather(tmp_path / "a")
    assert is_table(read(tmp_path / "a"))
    FRAME.set_index("params").to_parquet(tmp_path / "b")
    assert is_table(read(tmp_path / "b"))
    FRAME.set_index(pd.Index([7, 8, 90])).to_parquet(tmp_path / "c")
    reading = read(tmp_path / "c")
    assert is_table(reading) and reading.notes == ("the index without a name left out",)


EUROPEAN = (
    "params;tokens;loss\n10.000.000;200.000.000;4,5\n100.000.000;2.000.000.000;3,4\n1.000.000.000;2e10;2,7\n"
)


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        (EUROPEAN, NumberFormat(",", ".")),
        (EUROPEAN.replace(".", " "), NumberFormat(",", " ")),
        (EUROPEAN.replace(".", "\u202f"), NumberFormat(",", " ")),
        (EUROPEAN.replace(".", "'").replace(",", "."), NumberFormat(".", "'")),
        (EUROPEAN.replace(".", ";,").replace(",", ".").replace(";.", ","), NumberFormat(".", ",")),
    ],
)
def test_numbers_are_read_as_stated_and_no_other_way(tmp_path, content, numbers):
    path = write(tmp_path, content)
    assert is_table(read(path, numbers))
    plain = read(path).frame
    with pytest.raises((ValueError, TypeError, AssertionError)):
        np.testing.assert_allclose(plain[COLUMNS].to_numpy(float), ROWS)


def test_points_that_could_separate_thousands_are_asked_about(tmp_path):
    path = write(tmp_path, "params;tokens;loss\n12.000;240.000;6,8\n35.000;700.000;5,4\n")
    assert "thousands='.'" in refused(path, numbers=NumberFormat(","))
    assert read(path, NumberFormat(",", ".")).frame["params"].tolist() == [12000, 35000]
    mixed = write(tmp_path, "params;lr;loss\n12000;0.001;6,8\n35000;0.125;5,4\n")
    assert read(mixed, NumberFormat(",")).frame["lr"].tolist() == [0.001, 0.125]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["1,5"], ["decimal=','"]),
        (["1,234,567"], ["thousands=','"]),
        (["1,234.5"], ["thousands=','"]),
        (["1.234.567"], ["thousands='.'", " ", "decimal=','"]),
        (["1.234,5"], ["thousands='.'", " ", "decimal=','"]),
        (["1 234 567"], ["thousands=' '"]),
        (["1 234 567", "3,21"], ["thousands=' '", " ", "decimal=','"]),
        (["1'234'567"], ['thousands="\'"']),
        (["1,234"], ["thousands=','", " or ", "decimal=','"]),
        (["1,234", "0,5"], ["decimal=','"]),
        (["70M", "x", "1.2.3"], None),
    ],
)
def test_how_cells_prove_their_format(cells, says):
    offered = proposal(cells)
    assert (offered and [str(part) for part in offered]) == says


def test_a_format_of_numbers_is_checked():
    for wrong in (
        {"decimal": ";"},
        {"thousands": "x"},
        {"thousands": "."},
        {"decimal": ",", "thousands": ","},
    ):
        with pytest.raises(AnalysisError, match=next(iter(wrong))):
            NumberFormat(**wrong)


def test_wide_tables_are_melted(tmp_path):
    wide = "params,loss@2e8,loss@2e9,note\n1e7,4.5,4.1,a\n1e8,3.9,,b\n"
    reading = read(write(tmp_path, wide), melt="loss=loss@{tokens}")
    assert sorted(reading.frame[COLUMNS].to_numpy().tolist()) == [
        [1e7, 2e8, 4.5],
        [1e7, 2e9, 4.1],
        [1e8, 2e8, 3.9],
    ]
    assert reading.frame.index.tolist()[0] == "line 2, loss@2e8"
    assert reading.notes == (
        "2 columns like 'loss@{tokens}' melted to 3 rows of 'loss'; 1 empty cells left out",
    )
    bare = read(write(tmp_path, "params,2e8,4e8\n1e7,4.5,4.1\n"), melt="loss={tokens}").frame
    assert bare["tokens"].tolist() == [2e8, 4e8] and bare["params"].tolist() == [1e7, 1e7]
    several = read(write(tmp_path, "a,c4 @ 1B,pile @ 2B\n1,2,3\n"), melt="loss={corpus} @ {tokens}").frame
    assert several[["corpus", "tokens", "loss"]].to_numpy().tolist() == [["c4", "1B", 2], ["pile", "2B", 3]]


@pytest.mark.parametrize(
    ("melt", "says"),
    [
        ("loss", "must look like"), ("loss=x", "must look like"), ("loss=a@{n}", "no heading is like"),
        ("loss={params}", "no heading"), ("note=loss@{tokens}", "'note' is a column already"),
    ],
)  # fmt: skip
def test_a_bad_melt_is_refused(tmp_path, melt, says):
    path = write(tmp_path, "params,loss@2e8,note\n1e7,4.5,a\n")
    with pytest.raises(AnalysisError, match=says):
        read(path, melt=melt)


@pytest.mark.parametrize(
    "content",
    ["", "# a\n# b\n", "[]", "{}", '{"columns": [], "data": []}', "7", '{"log_history": [1]}', '{"a":' * 5000,
     '{"results": {"a": {"x": 1}}, "config": "x"}', ":W&B\u00e1", "| a |\n|---|"],
)  # fmt: skip
def test_what_holds_no_table_is_refused_or_has_no_columns_of_runs(tmp_path, content):
    with pytest.raises(AnalysisError) as error:
        load(write(tmp_path, content))
    assert all(str(tmp_path) in str(problem) for problem in error.value.problems)


def test_which_files_are_meant(tmp_path):
    for name in ("a/1.csv", "a/2.csv", "b/runs.csv"):
        write(tmp_path, text(), name)
    assert [file.path.name for file in files(str(tmp_path / "**/*.csv"))] == ["1.csv", "2.csv", "runs.csv"]
    assert [file.path.name for file in files([tmp_path / "a/2.csv", tmp_path / "b"])] == ["2.csv", "runs.csv"]
    for given, says in (
        ([tmp_path / "a/1.csv", str(tmp_path / "a/*.csv")], "given more than once"),
        (str(tmp_path / "*.csv"), "no file matches"),
        (tmp_path / "a", "no such file: runs.csv"),
        ([], "no table is given"),
    ):
        with pytest.raises(AnalysisError, match=says):
            files(given)
