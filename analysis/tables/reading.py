"""Files -> frames that know what was read as what; the numbers in a column; what rows are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import SHOWN, AnalysisError, Complaint, some
from analysis.readers.files import files
from analysis.readers.numbers import PLAIN, NumberFormat
from analysis.readers.read import read as read_file
from analysis.readers.source import LINE, PLACE
from analysis.tables.table import about, tell

SOURCE = "source"  # column of the file that each row came from, where there are several


def read(
    given: str | Path | Sequence[str | Path], numbers: NumberFormat = PLAIN, melt: str | None = None
) -> dict[Path, pd.DataFrame]:
    """The table of every file that is meant (:func:`analysis.readers.files.files`), columns as they stand
    there; its :class:`About` says how it was read. Raises AnalysisError with every problem of the files."""
    frames: dict[Path, pd.DataFrame] = {}
    problems: list[Complaint] = []
    for file in files(given):
        try:
            reading = read_file(file.path, numbers, melt=melt, folder=file.folder)
        except AnalysisError as error:
            problems += error.problems
            continue
        frames[file.path] = reading.frame
        kind = (reading.kind,) if reading.kind else ()
        tell(reading.frame, read=(*kind, *reading.notes), kind=reading.kind)
    if problems:
        raise AnalysisError(problems)
    return frames


def named(frames: Mapping[Path, pd.DataFrame]) -> str:
    """What to call the table of these files."""
    kinds = dict.fromkeys(kind for frame in frames.values() if (kind := about(frame).kind))
    name = str(next(iter(frames))) if len(frames) == 1 else f"{len(frames)} tables ({some(frames)})"
    return f"{name} ({', '.join(kinds)})" if kinds else name


def stacked(frames: Mapping[Path, pd.DataFrame]) -> pd.DataFrame:
    """One table of several, their columns by our names and in our units, with the column ``source``.

    Raises AnalysisError where one quantity is in different units.
    """
    if len(frames) == 1:
        return next(iter(frames.values()))
    column = next(
        c for c in (SOURCE, "source_file") if not any(c in frame.columns for frame in frames.values())
    )
    parts, notes, left_out = [], Counter[str](), []
    shared = os.path.commonpath([path.absolute().parent for path in frames])
    for path, frame in frames.items():
        notes.update(about(frame).read)
        part = frame.assign(**{column: str(path)})
        where = path.absolute().relative_to(shared)
        left_out += [{**row, "row": f"{row['row']} of {where}"} for row in about(frame).left_out]
        part.index = pd.Index([f"{place} of {where}" for place in places(frame)], name=PLACE, dtype=object)
        parts.append(part)
    table = pd.concat(parts)
    told = [
        note if count == len(frames) else f"{note} ({count} of {len(frames)} tables)"
        for note, count in notes.items()
    ]
    gaps = [
        c for c in table.columns if any(c not in frame.columns for frame in frames.values()) and c != column
    ]
    if gaps:
        told.append(f"columns that some of the {len(frames)} tables lack: {some(map(repr, gaps))}")
    first, *others = map(about, frames.values())
    for other in others:
        if other.units != first.units:
            raise AnalysisError(_units(frames))
    columns = {source: ours for frame in frames.values() for source, ours in about(frame).columns.items()}
    headings = {ours: unit for frame in frames.values() for ours, unit in about(frame).headings.items()}
    read = (f"{len(frames)} tables, named in column {column!r}", *told)
    tell(table, columns=columns, units=first.units, headings=headings, read=read,
         left_out=tuple(left_out))  # fmt: skip
    return table


def _units(frames: Mapping[Path, pd.DataFrame]) -> Complaint:
    known = {path: about(frame).units or {} for path, frame in frames.items()}
    columns = dict.fromkeys(column for units in known.values() for column in units)
    column = next(c for c in columns if len({units.get(c) for units in known.values()}) > 1)
    shown = some(f"{path}: {units.get(column, 'not stated')}" for path, units in known.items())
    return Complaint(
        f"the unit of {column!r} differs between tables: {shown}", hint="import each with its unit"
    )


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


def places(frame: pd.DataFrame) -> list[str]:
    """Where each row stands: its line in a text file, else the number of the row."""
    if frame.index.name == PLACE:
        return list(frame.index)
    kind = LINE if frame.index.name == LINE else "row"
    return [f"{kind} {i}" for i in frame.index]


def labels(frame: pd.DataFrame, at: np.ndarray) -> list[str]:
    """Place and run of the rows at these positions; of what is no file the run alone, where it has one."""
    rows: Any = frame.iloc[at]
    ids: Any = rows["run_id"] if "run_id" in rows.columns else [None] * len(at)
    of_file = frame.index.name in (LINE, PLACE)
    return [
        place if pd.isna(run) else f"{place} ({run})" if of_file else str(run)
        for place, run in zip(places(rows), ids, strict=True)
    ]
