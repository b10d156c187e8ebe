"""Columns in our units, as the user, a heading or the cells state them. Nothing is converted that was not
stated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import Argument, Complaint, Text
from analysis.tables.headings import UNITS, cell, factor
from analysis.tables.reading import numbers
from analysis.tables.table import about, tell

TOKEN, BYTE = "nats per token", "nats per byte"  # what a loss is in, once converted
NOT_STATED = "unit not stated"
STATED = "units_stated"  # column of imported tables: units that were stated when importing, "|" between
# columns that stand together only in tables which the harness wrote: their units are known, at any size
OURS = frozenset({"run_id", "trunk_id", "eval_id", "flops_6n_total", "flops_6n_body", "flops_spent"})
SUFFIX = "suffix"  # the unit of a column whose cells say themselves: "70M", "1.4B"
READ = {"loss": "per cent read as 1/100"}


def convert(frame: pd.DataFrame, units: Mapping[str, str], name: str) -> tuple[pd.DataFrame, list[Complaint]]:
    """Columns in our units, and problems; ``About.units``: what those are in now whose unit was stated.
    A count whose heading or cells state its unit is converted, but not believed whatever its size."""
    notes = list[str]()
    stated = dict.fromkeys(UNITS, "1") | {"loss": TOKEN} if set(frame.columns) >= OURS else {}
    if STATED in frame.columns:
        pairs = [
            text.partition("=") for text in "|".join(map(str, frame[STATED].dropna().unique())).split("|")
        ]
        stated |= {column: now or (TOKEN if column == "loss" else "1") for column, _, now in pairs}
        frame = frame.drop(columns=STATED)
    named = {column: unit for column, unit in about(frame).headings.items() if column not in units}
    suffixed, problems = _by_cell(frame, units, named, name)
    for column, unit in {**units, **named, **suffixed}.items():
        if complaint := _unusable(frame, column, unit, name):
            problems.append(complaint)
            continue
        frame[column] = _converted(frame[column], column, unit)
        how = f"given in units of {unit!r}"
        if unit == SUFFIX:
            how = READ.get(column, "K, M, B, T read as 1e3, 1e6, 1e9, 1e12")
        elif column in named:
            how += ", as its heading says"
        notes.append(f"{column}: {how}")
        if column == "loss":
            of_tokens = {"nats": TOKEN, "bits": TOKEN, "perplexity": TOKEN}
            stated["loss"] = BYTE if unit.endswith("/byte") else of_tokens.get(unit, NOT_STATED)
        elif column not in named and column not in suffixed:
            stated[column] = "1"
    known = {c: now for c, now in sorted(stated.items()) if c in frame.columns and now != NOT_STATED}
    tell(frame, units=known, read=(*about(frame).read, *notes))
    return frame, problems


def loss_unit(frame: pd.DataFrame) -> str:
    """What the losses of a table are in: as was stated, or as the harness writes them."""
    return about(frame).unit or (TOKEN if set(frame.columns) >= OURS else NOT_STATED)


def of_unit(name: str, unit: str) -> str:
    """``L in nats per token``, ``L (unit not stated)``."""
    return f"{name} ({unit})" if unit == NOT_STATED else f"{name} in {unit}"


def _unusable(frame: pd.DataFrame, column: str, unit: str, name: str) -> Complaint | None:
    argument = Argument("units", {column: unit})
    if column not in UNITS:
        return Complaint(f"units can be stated of {', '.join(UNITS)}", argument)
    if unit != SUFFIX and unit not in UNITS[column] and factor(column, unit) is None:
        more = "" if column == "loss" else f", a number such as 1e18, or {SUFFIX}"
        return Complaint(f"units of {column} are {', '.join(UNITS[column])}{more}", argument)
    if column not in frame.columns:
        return Complaint((argument, ", but there is no such column"), name)
    return None


def _by_cell(
    frame: pd.DataFrame, units: Mapping[str, str], named: Mapping[str, str], name: str
) -> tuple[dict[str, str], list[Complaint]]:
    """Columns whose cells state their unit, and problems with those of which only some do."""
    suffixed, problems = dict[str, str](), list[Complaint]()
    for column in (c for c in UNITS if c in frame.columns and c not in units):
        if frame.columns.tolist().count(column) > 1 or not numbers(frame[column])[1].any():
            continue
        texts = frame[column].dropna().astype(str)
        parsed = [cell(text, column) for text in texts]
        stated = {read[1] for read in parsed if read is not None}
        if None in parsed or stated <= {"1"}:
            continue
        how = Argument("units", {column: SUFFIX})
        plain = next(
            (text for text, read in zip(texts, parsed, strict=True) if read and read[1] == "1"), None
        )
        other = next((text for text, read in zip(texts, parsed, strict=True) if read and read[1] != "1"), "")
        if plain is not None:
            message = f"column {column!r} has {plain!r} beside {other!r}: a mixture of units"
            hint = "write one of them; if plain cells are plain numbers, say ", how
            problems.append(Complaint(message, name, hint))
        elif column in named and stated != {named[column]}:
            message = f"the heading of {column!r} says {named[column]!r}, its cells {other!r}"
            problems.append(Complaint(message, name, ("if the cells are right, say ", how)))
        suffixed[column] = SUFFIX
    return suffixed, problems


def _converted(series: Any, ours: str, unit: str) -> Any:
    """Cells that are no numbers stay as they are, for `check` to name them."""
    if unit == SUFFIX:
        return series.map(lambda text: _suffixed(text, ours) if isinstance(text, str) else text)
    values, bad = numbers(series)
    scale = factor(ours, unit)
    with np.errstate(all="ignore"):
        converted = np.log(values) if scale is None else values * scale
    return pd.Series(
        np.where(bad, series.astype(object), converted) if bad.any() else converted, series.index
    )


def _suffixed(text: str, ours: str) -> float | str:
    parsed = cell(text, ours)
    return text if parsed is None else parsed[0] * (factor(ours, parsed[1]) or 1.0)


def advice(column: str, text: str) -> Text:
    """What to do about a cell that is no number."""
    if column in UNITS and cell(text, column) is not None:
        return "to read K, M, B, T as 1e3, 1e6, 1e9, 1e12 say ", Argument("units", {column: SUFFIX})
    if re.fullmatch(r"[\d., ]*[.,]\d+", text.strip()):
        return "write plain numbers, without thousands separators and with a decimal point"
    return "give plain numbers"
