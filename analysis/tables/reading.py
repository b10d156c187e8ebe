"""Files -> frames of plain values: CSV (comma, semicolon or tab), parquet, JSON lines.

Nothing is guessed and nothing is dropped silently: a line that does not fit the header is a problem with its
line number. The index of what comes from a text file is its line numbers (the header of a CSV is line 1).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.tables.table import tell

LINE = "line"  # name of the index that holds line numbers
SHOWN = 5  # offending rows named in a message
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
EMPTY = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "+nan", "null", "none"})  # folded
# columns that stay text, though their values may look like numbers
TEXT = frozenset({"run_id", "job_id", "trunk_id", "eval_id", "label", "study", "flags", "git_commit"})
JSON = frozenset({".jsonl", ".ndjson", ".json"})
KINDS = ".csv, .tsv, .parquet or .jsonl"


def read(path: Path) -> pd.DataFrame:
    """The table in ``path``, columns as they stand there; its notes say what was left out.

    Numbers are float64 (int64 where all are whole), other cells text, None where empty. Raises AnalysisError
    with every problem of the file's structure.
    """
    name = f"table {path}"
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise AnalysisError(f"{name}: cannot be read ({reason}); give a {KINDS} file") from error
    if raw[:4] == b"PAR1" or path.suffix == ".parquet":
        return _parquet(raw, name)
    text = _text(raw, name)
    if not text.strip():
        raise AnalysisError(f"{name}: cannot be read (it is empty); give a {KINDS} file")
    return _json(text, name) if path.suffix in JSON else _csv(text, name)


def some(items: Iterable[Any]) -> str:
    """The first few of ``items`` and how many more there are."""
    items = list(items)
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(str, items[:SHOWN])) + more


def _text(raw: bytes, name: str) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise AnalysisError(f"{name}: cannot be read (UTF-16 text); save it as UTF-8")
    if b"\0" in raw:
        at = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise AnalysisError(f"{name}: line {at} holds a NUL byte: no text file; give a {KINDS} file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
        raise AnalysisError(
            f"{name}: line {at} is not UTF-8 (byte 0x{byte:02x}); save it as UTF-8"
        ) from error


def _csv(text: str, name: str) -> pd.DataFrame:
    first = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    numbers: list[int] = []
    start = 1
    try:
        for row in reader:
            if any(map(str.strip, row)):
                rows.append(row)
                numbers.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        what = "a quote is not closed" if "unexpected end" in str(error) else str(error)
        raise AnalysisError(f"{name}: line {start}: {what}; correct this line") from error
    if not rows:
        raise AnalysisError(f"{name}: no rows; a fit needs runs")
    header = [cell.strip() for cell in rows[0]]
    if len(header) == 1:
        wanted = "separate columns by commas, semicolons or tabs"
        raise AnalysisError(f"{name}: one column only, {header[0][:60]!r} in line {numbers[0]}; {wanted}")
    wrong = [(number, len(row)) for number, row in zip(numbers, rows, strict=True) if len(row) != len(header)]
    problems = _repeated(header, name)
    if wrong:
        shown = some(f"line {number} has {fields}" for number, fields in wrong)
        hint = f"fields are separated by {DELIMITERS[delimiter]}s here; quote text that holds one"
        problems.append(f"{name}: {len(header)} fields in line {numbers[0]}, but {shown}; {hint}")
    if problems:
        raise AnalysisError(problems)
    columns = list(zip(*rows[1:], strict=True)) if len(rows) > 1 else [()] * len(header)
    return _frame(header, columns, numbers[1:])


def _repeated(header: Sequence[str], name: str) -> list[str]:
    problems = []
    for column in dict.fromkeys(c for c in header if c and header.count(c) > 1):
        places = [i + 1 for i, other in enumerate(header) if other == column]
        problems.append(f"{name}: column {column!r} is there {len(places)} times ({some(places)}); keep one")
    return problems


def _frame(header: Sequence[str], columns: Sequence[Sequence[str]], numbers: Sequence[int]) -> pd.DataFrame:
    """Cells that are text -> typed columns; those without a name (an index saved along) are left out."""
    index = pd.Index(numbers, name=LINE, dtype=int)
    named = {c: _typed(cells, c) for c, cells in zip(header, columns, strict=True) if c}
    frame = pd.DataFrame(named, index=index)
    unnamed = [i + 1 for i, c in enumerate(header) if not c]
    if unnamed:
        tell(frame, read=(f"columns without a name left out (places {some(unnamed)})",))
    return frame


def _typed(cells: Sequence[str], column: str) -> np.ndarray:
    """int64, float64 or bool where every cell that is not empty is such; else text."""
    if column not in TEXT:
        try:
            return np.fromiter(map(int, cells), np.int64, len(cells))
        except (ValueError, OverflowError):
            pass
        try:
            return np.fromiter(map(float, cells), float, len(cells))
        except ValueError:
            pass
        try:
            return np.array([float("nan" if cell.strip().lower() in EMPTY else cell) for cell in cells])
        except ValueError:
            pass
        folded = {cell.strip().lower() for cell in cells}
        if folded <= {"true", "false"}:
            return np.array([cell.strip().lower() == "true" for cell in cells])
    return np.array([None if cell.strip().lower() in EMPTY else cell.strip() for cell in cells], object)


def _json(text: str, name: str) -> pd.DataFrame:
    """One object a line, or one array of objects."""
    whole = text.lstrip().startswith("[")
    objects: list[tuple[int, dict[str, Any]]] = []
    problems: list[str] = []
    for number, line in enumerate([text] if whole else text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line, object_pairs_hook=_object)
        except (ValueError, RecursionError) as error:
            problems.append(f"{name}: line {number}: {error}; each line needs one JSON object")
            continue
        for item in found if whole else [found]:
            if not isinstance(item, dict):
                problems.append(
                    f"{name}: line {number}: {str(item)[:40]!r} is no JSON object of column: value"
                )
                continue
            objects.append((number if not whole else len(objects) + 1, item))
    if problems:
        more = len(problems) - SHOWN
        raise AnalysisError(problems[:SHOWN] + ([f"{name}: and {more} lines more"] if more > 0 else []))
    columns = list(dict.fromkeys(str(key) for _, item in objects for key in item))
    data = {c: pd.Series([item.get(c) for _, item in objects], dtype=object) for c in columns}
    frame = pd.DataFrame({c: series.infer_objects() for c, series in data.items()})
    if not whole:
        frame.index = pd.Index([number for number, _ in objects], name=LINE, dtype=int)
    return frame


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return {
        key: json.dumps(value) if isinstance(value, (dict, list)) else value for key, value in found.items()
    }


def _parquet(raw: bytes, name: str) -> pd.DataFrame:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(io.BytesIO(raw))
        repeated = _repeated(table.column_names, name)
        frame = pd.DataFrame() if repeated else table.to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise AnalysisError(f"{name}: cannot be read ({reason}); give a {KINDS} file") from error
    if repeated:
        raise AnalysisError(repeated)
    kept = [c for c in frame.columns if not c.startswith("__index_level_") and c != LINE]
    return frame.loc[:, kept]


def numbers(series: Any) -> tuple[np.ndarray, np.ndarray]:
    """float64 values (NaN where empty) and which cells are no numbers, both (rows,)."""
    kinds = pd.api.types
    if kinds.is_bool_dtype(series.dtype) or kinds.is_datetime64_any_dtype(series.dtype):
        return np.full(len(series), np.nan), series.notna().to_numpy(bool)
    if kinds.is_numeric_dtype(series.dtype) and not kinds.is_complex_dtype(series.dtype):
        return series.to_numpy(float, na_value=np.nan), np.zeros(len(series), bool)
    values, bad = np.full(len(series), np.nan), np.zeros(len(series), bool)
    missing = series.isna().to_numpy(bool)
    for i, cell in enumerate(series.tolist()):
        if missing[i]:
            continue
        try:
            if isinstance(cell, (bool, np.bool_)):
                raise TypeError
            values[i] = float(cell)
        except (TypeError, ValueError, OverflowError):
            bad[i] = True
    return values, bad


def shown(frame: pd.DataFrame, rows: np.ndarray, values: np.ndarray | None = None) -> str:
    """What to call the first few of these rows in a message: ``line 3 (a1b2) = -1 and 12 more``."""
    at = np.flatnonzero(rows)
    names = labels(frame, at[:SHOWN])
    if values is not None:
        names = [f"{label} = {values[i]:g}" for label, i in zip(names, at, strict=False)]
    elif frame.index.name == LINE and len(at) > 1:
        names = [
            f"{LINE}s {names[0].removeprefix(LINE).strip()}",
            *(n.removeprefix(LINE).strip() for n in names[1:]),
        ]
    return ", ".join(names) + (f" and {len(at) - SHOWN} more" if len(at) > SHOWN else "")


def labels(frame: pd.DataFrame, at: np.ndarray) -> list[str]:
    """Line and run of the rows at these positions; a frame that is no text file has runs, else rows."""
    ids: Any = frame["run_id"].iloc[at] if "run_id" in frame.columns else [None] * len(at)
    of_file = frame.index.name == LINE
    found = []
    for i, run in zip(frame.index[at], ids, strict=True):
        where = f"{LINE if of_file else 'row'} {i}"
        found.append(where if pd.isna(run) else f"{where} ({run})" if of_file else str(run))
    return found
