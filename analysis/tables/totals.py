"""Rows and columns that are no runs and no quantities: a line of totals below a table, an index beside it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import Argument, Complaint
from analysis.readers.numbers import TEXT
from analysis.tables.checks import divide
from analysis.tables.expressions import quoted
from analysis.tables.headings import folded
from analysis.tables.reading import numbers, shown
from analysis.tables.table import about, tell
from analysis.tables.where import literal

# what a line below a table is called -> what stands in it
CALLED = {
    "total": "sum", "totals": "sum", "grand_total": "sum", "sum": "sum", "mean": "mean", "average": "mean",
    "avg": "mean", "median": "median", "std": "std", "min": "min", "max": "max", "count": "count",
}  # fmt: skip
ASKED = ("total", "totals", "grand_total", "sum", "mean", "average", "avg")  # that no run is called
INDEX = ("index", "level_0", "unnamed_0", "unnamed_0_1", "row", "row_number")
ROUNDED = 2e-3  # relative: totals are often rounded
EXACT = 1e-6
LEAST = 3  # rows that a total is of


def without_totals(frame: Any, name: str) -> tuple[pd.DataFrame, dict[Any, Complaint]]:
    """The frame without rows that are unmistakably the total or the like of the others, its columns numbers
    again, and by place what to ask about rows that may be; what is left out is noted, and an index named."""
    notes = [
        f"column {c!r} only counts the rows: it is not used"
        for c in map(str, frame.columns)
        if folded(c) in INDEX and _counts(frame[c])
    ]
    words = {c for c in frame.columns if frame[c].dtype.kind not in "iufb"}
    suspect = any(folded(str(cell)) in CALLED for c in words for cell in frame[c].dropna().unique())
    parsed = {c: numbers(frame[c]) for c in frame.columns if suspect or c not in words}
    labels = _labels(frame, {c: bad for c, (_, bad) in parsed.items()}) if suspect else [""] * len(frame)
    called = np.array([label != "" for label in labels], bool)
    problems = {}
    numeric = {
        c: values
        for c, (values, bad) in parsed.items()
        if c not in TEXT and not bad[~called].any() and np.isfinite(values[~called]).any()
    }
    reasons = np.full(len(frame), "", object)
    if (~called).sum() >= LEAST and called.sum() <= len(CALLED):
        for i in map(int, np.flatnonzero(called)):
            what = CALLED[folded(labels[i])]
            if _is(what, numeric, i, ~called):
                reasons[i] = f"the {what} of the other rows"
            elif folded(labels[i]) in ASKED:
                problems[i] = _ask(frame, i, labels[i], name)
    if not called.any() and len(frame) > LEAST:
        others = np.arange(len(frame)) < len(frame) - 1
        if what := _unnamed(numeric, others):
            reasons[-1] = f"{what} of the other rows"
    if (reasons != "").any():
        kept, left = divide(frame, reasons)
        for column in (c for c in numeric if kept[c].dtype.kind not in "iufb"):
            kept[column] = pd.to_numeric(kept[column])
        notes += [f"{row['row']} is {row['reason']}, and no run: left out" for row in left]
        tell(kept, left_out=(*about(frame).left_out, *left))
        problems = {int(i - (reasons[:i] != "").sum()): problem for i, problem in problems.items()}
        frame = kept
    tell(frame, read=(*about(frame).read, *notes))
    return frame, problems


def _counts(values: Any) -> bool:
    found, bad = numbers(values)
    return (
        len(found) > 1
        and not bad.any()
        and any((found == np.arange(k, len(found) + k)).all() for k in (0, 1))
    )


def _labels(frame: Any, bad: dict[Any, np.ndarray]) -> list[str]:
    """What each row is called as a total; empty where it is not. A word counts in a column of numbers, and in
    the first column of words, where it is there once."""
    out = [""] * len(frame)
    words = [c for c in frame.columns if bad[c].any()]
    first = next((c for c in words if bad[c].mean() > 0.5), None)
    for column in words:
        if column != first and bad[column].mean() > 0.5:
            continue
        cells = frame[column]
        for i in map(int, np.flatnonzero(bad[column])):
            text = str(cells.iloc[i])
            if folded(text) in CALLED and (cells == cells.iloc[i]).sum() == 1:
                out[i] = text
    return out


def _is(what: str, numeric: dict[Any, np.ndarray], row: int, others: np.ndarray) -> bool:
    """Whether a row has no numbers, or those it has are such a statistic of the others."""
    given = [(v[row], v[others]) for v in numeric.values() if np.isfinite(v[row])]
    ways = ("sum", "mean") if what in ("sum", "mean") else (what,)  # tokens add up, losses do not
    return all(any(_near(value, way, rest, ROUNDED) for way in ways) for value, rest in given)


def _near(value: float, what: str, rest: np.ndarray, tolerance: float) -> bool:
    rest = rest[np.isfinite(rest)]
    found = {
        "sum": np.sum, "mean": np.mean, "median": np.median, "min": np.min, "max": np.max, "count": len,
        "std": lambda v: np.std(v, ddof=1),
    }[what](rest)  # fmt: skip
    return bool(abs(value - found) <= tolerance * abs(found))


def _unnamed(numeric: dict[Any, np.ndarray], others: np.ndarray) -> str:
    """``the sum``, ``the mean``: what the last row is of all others, in two columns or more that vary."""
    varied = [v for v in numeric.values() if np.isfinite(v).all() and np.ptp(v[others]) > 0]
    if len(varied) < 2:
        return ""
    for what in ("sum", "mean"):
        if all(_near(v[-1], what, v[others], EXACT) for v in varied):
            return f"the {what}"
    mixed = all(any(_near(v[-1], what, v[others], EXACT) for what in ("sum", "mean")) for v in varied)
    return "the sum or mean" if mixed else ""


def _ask(frame: Any, row: int, label: str, name: str) -> Complaint:
    column = next(c for c in frame.columns if str(frame[c].iloc[row]) == label)
    leave_out = Argument("where", f"{quoted(str(column))} != {literal(label)}")
    where = shown(frame, np.arange(len(frame)) == row)
    return Complaint(
        f"{where} is called {label!r}, but its numbers are not that of the other rows", name,
        ("leave it out: ", leave_out, ", or call the run something else"),
    )  # fmt: skip
