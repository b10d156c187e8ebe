"""Tables with bars between columns and a rule below their header: Markdown, org-mode, psql."""

from __future__ import annotations

import re
from itertools import pairwise

from analysis.readers.source import Reader, Reading, Source
from analysis.readers.text import Rows, table

RULE = re.compile(r"\s*[|+:-][\s|+:=-]*[=-][\s|+:=-]*")
MARKS = re.compile(r"([*_`]+)(.+)\1")  # bold, italic, code: how a table marks its best cell


def _is_markdown(source: Source) -> bool:
    lines = [line for line in source.lines if line.strip()]
    return any("|" in above and RULE.fullmatch(line) for above, line in pairwise(lines))


def _read(source: Source) -> Reading:
    """The only such table of a text; text around it is left out."""
    rows, tables, around, inside = Rows([], [], "bars"), 0, [], False
    for number, line in enumerate(source.lines, 1):
        has_bars = "|" in line or bool(RULE.fullmatch(line))
        tables += has_bars and not inside
        inside = has_bars
        if not has_bars and line.strip():
            around.append(number)
        elif has_bars and not RULE.fullmatch(line):
            rows.cells.append(_cells(line.strip()))
            rows.lines.append(number)
    if tables > 1:
        raise source.refusal(f"holds {tables} tables", "leave one of them in the file")
    if around:
        rows.notes.append(f"{len(around)} lines of text around the table left out")
    return table(source, rows)


def _cells(line: str) -> list[str]:
    inner = re.sub(r"^\||(?<!\\)\|$", "", line)
    cells = [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", inner)]
    return [match[2] if (match := MARKS.fullmatch(cell)) else cell for cell in cells]


MARKDOWN = Reader(_is_markdown, _read)
