"""Where documents begin and end, whatever the parts, the packing and the size of buffers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scaling.corpora import streams
from scaling.corpora.base import Part
from scaling.corpora.files import InputFile
from scaling.errors import UserError
from tests.corpora.packed import PACKERS, complaint

Reader = Callable[[Part], Iterator[tuple[int, bytes]]]

READERS: dict[str, Reader] = {
    "lines": streams.lines,
    "paragraphs": streams.paragraphs,
    "two newlines": lambda part: streams.pieces(part, b"\n\n"),
    "aba": lambda part: streams.pieces(part, b"aba"),
    "one byte": lambda part: streams.pieces(part, b"\n"),
}
WHOLE = "whole"


def file_of(folder: Path, content: bytes, name: str = "x") -> InputFile:
    (folder / name).write_bytes(content)
    return InputFile(folder / name, name, len(content))


@pytest.mark.parametrize("reader", READERS)
@given(
    st.lists(st.sampled_from([b"\n", b"\n\n", b"a", b"b", b"ab", b" ", b"\r\n"]), max_size=40),
    st.integers(1, 12),
    st.integers(2, 8),
)
@example([b"ab", b"a", b"b", b"a", b"b"], 1, 2)
@example([b"\n"] * 7, 2, 2)
@settings(deadline=None, max_examples=40)
def test_parts_give_the_documents_of_the_whole(reader: str, bits: list[bytes], step: int, chunk: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        file = file_of(Path(folder), b"".join(bits))
        whole = list(READERS[reader](Part(file.path, file.name)))
        patch.setattr(streams, "_CHUNK", chunk)
        parts = [list(READERS[reader](part)) for part in file.parts(step)]
    assert [document for part in parts for document in part] == whole
    assert all(b"".join(bits)[at : at + len(content)] == content for at, content in whole)


@pytest.mark.parametrize(
    ("reader", "content", "documents"),
    [
        ("lines", b"a\n\nb\r\nc", [b"a\n", b"\n", b"b\r\n", b"c"]),
        ("paragraphs", b"\n\na\nb\n \t\n\r\nc\r\n\r\nd\n", [b"a\nb", b"c", b"d"]),
        ("two newlines", b"a\nb\n\n\n\nc\n\nd\n", [b"a\nb", b"c", b"d\n"]),
        ("aba", b"xabababayababz", [b"x", b"y", b"bz"]),
        ("one byte", b"\na\n\nb\n", [b"a", b"", b"b"]),
        ("two newlines", b"", []),
        ("paragraphs", b"\n \n", []),
        ("lines", b"\xef\xbb\xbfa\n", [b"a\n"]),
        ("two newlines", b"\xef\xbb\xbfa\n\nb", [b"a", b"b"]),
    ],
)
@pytest.mark.parametrize("packing", PACKERS)
def test_documents(reader: str, content: bytes, documents: list[bytes], packing: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, PACKERS[packing](content), f"x{packing}")
    assert [text for _, text in READERS[reader](Part(file.path, file.name))] == documents


@pytest.mark.parametrize("packing", PACKERS)
def test_packed_files_of_several_members_are_read_whole(packing: str, tmp_path: Path) -> None:
    first, second = bytes(range(1, 250)) * 2000, b"\n"
    file = file_of(tmp_path, PACKERS[packing](first) + PACKERS[packing](second), f"x{packing}")
    assert streams.whole(Part(file.path, file.name)) == first + second


@pytest.mark.parametrize("packing", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("reader", [WHOLE, "lines", "aba"])
def test_truncated_files_are_refused(packing: str, reader: str, tmp_path: Path) -> None:
    text = "".join(f"{i * i}\n" for i in range(5_000)).encode()
    packed = PACKERS[packing](text)
    for length in (10, len(packed) // 2, len(packed) - 1):
        file = file_of(tmp_path, packed[:length], f"x.jsonl{packing}")
        part = Part(file.path, file.name)
        with pytest.raises(UserError) as caught:
            streams.whole(part) if reader == WHOLE else list(READERS[reader](part))
        problem = complaint(caught.value)
        assert (problem.where, problem.message) == (f"x.jsonl{packing}", "ends too early")


@pytest.mark.parametrize("packing", [".gz", ".xz", ".zst"])
def test_files_that_are_not_packed_are_refused(packing: str, tmp_path: Path) -> None:
    file = file_of(tmp_path, b"only text, many lines of it\n" * 100, f"x{packing}")
    with pytest.raises(UserError, match=f"x{packing}: .*not a whole {packing} file"):
        streams.whole(Part(file.path, file.name))


def test_files_that_are_gone_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="x: cannot be read: No such file"):
        streams.whole(Part(tmp_path / "x", "x"))


@pytest.mark.parametrize("reader", [WHOLE, *READERS])
def test_documents_too_large_for_memory_are_refused(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LARGEST_DOCUMENT", 2**20)
    file = file_of(tmp_path, b"a line\n" * 10 + b"x" * 2**20 + b"y")
    with pytest.raises(UserError, match="x: has a document of more than 1 MB"):
        part = Part(file.path, file.name)
        streams.whole(part) if reader == WHOLE else list(READERS[reader](part))


def test_lines_are_counted_from_the_beginning_of_the_file(tmp_path: Path) -> None:
    file = file_of(tmp_path, b"a\nbb\nccc\n")
    assert [streams.line_at(file.path, at) for at, _ in streams.lines(Part(file.path, "x"))] == [1, 2, 3]
