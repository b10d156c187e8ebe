"""What a reader is given, and what it gives."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError, Complaint, Text, some
from analysis.readers.numbers import PLAIN, NumberFormat

LINE = "line"  # name of the index that holds line numbers
PLACE = "place"  # name of the index that says in words where a row stands
KINDS = ".csv, .tsv, .parquet, .json or .jsonl"


@dataclass(frozen=True)
class Reading:
    """A table as it stands in a file.

    The index of ``frame``, where it is called ``line``, has line numbers; numbers are float64 (int64 where
    all are whole), other cells text, None where empty. ``notes`` say what was read as what and what was left
    out. ``kind``: whose file it is, where it is one of a tool.
    """

    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    kind: str | None = None

    def noted(self, frame: pd.DataFrame, *notes: str, kind: str | None = None) -> Reading:
        """The same table in another form."""
        return Reading(frame, (*self.notes, *notes), kind or self.kind)


@dataclass(frozen=True)
class Reader:
    """One kind of source: whether a source is of it, by its content, and the table in it."""

    recognises: Callable[[Source], bool]
    read: Callable[[Source], Reading]


@dataclass(frozen=True)
class Source:
    """One file, opened once; a compressed one as its content.

    ``folder``: where a search for files began, of which it is one.
    """

    path: Path
    numbers: NumberFormat = PLAIN
    folder: Path | None = None

    @property
    def name(self) -> str:
        return f"table {self.path}"

    def refusal(self, message: Text, hint: Text) -> AnalysisError:
        """What to raise where the source cannot serve."""
        return AnalysisError(Complaint(message, self.name, hint))

    def lacks(self, extra: str, what: str) -> AnalysisError:
        """What to raise where an extra of the distribution is not installed."""
        return self.refusal(
            f"is {what}, read with the extra {extra!r}", f"pip install 'scaling-laws[{extra}]'"
        )

    def repeated(self, columns: Sequence[str]) -> list[Complaint]:
        """A problem for every name that several columns have."""
        problems = []
        for column in dict.fromkeys(c for c in columns if c and columns.count(c) > 1):
            places = [i for i, other in enumerate(columns, 1) if other == column]
            what = f"column {column!r} is there {len(places)} times ({some(places)})"
            problems.append(Complaint(what, self.name, "keep one"))
        return problems

    @cached_property
    def raw(self) -> bytes:
        try:
            raw = self.path.read_bytes()
            for magic, decompress in COMPRESSED.items():
                if raw.startswith(magic):
                    return decompress(raw)
        except (OSError, EOFError, lzma.LZMAError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise self.refusal(f"cannot be read ({reason})", f"give a {KINDS} file") from error
        return raw

    @cached_property
    def encoding(self) -> str:
        """The encoding of its text: of the byte order mark, of the zeros of UTF-16, else UTF-8."""
        for mark, encoding in MARKS.items():
            if self.raw.startswith(mark):
                return encoding
        start = self.raw[:1000]
        zeros = [start[i::2].count(0) / max(len(start) // 2, 1) for i in (0, 1)]
        if min(zeros) < 0.1 and max(zeros) > 0.9:
            return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
        return "utf-8"

    @cached_property
    def text(self) -> str:
        try:
            text = self.raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            at = self.raw.count(b"\n", 0, error.start) + 1
            what = f"line {at} is not {self.encoding.upper()} (byte 0x{self.raw[error.start]:02x})"
            raise self.refusal(what, "save it as UTF-8") from error
        if "\0" in text:
            at = text.count("\n", 0, text.index("\0")) + 1
            raise self.refusal(f"line {at} holds a NUL byte: no text file", f"give a {KINDS} file")
        return text

    @cached_property
    def lines(self) -> list[str]:
        """The lines of its text, line ends of any system as newlines."""
        return list(io.StringIO(self.text, newline=None))

    @cached_property
    def document(self) -> Any:
        """The one JSON document that the file is; None where it is something else."""
        if not self.text.lstrip().startswith(("{", "[")):
            return None
        try:
            return json.loads(self.text, object_pairs_hook=unrepeated)
        except (ValueError, RecursionError):
            return None


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, no key of which is there twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a key is there twice")
    return members


def _zstandard(raw: bytes) -> bytes:
    import pyarrow

    return pyarrow.input_stream(io.BytesIO(raw), compression="zstd").read()


COMPRESSED: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": gzip.decompress,
    b"BZh": bz2.decompress,
    b"\xfd7zXZ\x00": lzma.decompress,
    b"\x28\xb5\x2f\xfd": _zstandard,
}
MARKS = {  # the longer before those that they begin with
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
