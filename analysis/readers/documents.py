"""JSON: lines of objects, and the layouts in which one document holds a table. What is nested gets dotted
names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.errors import SHOWN, AnalysisError, Complaint, some
from analysis.readers.source import LINE, Reader, Reading, Source, unrepeated

ALIKE = 0.5  # of the members of several objects that all must have, for them to be rows of one table
LAYOUTS = (
    "give a list of objects (one a run), an object of columns (lists of one length), of runs (objects), "
    "columns with data, or one object a line"
)


def is_document(source: Source) -> bool:
    return source.document is not None


def is_lines(source: Source) -> bool:
    """Whether a file that is no JSON document is meant as JSON."""
    return source.text.lstrip().startswith(("{", "["))


def flat(item: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """An object without objects in it: ``{"a": {"b": 1}}`` -> ``{"a.b": 1}``; lists as JSON text."""
    cells: dict[str, Any] = {}
    for key, value in item.items():
        if isinstance(value, Mapping) and value:
            cells |= flat(value, f"{prefix}{key}.")
        else:
            cells[f"{prefix}{key}"] = json.dumps(value) if isinstance(value, list | dict) else value
    return cells


def frame_of_objects(items: Sequence[Mapping[str, Any]], lines: Sequence[int] | None = None) -> pd.DataFrame:
    """One row an object; cells that an object lacks are empty."""
    rows = [flat(item) for item in items]
    columns = dict.fromkeys(key for row in rows for key in row)
    data = {c: pd.Series([row.get(c) for row in rows], dtype=object).infer_objects() for c in columns}
    frame = pd.DataFrame(data, index=range(len(rows)))
    if lines is not None:
        frame.index = pd.Index(lines, name=LINE, dtype=int)
    return frame


def _read_document(source: Source) -> Reading:
    document = source.document
    if isinstance(document, list):
        return Reading(_of_list(document, source))
    columns, data = document.get("columns"), document.get("data")
    if isinstance(data, list) and isinstance(columns, list):
        return Reading(_split(columns, data, source), ("JSON: columns and data",))
    inner = list(document.values())
    if inner and all(isinstance(value, list) for value in inner):
        return _of_lists(document, source)
    if inner and all(isinstance(value, dict) for value in inner):
        return _of_objects(document)
    tables = {key: value for key, value in document.items() if _is_records(value)}
    if len(tables) == 1:
        return _of_member(document, next(iter(tables)))
    if tables:
        raise source.refusal(f"a JSON object with several tables: {some(map(repr, tables))}", "keep one")
    if not inner:
        raise source.refusal("a JSON object without members", LAYOUTS)
    return _one_run(document)


def _one_run(document: dict[str, Any]) -> Reading:
    return Reading(frame_of_objects([document], [1]), ("JSON: one object, taken as one run",))


def _of_member(document: dict[str, Any], name: str) -> Reading:
    """The rows in one member of an object; numbers and texts beside it hold for every row."""
    beside = {key: value for key, value in document.items() if not isinstance(value, list | dict)}
    rest = [key for key in document if key not in beside and key != name]
    note = f"JSON: rows of {name!r}" + (f", each with {some(map(repr, beside))}" if beside else "")
    note += f"; left out: {some(map(repr, rest))}" if rest else ""
    return Reading(frame_of_objects([{**beside, **item} for item in document[name]]), (note,))


def _is_records(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _of_list(document: list[Any], source: Source) -> pd.DataFrame:
    wrong = [(i, item) for i, item in enumerate(document, 1) if not isinstance(item, dict)]
    if wrong:
        shown = some(f"item {i} is {json.dumps(item)[:40]}" for i, item in wrong)
        raise source.refusal(f"a JSON list, but {shown}: no object of column: value", LAYOUTS)
    return frame_of_objects(document)


def _split(columns: list[Any], data: list[Any], source: Source) -> pd.DataFrame:
    wrong = [i for i, row in enumerate(data, 1) if not isinstance(row, list) or len(row) != len(columns)]
    if wrong:
        what = f"JSON of columns and data: row {some(wrong)} has not {len(columns)} cells"
        raise source.refusal(what, "give each row one cell a column")
    names = [str(column) for column in columns]
    if problems := source.repeated(names):
        raise AnalysisError(problems)
    return frame_of_objects([dict(zip(names, row, strict=True)) for row in data])


def _of_lists(document: dict[str, list[Any]], source: Source) -> Reading:
    if len(document) == 1 and _is_records(records := next(iter(document.values()))):
        return Reading(frame_of_objects(records), (f"JSON: rows of {next(iter(document))!r}",))
    lengths = {key: len(values) for key, values in document.items()}
    if len(set(lengths.values())) > 1:
        shown = some(f"{key!r} has {length}" for key, length in lengths.items())
        raise source.refusal(f"a JSON object of columns of several lengths: {shown}", LAYOUTS)
    rows = [dict(zip(document, cells, strict=True)) for cells in zip(*document.values(), strict=True)]
    return Reading(frame_of_objects(rows), ("JSON: an object of columns",))


def _of_objects(document: dict[str, dict[str, Any]]) -> Reading:
    """Objects of numbered cells are columns, as pandas writes them; those with members alike are runs, their
    names in ``run``; any others are parts of one run."""
    keys = [set(cells) for cells in document.values()]
    every, shared = set().union(*keys), set.intersection(*keys)
    if every and all(map(str.isdigit, every)) and not all(map(str.isdigit, document)):
        order = sorted(every, key=int)
        items = [{c: cells.get(key) for c, cells in document.items()} for key in order]
        return Reading(frame_of_objects(items), ("JSON: an object of columns, their cells numbered",))
    if len(document) == 1 or len(shared) < ALIKE * len(every):
        return _one_run(document)
    named = "run" in every
    items = [item if named else {"run": key, **item} for key, item in document.items()]
    note = "JSON: an object of runs" + ("" if named else ", their names in column 'run'")
    return Reading(frame_of_objects(items), (note,))


def _read_lines(source: Source) -> Reading:
    items: list[dict[str, Any]] = []
    lines: list[int] = []
    problems: list[Complaint] = []
    for number, line in enumerate(source.text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line, object_pairs_hook=unrepeated)
        except (ValueError, RecursionError) as error:
            problems.append(
                Complaint(f"line {number}: {error}", source.name, "each line needs one JSON object")
            )
            continue
        if not isinstance(item, dict):
            what = f"line {number}: {str(item)[:40]!r} is no JSON object of column: value"
            problems.append(Complaint(what, source.name))
            continue
        items.append(item)
        lines.append(number)
    if problems and not items:  # a document over several lines, and where it is broken
        try:
            json.loads(source.text, object_pairs_hook=unrepeated)
        except json.JSONDecodeError as error:
            raise source.refusal(f"line {error.lineno}: {error.msg}: no JSON", "correct it") from error
        except (ValueError, RecursionError) as error:
            raise source.refusal(f"cannot be read as JSON ({error})", LAYOUTS) from error
    if problems:
        more = len(problems) - SHOWN
        rest = [Complaint(f"and {more} lines more", source.name)] if more > 0 else []
        raise AnalysisError([*problems[:SHOWN], *rest])
    return Reading(frame_of_objects(items, lines))


DOCUMENT = Reader(is_document, _read_document)
JSON_LINES = Reader(is_lines, _read_lines)
