"""Documents of JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaling.corpora import files
from scaling.corpora.base import Document, Tally
from scaling.corpora.jsonl import Jsonl
from scaling.errors import UserError
from tests.corpora.packed import PACKERS, complaint, contents, read, write

LINES = (
    '{"text": "Grüße", "n": 1, "page": {"body": "deep"}}\n\n{"text": null, "n": 2.5, "page": {"body": "x"}}'
)


@pytest.mark.parametrize("packing", PACKERS)
def test_fields_of_lines(packing: str, tmp_path: Path) -> None:
    write(tmp_path, {f"a.jsonl{packing}": PACKERS[packing](LINES.encode())})
    name = f"a.jsonl{packing}"
    assert read(Jsonl(files=(name,), position="n"), tmp_path) == [
        Document(f"{name}:1", "Grüße".encode(), 1.0),
        Document(f"{name}:3", b"", 2.5),
    ]
    assert contents(Jsonl(files=(name,), text="page.body"), tmp_path) == [b"deep", b"x"]


def test_dotted_fields_and_names(tmp_path: Path) -> None:
    write(
        tmp_path, {"a.jsonl": '{"a": {"b": "inner", "id": 7}}\n{"a.b": "literal", "a": {"id": "x\\ud800"}}\n'}
    )
    documents = read(Jsonl(files=("a.jsonl",), text="a.b", name="a.id"), tmp_path)
    assert [(d.name, d.content) for d in documents] == [("7", b"inner"), ("x?", b"literal")]


@pytest.mark.parametrize(
    ("line", "fields", "message", "hint"),
    [
        ('{"texts": "x"}', {}, "has no field 'text'", "did you mean 'texts'?"),
        ('{"id": 1, "body": "x"}', {}, "has no field 'text'", "fields there: id, body"),
        ('{"page": {"bdy": "x"}}', {"text": "page.body"}, "has no field 'page.body'", "did you mean 'bdy'?"),
        ('{"text": ["x"]}', {}, "field 'text' is an array, not text", "name a field with text"),
        ('{"text": "x", "y": {}}', {"name": "y"}, "field 'y' is an object, not a name", "name another"),
        ('{"text": "x", "y": "2"}', {"position": "y"}, "field 'y' is not a number", "name another"),
        ('{"text": "x", "y": 1e999}', {"position": "y"}, "field 'y' is not a number", "name another"),
        ('{"text": "x"', {}, "is not JSON: Expecting ',' delimiter at column 13", "one object a line"),
        ('{"text": x}', {}, "is not JSON: Expecting value at column 10", "one object a line"),
        ("[" * 100_000, {}, "is an array, not an object", "jq -c '.[]'"),
        ('{"text": ' * 100_000, {}, "is not JSON: ", "one object a line"),
        ('["text"]', {}, "is an array, not an object", "jq -c '.[]'"),
        ('"text"', {}, "is the text 'text', not an object", "kind: text"),
    ],
)
def test_lines_that_do_not_fit_are_said_with_their_place(
    line: str,
    fields: dict[str, Any],
    message: str,
    hint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = '{"text": "x", "page": {"body": "x"}, "y": 1}\n'
    write(tmp_path, {"a.jsonl": good * 40 + f"{line}\n" + good})
    corpus = Jsonl(files=("a.jsonl",), **fields)
    for step in (2**20, 100):
        monkeypatch.setattr(files.InputFile.parts, "__defaults__", (step,))
        with pytest.raises(UserError) as caught:
            read(corpus, tmp_path)
        problem = complaint(caught.value)
        assert problem.where == "a.jsonl:41"
        assert problem.message.startswith(message)
        assert hint in problem.hint


def test_a_json_array_over_many_lines_is_refused_at_its_first(tmp_path: Path) -> None:
    write(tmp_path, {"a.json": '[\n  {"text": "x"},\n  {"text": "y"}\n]\n'})
    with pytest.raises(UserError, match=r"a\.json:1: is an array, not an object; write one object a line"):
        read(Jsonl(files=("a.json",)), tmp_path)


def test_large_files_are_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.jsonl": "".join(f'{{"text": "document {i}"}}\n' for i in range(500))})
    corpus = Jsonl(files=("a.jsonl",))
    whole = contents(corpus, tmp_path)
    assert whole == [f"document {i}".encode() for i in range(500)]
    monkeypatch.setattr(files.InputFile.parts, "__defaults__", (1000,))
    assert len(corpus.parts(tmp_path)) > 10
    assert contents(corpus, tmp_path) == whole
    names = [document.name for document in read(corpus, tmp_path)]
    assert names[:2] == ["a.jsonl:1", "a.jsonl:2"]
    assert names[-1].startswith("a.jsonl@")
    assert len(set(names)) == 500


@pytest.mark.parametrize("value", [b'"a\xffb"', b'"a\\ud800b"', b'"a\\udcffb"'])
def test_bytes_that_are_not_utf8_come_to_the_check_of_documents(value: bytes, tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": b'{"text": ' + value + b"}\n"})
    strict = Jsonl(files=("a.jsonl",))
    (part,) = strict.parts(tmp_path)
    with pytest.raises(UserError, match=r"a\.jsonl:1: byte 0x.., which is not UTF-8 at byte 1"):
        list(strict.documents(part, Tally()))
    tally = Tally()
    (document,) = strict.model_copy(update={"invalid": "replace"}).documents(part, tally)
    assert bytes(document.content).decode().strip("\ufffd").startswith("a\ufffd")
    assert tally.counts == {"invalid_utf8": 1}
