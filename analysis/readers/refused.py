"""What people take for a table of runs and what cannot be read: what it is, and what to do."""

from __future__ import annotations

from typing import NoReturn

from analysis.readers.source import Reader, Source

CSV = "save the sheet as CSV (UTF-8)"
FRAME = "in Python, write the frame in it with to_csv or to_parquet"
FORMATS: dict[bytes, tuple[str, str]] = {  # first bytes: what it is, what to do
    b"PK\x03\x04": ("an Excel or OpenDocument workbook, or another zip archive", f"unpack it, or {CSV}"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", CSV),
    b"\x80\x04": ("a Python pickle, which could run code", FRAME),
    b"\x80\x05": ("a Python pickle, which could run code", FRAME),
    b"\x93NUMPY": ("a NumPy array without column names", FRAME),
    b"\x89HDF": ("an HDF5 file", FRAME),
    b"SQLite format 3": ("an SQLite database", "export the table as CSV"),
    b"%PDF": ("a PDF", "copy the table into a CSV, or digitise the figure"),
    b"<!doctype html": ("a web page", "save its table as CSV, or copy it as Markdown"),
    b"<html": ("a web page", "save its table as CSV, or copy it as Markdown"),
}


def _match(source: Source) -> tuple[str, str] | None:
    start = source.raw[:64].lstrip().lower()
    return next((told for magic, told in FORMATS.items() if start.startswith(magic.lower())), None)


def _refuse(source: Source) -> NoReturn:
    match = _match(source)
    assert match is not None
    what, hint = match
    raise source.refusal(f"is {what}", hint)


REFUSED = Reader(lambda source: _match(source) is not None, _refuse)
