"""JSON objects, one a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from scaling.corpora import streams
from scaling.corpora.base import Document, DocumentCorpus, Part
from scaling.corpora.files import Patterns, Text, choices, matching
from scaling.errors import Complaint, UserError


class _Unfit(Exception):
    """A line that is not what the corpus expects: message and hint."""


class Jsonl(DocumentCorpus):
    """JSON objects, one a line and a document."""

    kind: Literal["jsonl"] = "jsonl"
    files: Patterns
    """Paths or patterns (`pages/*.jsonl.zst`), relative to the spec; `.gz`, `.zst`, `.xz` are unpacked."""
    text: Text = "text"
    """Field with the text; `page.body` is the field `body` of `page`. null is an empty document."""
    name: Text | None = None
    """Field with the name of a document, for messages and tables; by default it is file and line."""
    position: Text | None = None
    """Field with a number over which `split: spread` spreads held-out documents, such as a year."""

    def inputs(self, folder: Path) -> tuple[Part, ...]:
        return tuple(file.part() for file in matching(self.files, folder))

    def parts(self, folder: Path) -> tuple[Part, ...]:
        parts = list[Part]()
        for file in matching(self.files, folder):
            is_packed = file.path.suffix.lower() in streams.PACKED
            parts += [file.part()] if is_packed else file.parts()
        return tuple(parts)

    def identity(self) -> dict[str, Any]:
        return super().identity() | ({} if self.position is None else {"position": self.position})

    def read(self, part: Part) -> Iterator[Document]:
        for number, (at, line) in enumerate(streams.lines(part), 1):
            if line.isspace():
                continue
            try:
                yield self._document(line, streams.place(part, at, number))
            except _Unfit as error:
                row = number if part.first == 0 else streams.line_at(part.file, at)
                message, hint = error.args
                raise UserError(Complaint(message, f"{part.name}:{row}", hint)) from None

    def _document(self, line: bytes, place: str) -> Document:
        record = _record(line)
        text = _field(record, self.text)
        if not isinstance(text, str | None):
            raise _Unfit(f"field {self.text!r} is {_kind(text)}, not text", "name a field with text")
        name = place if self.name is None else _field(record, self.name)
        if not isinstance(name, str | int):
            raise _Unfit(f"field {self.name!r} is {_kind(name)}, not a name", "name another, or none")
        position = None if self.position is None else _number(_field(record, self.position))
        if position is None and self.position is not None:
            raise _Unfit(f"field {self.position!r} is not a number", "name another, or none")
        return Document(str(name).encode("utf-8", "replace").decode("utf-8"), _utf8(text or ""), position)


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line.rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        if line.lstrip().startswith(b"["):
            raise _array() from None
        cause = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
        raise _Unfit(f"is not JSON: {cause}", "write one object a line: jq -c . FILE > FILE.jsonl") from None
    if isinstance(record, list):
        raise _array()
    if not isinstance(record, dict):
        raise _Unfit(f"is {_kind(record)}, not an object", 'write {"text": ...}, or use kind: text')
    return record


def _array() -> _Unfit:
    return _Unfit("is an array, not an object", "write one object a line: jq -c '.[]' FILE > FILE.jsonl")


def _field(record: dict[str, Any], dotted: str) -> Any:
    """Return the value of a field; a name that is there as it is written goes first."""
    if dotted in record:
        return record[dotted]
    value: Any = record
    for name in dotted.split("."):
        if not isinstance(value, dict) or name not in value:
            names = value if isinstance(value, dict) else record
            raise _Unfit(f"has no field {dotted!r}", choices(name, names, "fields there"))
        value = value[name]
    return value


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return f"the number {str(value)[:20]}"
        case str():
            return f"the text {value[:20]!r}"
        case list():
            return "an array"
        case _:
            return "an object"


def _number(value: Any) -> float | None:
    """Return a finite number as a float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= sys.float_info.max else None


def _utf8(text: str) -> bytes:
    """Return the bytes of a text: those that are not UTF-8 and halves of surrogates too, as they are."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
