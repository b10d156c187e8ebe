"""What Weights & Biases gives: chart exports, frames of its API, runs written offline.

Run tables that its page exports, and histories, are plain tables.
"""

from __future__ import annotations

import ast
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import pandas as pd

from analysis.errors import some
from analysis.readers.documents import flat, frame_of_objects
from analysis.readers.source import Reader, Reading, Source

LEAST, MOST = "__MIN", "__MAX"  # how the columns of a chart end that hold the range of a point
BETWEEN = " - "  # of run and metric in the heading of a chart's column
HALVES = ("config.", "summary.")
CLOCK, NAMES = ("_step", "_timestamp"), {"run", "run_id", "name", "id", "display_name", "source"}
MAGIC = b":W&B"
# a log of LevelDB: blocks of records, whose header is checksum, length, and whether the last part of a whole
BLOCK, START, HEADER, LAST = 32768, 7, struct.Struct("<IHB"), (1, 4)


def from_chart(reading: Reading) -> Reading | None:
    """A chart's export, with ``run - metric`` and its range in columns for each run, as one row a point."""
    frame = reading.frame
    charted = [c for c in frame.columns if {f"{c}{LEAST}", f"{c}{MOST}"} <= set(frame.columns)]
    if not charted or not all(BETWEEN in column for column in charted):
        return None
    ranges = [f"{column}{end}" for column in charted for end in (LEAST, MOST)]
    shared = [c for c in frame.columns if c not in {*charted, *ranges}]
    points: dict[str, list[pd.DataFrame]] = {}
    for column in charted:
        run, _, metric = column.rpartition(BETWEEN)
        part = frame[shared].assign(run=run, **{metric: frame[column]})
        points.setdefault(run, []).append(
            part[frame[column].notna()].set_index([*shared, "run"], append=True)
        )
    long: Any = pd.concat([pd.concat(parts, axis=1) for parts in points.values()])
    long = long.reset_index(level=[*shared, "run"])
    binned = [c for c in charted if not frame[f"{c}{LEAST}"].equals(frame[f"{c}{MOST}"])]
    notes = [f"{len(charted)} columns of {len(points)} runs, one row a point"]
    if binned:
        notes.append(f"points are averages over several steps, their ranges left out: {some(binned)}")
    return reading.noted(long, *notes, kind="chart exported by W&B")


def from_objects(reading: Reading) -> Reading | None:
    """Columns whose cells are objects as text, as frames of the API are written, by their members."""
    frame = reading.frame
    objects = {c: items for c in frame.columns if (items := _objects(c, frame[c])) is not None}
    if not objects:
        return None
    parts = [frame_of_objects(items).set_index(frame.index) for items in objects.values()]
    wide = pd.concat([frame.drop(columns=list(objects)), *parts], axis=1)
    return reading.noted(wide, f"objects in {some(map(repr, objects))} read as columns")


def _objects(column: str, cells: Any) -> list[dict[str, Any]] | None:
    if not len(cells) or not all(isinstance(cell, str) and cell.startswith("{") for cell in cells):
        return None
    try:
        items = [_literal(cell) for cell in cells]
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return [{column: item} for item in items] if all(isinstance(item, dict) for item in items) else None


def _literal(cell: str) -> Any:
    """JSON, or what Python prints of a dict."""
    try:
        return json.loads(cell)
    except ValueError:
        return ast.literal_eval(
            re.sub(r"(?<=: )nan\b", "None", re.sub(r"(?<=: )(-?)inf\b", r"\g<1>1e999", cell))
        )


def from_halves(reading: Reading) -> Reading | None:
    """Members of ``config`` and ``summary`` by their own names, where only one of the two has them."""
    columns = list(reading.frame.columns)
    if not all(any(column.startswith(half) for column in columns) for half in HALVES):
        return None
    short = {c: c.partition(".")[2] for c in columns if c.startswith(HALVES)}
    others = [c for c in columns if c not in short] + list(short.values())
    names = {c: name for c, name in short.items() if others.count(name) == 1}
    return reading.noted(
        reading.frame.rename(columns=names), "members of config and summary by their own names"
    )


def from_history(reading: Reading, name: str) -> Reading | None:
    """The history of one run as ``run.history()`` gives it, with a column ``run``, which is ``name``."""
    frame = reading.frame
    if not set(CLOCK) <= set(frame.columns) or {str(c).lower() for c in frame.columns} & NAMES:
        return None
    if len(frame) < 2 or not all(_rises(frame[column]) for column in CLOCK):
        return None
    note = f"steps and times rise from row to row: the history of one run, {name!r} in column 'run'"
    return reading.noted(frame.assign(run=name), note)


def _rises(cells: Any) -> bool:
    return pd.api.types.is_numeric_dtype(cells) and bool((cells.diff().iloc[1:] > 0).all())


def _is_run(source: Source) -> bool:
    return source.raw.startswith(MAGIC)


def _read(source: Source) -> Reading:
    """The history of a run; what its config and summary have beside it stands in every row."""
    try:
        from google.protobuf.message import DecodeError  # pyright: ignore
        from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore
    except ImportError as error:
        raise source.lacks("wandb", "a run of W&B") from error
    run: dict[str, Any] = {}
    config: dict[str, Any] = {}
    summary: dict[str, Any] = {}
    history: list[dict[str, Any]] = []
    try:
        for record in map(Record.FromString, _records(source.raw)):
            match record.WhichOneof("record_type"):
                case "run":
                    run |= {"run": record.run.run_id, "name": record.run.display_name or None}
                    config |= _members(record.run.config.update)
                case "config":
                    config |= _members(record.config.update)
                case "summary":
                    summary |= _members(record.summary.update)
                case "history":
                    history.append(_members(record.history.item))
                case "exit":
                    run["state"] = "failed" if record.exit.exit_code else "finished"
    except (DecodeError, ValueError) as error:
        raise source.refusal(f"is a damaged run of W&B ({error})", "take its copy from the server") from error
    logged = {name for row in history for name in row}
    beside = {name: value for name, value in {**flat(config), **summary}.items() if name not in logged}
    rows = [{**run, **beside, **row} for row in history] or [{**run, **beside}]
    frame = frame_of_objects(rows)
    frame = frame.drop(columns=[c for c in frame.columns if c.startswith("_wandb")])
    notes = [f"{len(history)} rows of history, config and summary in each"]
    if "state" not in run:
        notes.append("it has no end: still running, or killed")
    return Reading(frame, tuple(notes), "run of W&B")


def _records(raw: bytes) -> Iterator[bytes]:
    at, parts = START, b""
    while at + HEADER.size <= len(raw):
        left = BLOCK - at % BLOCK
        _, length, kind = HEADER.unpack_from(raw, at) if left >= HEADER.size else (0, 0, 0)
        if not kind:  # what is left of a block is padding
            at += left
            continue
        at += HEADER.size + length
        parts += raw[at - length : at]
        if at > len(raw):
            return  # torn: it was being written
        if kind in LAST:
            yield parts
            parts = b""


def _members(items: Any) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


WANDB_RUN = Reader(_is_run, _read)
