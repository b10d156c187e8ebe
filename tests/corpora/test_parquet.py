"""Documents of Parquet files."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.corpora import parquet
from scaling.corpora.base import Tally
from scaling.corpora.parquet import Parquet
from scaling.errors import UserError
from tests.corpora.packed import complaint, contents, read

MAP = pa.map_(pa.string(), pa.string())
ROWS = [f"row {i}" * (1 + i % 7) for i in range(1000)]


def save(path: Path, columns: dict[str, Any], rows_in_group: int = 300) -> None:
    pq.write_table(pa.table(columns), path, row_group_size=rows_in_group)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("text", ("text", pa.array(ROWS))),
        ("text", ("text", pa.array(ROWS, pa.large_string()))),
        ("text", ("text", pa.array(ROWS, pa.binary()))),
        ("text", ("text", pa.array(ROWS).dictionary_encode())),
        ("a.b", ("a.b", pa.array(ROWS))),
        ("a.b", ("a", pa.array([{"b": row, "n": 1} for row in ROWS]))),
        ("a.b.c", ("a", pa.array([{"b": {"c": row}} for row in ROWS]))),
    ],
)
def test_rows_are_documents(text: str, column: tuple[str, Any], tmp_path: Path) -> None:
    name, values = column
    save(tmp_path / "x.parquet", {"id": range(1000), name: values})
    documents = read(Parquet(files=("x.parquet",), text=text), tmp_path)
    assert [bytes(document.content).decode() for document in documents] == ROWS


@pytest.mark.parametrize(("size", "ranges"), [(2**20, [0, 4]), (20_000, [0, 3, 4]), (1, [0, 1, 2, 3, 4])])
def test_parts_are_rows_of_groups(
    size: int, ranges: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "x.parquet", {"text": ROWS})
    monkeypatch.setattr(parquet, "PART_BYTES", size)
    corpus = Parquet(files=("x.parquet",))
    parts = corpus.parts(tmp_path)
    assert [(part.first, part.last) for part in parts] == list(pairwise(ranges))
    assert [document.name for document in read(corpus, tmp_path)] == [
        f"x.parquet:{i}" for i in range(1, 1001)
    ]


def test_nulls_are_empty_documents(tmp_path: Path) -> None:
    save(tmp_path / "x.parquet", {"a": pa.array([None, {"text": None}, {"text": "x"}])})
    corpus = Parquet(files=("x.parquet",), text="a.text")
    (part,) = corpus.parts(tmp_path)
    tally = Tally()
    assert [document.content for document in corpus.documents(part, tally)] == [b"x"]
    assert tally.counts == {"empty": 2}


def test_a_file_without_rows_has_no_documents(tmp_path: Path) -> None:
    save(tmp_path / "x.parquet", {"text": pa.array([], pa.string())})
    assert contents(Parquet(files=("x.parquet",)), tmp_path) == []


def test_bytes_that_are_not_utf8_come_to_the_check_of_documents(tmp_path: Path) -> None:
    text = pa.array([b"good", b"b\xffd"]).view(pa.string())
    save(tmp_path / "x.parquet", {"text": text})
    corpus = Parquet(files=("x.parquet",))
    (part,) = corpus.parts(tmp_path)
    with pytest.raises(UserError, match=r"x\.parquet:2: byte 0xff, which is not UTF-8 at byte 1"):
        list(corpus.documents(part, Tally()))


@pytest.mark.parametrize(
    ("columns", "text", "message", "hint"),
    [
        ({"texts": ["x"], "id": [1]}, "text", "x.parquet has no column 'text'", "did you mean 'texts'?"),
        ({"body": ["x"], "id": [1]}, "text", "x.parquet has no column 'text'", "columns there: body, id"),
        ({"a": [{"b": "x"}]}, "a", "x.parquet has no column 'a'", "a.b"),
        ({"text": [1]}, "text", "column 'text' of x.parquet is INT64, not text", "with text"),
        ({"text": [["x"]]}, "text", "column 'text' of x.parquet has lists", "name a file with text"),
        ({"texts": [["x"]], "b": ["x"]}, "text", "x.parquet has no column 'text'", "columns there: b"),
        ({"texts": [["x"]], "b": ["x"]}, "texts", "column 'texts' of x.parquet has lists", "there: b"),
        ({"a": [["x"]]}, "a.list.element", "column 'a.list.element' of x.parquet has lists", "a file"),
        ({"a": pa.array([[("k", "x")]], MAP)}, "a.key_value.value", "of x.parquet has lists or maps", ""),
    ],
)
def test_columns_that_are_no_text_are_refused(
    columns: dict[str, Any], text: str, message: str, hint: str, tmp_path: Path
) -> None:
    save(tmp_path / "x.parquet", columns)
    with pytest.raises(UserError) as caught:
        Parquet(files=("*.parquet",), text=text).parts(tmp_path)
    problem = complaint(caught.value)
    assert problem.where == "text" and message in problem.message
    assert hint in problem.hint


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    save(path, {"text": ROWS})
    whole = path.read_bytes()
    corpus = Parquet(files=("x.parquet",))
    (part,) = corpus.parts(tmp_path)
    for content in (b"text", b"", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"^x\.parquet: cannot be read as Parquet: "):
            corpus.parts(tmp_path)
    path.write_bytes(b"\xff" * 2000 + whole[2000:])  # the footer is whole
    with pytest.raises(UserError, match=r"^x\.parquet: cannot be read as Parquet: "):
        list(corpus.read(part))


MEMORY = """
import re, sys
from pathlib import Path
from scaling.corpora.parquet import Parquet
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
corpus, folder = Parquet(files=("x.parquet",)), Path(sys.argv[1])
parts, before = corpus.parts(folder), peak()
print(sum(len(document.content) for part in parts for document in corpus.read(part)), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_row_groups_are_never_in_memory_whole(tmp_path: Path) -> None:
    words = " ".join(f"{i * i:x}" for i in range(10_000))
    table = pa.table({"text": [words[i : i + 10_000] for i in range(12_000)]})
    pq.write_table(table, tmp_path / "x.parquet", use_dictionary=False, compression="none")
    run = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True)
    size, grown = map(int, run.stdout.split())
    assert size == 12_000 * 10_000
    assert grown < 80e6
