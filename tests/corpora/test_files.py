"""Which files a pattern matches, and what is said where it matches none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from scaling.corpora.files import Patterns, matching
from scaling.corpora.text import Text
from scaling.errors import UserError
from tests.corpora.packed import complaint, write


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    write(tmp_path, {"b.txt": "b", "a.txt": "aa", "deep/er/c.txt": "c", ".hidden.txt": "h", "d.md": "d"})
    write(tmp_path, {"deep/.git/e.txt": "e", "odd[1].txt": "o"})
    return tmp_path


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*.txt"], ["a.txt", "b.txt", "odd[1].txt"]),
        (["**/*.txt"], ["a.txt", "b.txt", "deep/er/c.txt", "odd[1].txt"]),
        (["d.md", "./a.txt", "a.*", "deep/../a.txt"], ["a.txt", "d.md"]),
        ([".hidden.txt"], [".hidden.txt"]),
        (["odd[1].txt"], ["odd[1].txt"]),
    ],
)
def test_files_are_matched_once_and_sorted(notes: Path, patterns: list[str], names: list[str]) -> None:
    files = matching(patterns, notes)
    assert [file.name for file in files] == names
    assert [file.size for file in files] == [(notes / name).stat().st_size for name in names]


def test_absolute_paths_below_the_folder_are_named_relative_to_it(notes: Path, tmp_path: Path) -> None:
    assert [file.name for file in matching([f"{notes}/*.md"], notes)] == ["d.md"]
    assert [file.name for file in matching([f"{notes}/*.md"], notes / "deep")] == [f"{notes}/d.md"]
    assert [file.name for file in matching(["../*.md"], notes / "deep")] == ["../d.md"]


@pytest.mark.parametrize(
    ("pattern", "message", "hint"),
    [
        ("*.text", "'*.text' matches no file", "a.txt, b.txt"),
        ("nowhere/*.txt", "'nowhere/*.txt' matches no file", "a.txt, b.txt, d.md, deep, loose, odd[1].txt"),
        ("d.nd", "'d.nd': no such file", "did you mean 'd.md'?"),
        ("deep", "'deep' is a folder", "'deep/**/*'"),
        ("de*", "'de*' matches folders only", "de*/*"),
        ("pipe", "'pipe' is not a regular file", "copy it"),
        ("loose", "'loose': no such file", ""),
    ],
)
def test_what_is_no_file_is_refused(notes: Path, pattern: str, message: str, hint: str) -> None:
    os.mkfifo(notes / "pipe")
    (notes / "loose").symlink_to("gone")
    with pytest.raises(UserError) as caught:
        matching([pattern], notes)
    problem = complaint(caught.value)
    assert (problem.where, problem.message) == ("files", message)
    assert hint in problem.hint


def test_a_pattern_with_a_nul_is_refused_as_a_field() -> None:
    with pytest.raises(ValidationError, match="NUL") as caught:
        Text(files=("a.txt", "b\0.txt"))
    (problem,) = caught.value.errors()
    assert problem["loc"] == ("files", 1) and r"'b\x00.txt'" in problem["msg"]


def test_all_patterns_are_complained_of_at_once(notes: Path) -> None:
    with pytest.raises(UserError) as caught:
        matching(["a.txt", "x1", "x2"], notes)
    assert [p.message for p in caught.value.problems] == ["'x1': no such file", "'x2': no such file"]


def test_unreadable_files_are_refused(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may read all
    with pytest.raises(UserError, match=r"'a\.txt' must not be read"):
        matching(["a.txt"], notes)


def test_names_that_are_not_utf8_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    (file,) = matching(["*.txt"], tmp_path)
    assert file.name == "caf\ufffd.txt"
    assert file.path.read_text() == "x"


def test_one_pattern_or_several() -> None:
    patterns = TypeAdapter(Patterns)
    assert patterns.validate_python("*.txt") == ("*.txt",)
    assert patterns.validate_python(["a", "b"]) == ("a", "b")
    for bad in ([], "", [""], 3):
        with pytest.raises(ValidationError):
            patterns.validate_python(bad)


def test_parts_cover_a_file_in_ranges(tmp_path: Path) -> None:
    write(tmp_path, {"a": b"x" * 10, "empty": b""})
    a, empty = matching(["a", "empty"], tmp_path)
    assert [(p.first, p.last) for p in a.parts(4)] == [(0, 4), (4, 8), (8, None)]
    assert [(p.first, p.last) for p in a.parts(5)] == [(0, 5), (5, None)]
    assert [(p.first, p.last) for p in empty.parts(4)] == [(0, None)]


def test_what_a_study_wrote_is_no_text(tmp_path: Path) -> None:
    for name in (
        "a.txt",
        "results/s/plan.json",
        "results/s/summary.txt",
        "results/s/jobs/1/log.txt",
        "b/c.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    assert [file.name for file in matching(("**/*.txt",), tmp_path)] == ["a.txt", "b/c.txt"]
