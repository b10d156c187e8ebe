"""Documents of files of tokens."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from scaling.corpora import tokens
from scaling.corpora.base import Document
from scaling.corpora.tokens import Tokens
from scaling.errors import UserError
from scaling.tokenizers.base import TokenizerFacts
from tests.corpora.packed import complaint, read

END = 9
IDS = [1, 2, 3, END, 4, END, END, 5, 6]
DOCUMENTS = [[1, 2, 3], [4], [], [5, 6]]


def corpus(**fields: Any) -> Tokens:
    given = {"files": "x.*", "tokenizer": "ten", "vocab_size": 10, "document": {"separator": END}}
    return Tokens.model_validate(given | fields)


def lists(documents: list[Document]) -> list[list[int]]:
    return [list(document.content) for document in documents]


def header(magic: int, version: int, count: int) -> bytes:
    first = np.zeros(256, "<i4")
    first[:3] = magic, version, count
    return first.tobytes()


def bin_file(ids: list[int], dtype: str) -> bytes:
    return np.array(ids, dtype).tobytes()


def npy_file(folder: Path, ids: list[int], dtype: str) -> None:
    np.save(folder / "x.npy", np.array(ids, dtype))


@pytest.mark.parametrize("ids", [IDS, [END, *IDS], [*IDS, END], [END, *IDS, END]])
def test_documents_lie_between_separators_that_begin_or_end_them(ids: list[int], tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(bin_file(ids, "<u2"))
    assert lists(read(corpus(dtype="uint16"), tmp_path)) == DOCUMENTS


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        (bin_file(IDS, "<u2"), {"dtype": "uint16"}),
        (bin_file(IDS, "<u4"), {"dtype": "uint32"}),
        (header(20240520, 1, 9) + bin_file(IDS, "<u2"), {}),
        (header(20240520, 1, 9) + bin_file(IDS, "<u2"), {"dtype": "uint16"}),
        (header(20240801, 7, 9) + bin_file(IDS, "<u4"), {}),
    ],
)
def test_raw_files_and_headers(content: bytes, fields: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    documents = read(corpus(**fields), tmp_path)
    assert lists(documents) == DOCUMENTS
    assert [document.name for document in documents] == ["x.bin@0", "x.bin@4", "x.bin@6", "x.bin@7"]
    assert {np.asarray(document.content).dtype.name for document in documents} == {"uint8"}


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "i4", "i8"])
def test_numpy_files(dtype: str, tmp_path: Path) -> None:
    npy_file(tmp_path, IDS, dtype)
    assert lists(read(corpus(), tmp_path)) == DOCUMENTS
    assert lists(read(corpus(document={"tokens": 4}), tmp_path)) == [IDS[:4], IDS[4:8], IDS[8:]]


@given(
    st.lists(st.integers(6, END), max_size=40),
    st.integers(1, 10),
    st.sampled_from([{"separator": END}, {"tokens": 1}, {"tokens": 7}]),
)
@example([6] * 20, 3, {"tokens": 7})
@settings(deadline=None, max_examples=60)
def test_parts_give_the_documents_of_the_whole(ids: list[int], step: int, document: dict[str, int]) -> None:
    with TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        (folder / "x.bin").write_bytes(bin_file(ids, "<u2"))
        whole = read(corpus(dtype="uint16", document=document), folder)
        patch.setattr(tokens, "PART_BYTES", 2 * step)
        patch.setattr(tokens, "_CHUNK", 3)
        parts = read(corpus(dtype="uint16", document=document), folder)
    assert [(d.name, list(d.content)) for d in parts] == [(d.name, list(d.content)) for d in whole]
    kept = [i for d in whole for i in d.content]
    assert kept == [i for i in ids if document != {"separator": END} or i != END]


def test_what_a_store_says_of_tokens() -> None:
    assert corpus().facts() == TokenizerFacts(name="ten", vocab_size=10, separator=END, dtype="uint8")
    blocks = corpus(vocab_size=70_000, document={"tokens": 64})
    assert blocks.facts() == TokenizerFacts(name="ten", vocab_size=70_000, separator=None, dtype="uint32")


@pytest.mark.parametrize(
    ("content", "fields", "where", "message"),
    [
        (bin_file(IDS, "<u2"), {}, "dtype", "x.bin does not say the type of its tokens"),
        (b"abc", {"dtype": "uint16"}, "x.bin", "has 3 bytes, not a multiple of 2"),
        (
            bin_file(IDS * 20, "<u4"),
            {"dtype": "uint16"},
            "x.bin",
            "looks like uint32: every second uint16 is 0",
        ),
        (
            bin_file(IDS[:8], "<u2"),
            {"dtype": "uint32"},
            "x.bin",
            "token 0 is 131073, not below vocab_size = 10",
        ),
        (
            bin_file([1, 2, 10], "<u2"),
            {"dtype": "uint16"},
            "x.bin",
            "token 2 is 10, not below vocab_size = 10",
        ),
        (header(20240520, 1, 8) + b"12" * 9, {}, "x.bin", "has 9 tokens, its header says 8"),
        (header(20240520, 1, 9) + b"12" * 8, {}, "x.bin", "has 8 tokens, its header says 9"),
        (header(20240520, 1, 9) + b"12" * 9, {"dtype": "uint32"}, "dtype", "x.bin holds uint16, not uint32"),
        (header(20240520, 2, 9), {}, "x.bin", "has a header of version 2, which is not known"),
        (
            bin_file([1, 2, END], "<u2"),
            {"dtype": "uint16", "document": {"separator": 10}},
            "document.separator",
            "separator = 10 is not below vocab_size = 10",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(
    content: bytes, fields: dict[str, Any], where: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(corpus(**fields), tmp_path)
    problem = complaint(caught.value)
    assert (problem.where, problem.message) == (where, message)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3), np.uint16), r"has shape \(2, 3\), not one axis"),
        (np.zeros(3, np.float32), "holds float32, not whole numbers"),
        (np.array([1, -1]), "token 1 is -1, not below vocab_size = 10"),
        (np.array([{}]), "cannot be read as .npy: "),
    ],
)
def test_arrays_that_are_no_tokens_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=rf"^x\.npy: {message}"):
        read(corpus(), tmp_path)


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    npy_file(tmp_path, IDS, "u2")
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-2])
    with pytest.raises(UserError, match=r"^x\.npy: cannot be read as \.npy: "):
        read(corpus(), tmp_path)


def test_packed_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"^x\.npz: is packed; unpack it first"):
        read(corpus(), tmp_path)


def test_files_without_separator_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "LARGEST_DOCUMENT", 100)
    monkeypatch.setattr(tokens, "_CHUNK", 50)
    (tmp_path / "x.bin").write_bytes(bin_file([END] + [1] * 150, "<u2"))
    with pytest.raises(UserError, match=r"x\.bin: has no separator 9 in 100 tokens from 1"):
        read(corpus(dtype="uint16"), tmp_path)


@pytest.mark.parametrize(
    "document", [{}, {"separator": -1}, {"tokens": 0}, "line", {"separator": 1, "tokens": 2}]
)
def test_unknown_forms_are_refused(document: Any) -> None:
    with pytest.raises(ValidationError):
        corpus(document=document)
