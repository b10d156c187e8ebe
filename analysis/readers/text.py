"""Tables of text: columns separated by a sign or by spaces.

Nothing is guessed and nothing is dropped silently: a line that does not fit the header is a problem with its
line number (the first line of a file is 1).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from analysis.errors import AnalysisError, Argument, Complaint, some
from analysis.readers.numbers import typed
from analysis.readers.source import LINE, Reader, Reading, Source

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
COMMENT = "#"
NUMBER = re.compile(r"\s*[+-]?[\d.,]*\d(?:[eE][+-]?\d+)?\s*")


@dataclass
class Rows:
    """The rows of a text, the header first, and the line where each begins."""

    cells: list[list[str]]
    lines: list[int]
    separated: str  # by what
    notes: list[str] = field(default_factory=list)


def _has_text(source: Source) -> bool:
    return bool(source.text.strip())


def _read(source: Source) -> Reading:
    lines = source.lines
    start = next((i for i, line in enumerate(lines) if line.strip() and not _is_comment(line)), len(lines))
    comments = [i for i, line in enumerate(lines[:start]) if line.strip()]
    first = lines[start] if start < len(lines) else ""
    delimiter = max(DELIMITERS, key=first.count)
    read = _delimited if first.count(delimiter) else _spaced
    rows = read(source, lines[start:], start, delimiter)
    if comments and rows.cells and any(map(NUMBER.fullmatch, rows.cells[0])):
        heading = lines[comments[-1]].lstrip().removeprefix(COMMENT)
        header = read(source, [heading], comments[-1], delimiter)
        if len(header.cells[0]) == len(rows.cells[0]):
            rows.cells, rows.lines = header.cells + rows.cells, header.lines + rows.lines
            comments.pop()
    if comments:
        rows.notes.append(f"comments left out (line {some(i + 1 for i in comments)})")
    return table(source, rows)


def _is_comment(line: str) -> bool:
    return line.lstrip().startswith(COMMENT)


def _delimited(source: Source, lines: Sequence[str], before: int, delimiter: str) -> Rows:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows = Rows([], [], DELIMITERS[delimiter])
    start = before + 1
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.cells.append(row)
                rows.lines.append(start)
            start = before + reader.line_num + 1
    except csv.Error as error:
        unclosed = sum(line.count('"') for line in lines[start - before - 1 :]) % 2
        what = f"line {start}: {'a quote is not closed' if unclosed else error}"
        raise source.refusal(what, "correct this line") from error
    return rows


def _spaced(source: Source, lines: Sequence[str], before: int, _: str) -> Rows:
    """By any run of spaces, or, where names hold single ones, by two and more."""
    written = [(before + i, line.strip()) for i, line in enumerate(lines, 1) if line.strip()]
    if not written:
        return Rows([], [], "spaces")
    ways: dict[str, Callable[[str], list[str]]] = {
        "spaces": _words,
        "two spaces": re.compile(r"\s{2,}").split,
    }
    found = {
        way: Rows([split(line) for _, line in written], [number for number, _ in written], way)
        for way, split in ways.items()
    }
    for rows in found.values():
        widths = {len(cells) for cells in rows.cells[1:]} or {len(rows.cells[0])}
        if len(widths) == 1 and (missing := widths.pop() - len(rows.cells[0])) in (0, 1):
            if missing:  # as pandas and R print a table: row names, without a heading
                rows.cells[0] = ["", *rows.cells[0]]
            if len(rows.cells[0]) > 1:
                return rows
    return found["spaces"]


def _words(line: str) -> list[str]:
    return next(csv.reader([line], delimiter=" ", skipinitialspace=True))


def table(source: Source, rows: Rows) -> Reading:
    """The table in these rows; raises AnalysisError with every problem of its structure."""
    if not rows.cells:
        raise source.refusal("no rows", "a fit needs runs")
    header, first = [cell.strip() for cell in rows.cells[0]], rows.lines[0]
    if len(header) == 1:
        wanted = "separate columns by commas, semicolons, tabs or spaces"
        raise source.refusal(f"one column only, {header[0][:60]!r} in line {first}", wanted)
    if all(NUMBER.fullmatch(cell) for cell in header):
        raise source.refusal(
            f"line {first} holds numbers only: no header", "name the columns in a line above"
        )
    body = _body(rows, len(header))
    wrong = [(line, len(cells)) for line, cells in body if len(cells) != len(header)]
    problems = source.repeated(header)
    if wrong:
        shown = some(f"line {line} has {fields}" for line, fields in wrong)
        hint = f"fields are separated by {rows.separated} here; quote text that holds one"
        problems.append(Complaint(f"{len(header)} fields in line {first}, but {shown}", source.name, hint))
    if problems:
        raise AnalysisError(problems)
    columns: list[tuple[str, ...]] = list(zip(*(cells for _, cells in body), strict=True))
    columns = columns or [()] * len(header)
    for name, cells in zip(header, columns, strict=True):
        if source.numbers.is_ambiguous(cells):
            what = f"column {name!r} has points and no decimal commas, such as {cells[0].strip()!r}"
            hint = "if they separate thousands, add ", Argument("thousands", "."), "; else write commas"
            raise source.refusal(what, hint)
    index = pd.Index([line for line, _ in body], name=LINE, dtype=int)
    named = {c: typed(cells, c, source.numbers) for c, cells in zip(header, columns, strict=True) if c}
    unnamed = [i for i, c in enumerate(header, 1) if not c]
    if unnamed:
        rows.notes.append(f"columns without a name left out (places {some(unnamed)})")
    return Reading(pd.DataFrame(named, index=index), tuple(rows.notes))


def _body(rows: Rows, width: int) -> list[tuple[int, list[str]]]:
    """The rows below the header, without comments and what a delimiter at the end of each adds."""
    body = list(zip(rows.lines, rows.cells, strict=True))[1:]
    comments = {
        line
        for line, cells in body
        if _is_comment(cells[0]) and (len(cells) != width or cells[0].lstrip().startswith(COMMENT + " "))
    }
    if comments:
        rows.notes.append(f"comments left out (line {some(comments)})")
        body = [(line, cells) for line, cells in body if line not in comments]
    if body and all(len(cells) == width + 1 and not cells[-1].strip() for _, cells in body):
        rows.notes.append("the delimiter at the end of each row left out")
        body = [(line, cells[:-1]) for line, cells in body]
    return body


TEXT = Reader(_has_text, _read)
