"""Documents of plain text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scaling.corpora import files
from scaling.corpora.base import Tally
from scaling.corpora.text import Text
from scaling.errors import UserError
from tests.corpora.packed import PACKERS, complaint, contents, read, write

FILES: dict[str, bytes | str] = {"b.txt": "one\ntwo\n\nthree\n", "a.txt": "<>four<>\nfive"}


@pytest.mark.parametrize(
    ("document", "documents"),
    [
        ("file", [b"<>four<>\nfive", b"one\ntwo\n\nthree\n"]),
        ("line", [b"<>four<>", b"five", b"one", b"two", b"", b"three"]),
        ("paragraph", [b"<>four<>\nfive", b"one\ntwo", b"three"]),
        ({"separator": "<>"}, [b"four", b"\nfive", b"one\ntwo\n\nthree\n"]),
    ],
)
@pytest.mark.parametrize("packing", PACKERS)
def test_documents_of_each_form(document: Any, documents: list[bytes], packing: str, tmp_path: Path) -> None:
    pack = PACKERS[packing]
    write(tmp_path, {f"{name}{packing}": pack(str(text).encode()) for name, text in FILES.items()})
    assert contents(Text(files=("*",), document=document), tmp_path) == documents


def test_documents_are_named_by_file_and_place(tmp_path: Path) -> None:
    write(tmp_path, {"notes/a.txt": "one\n\ntwo\n"})
    names = {
        form: [document.name for document in read(Text(files=("**/*.txt",), document=form), tmp_path)]
        for form in ("file", "line", "paragraph")
    }
    assert names["file"] == ["notes/a.txt"]
    assert names["line"] == ["notes/a.txt:1", "notes/a.txt:2", "notes/a.txt:3"]
    assert names["paragraph"] == ["notes/a.txt@0", "notes/a.txt@5"]


@pytest.mark.parametrize("document", ["line", "paragraph", {"separator": "\n\n\n"}])
def test_large_files_are_read_in_parts(
    document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(f"line {i}\n" + "\n" * (i % 5) for i in range(1000))
    write(tmp_path, {"a.txt": text, "b.txt.gz": PACKERS[".gz"](text.encode())})
    whole = contents(Text(files=("a.txt",), document=document), tmp_path)
    monkeypatch.setattr(files.InputFile.parts, "__defaults__", (1000,))
    assert len(Text(files=("a.txt",), document=document).parts(tmp_path)) == len(text) // 1000 + 1
    assert contents(Text(files=("a.txt",), document=document), tmp_path) == whole
    assert len(Text(files=("b.txt.gz",), document=document).parts(tmp_path)) == 1
    assert len(Text(files=("a.txt",)).parts(tmp_path)) == 1


def test_text_that_is_not_utf8_is_refused_or_replaced(tmp_path: Path) -> None:
    write(tmp_path, {"a.txt": b"good\nb\xffd\n\nnul\0\n"})
    strict = Text(files=("a.txt",), document="line")
    (part,) = strict.parts(tmp_path)
    with pytest.raises(UserError) as caught:
        list(strict.documents(part, Tally()))
    problem = complaint(caught.value)
    assert problem.where == "a.txt:2"
    assert problem.message == "byte 0xff, which is not UTF-8 at byte 1 of the document"
    tally = Tally()
    lenient = strict.model_copy(update={"invalid": "replace"})
    replaced = [bytes(document.content).decode() for document in lenient.documents(part, tally)]
    assert replaced == ["good", "b\ufffdd", "nul\ufffd"]
    assert tally.counts == {"invalid_utf8": 1, "empty": 1, "nul": 1}


@pytest.mark.parametrize("document", ["row", {"separator": ""}, {"split": "x"}, 3])
def test_unknown_forms_are_refused(document: Any) -> None:
    with pytest.raises(ValidationError):
        Text(files=("a",), document=document)
