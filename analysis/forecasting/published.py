"""Forecasts that others published, with their source: a CSV of its own, checked whole, kept apart from ours.

A row is one loss that was forecast: by a value, by an interval, or by both. Most publications give a forecast
together with its outcome; such a one was chosen when the outcome was known, and ``reported`` says so.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np

from analysis.errors import AnalysisError, Complaint
from analysis.files import replace as write_whole

FILE = "published_forecasts.csv"  # its name in a folder of studies
REPORTED = ("before", "with")  # the outcome
COMMENT = "#"
TEXTS = ("name", "source", "reported")
FORM = f"such a file has the columns {', '.join(TEXTS)}, predicted or low, high, level, and measured"


@dataclass(frozen=True)
class Published:
    """A published forecast of the loss of one run, in whatever unit ``measured`` is in too.

    ``name``: what was forecast; ``source``: where that can be read, such as an arXiv number with the table;
    ``reported``: ``before`` the outcome was known or ``with`` it. ``predicted``: the value; where there is an
    interval alone, the middle of it in logs. ``low, high``: the interval at ``level``, for a new run.
    ``flops`` of the run and ``fitted_flops``, the largest that the forecast rests on, give the extrapolation.
    None: not published, or not yet measured.
    """

    name: str
    source: str
    reported: Literal["before", "with"]
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    measured: float | None = None
    flops: float | None = None
    fitted_flops: float | None = None

    @property
    def centre(self) -> float:
        """The value, or the middle of the interval in logs."""
        if self.predicted is not None:
            return self.predicted
        assert self.low is not None and self.high is not None
        return float(np.sqrt(self.low * self.high))

    @property
    def extrapolation(self) -> float | None:
        """Compute of the run over the largest that was fitted."""
        return self.flops / self.fitted_flops if self.flops and self.fitted_flops else None

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.name


COLUMNS = tuple(field.name for field in fields(Published))


def entry(given: Mapping[str, str], where: str) -> Published:
    """Check one forecast, given as texts by column; a text that is empty is not known.

    Raises:
        AnalysisError: everything that is wrong with it; ``where`` it stands is said.
    """
    given = {name: text.strip() for name, text in given.items() if text and text.strip()}
    problems = [_unknown(name, where) for name in given if name not in COLUMNS]
    problems += [
        Complaint(f"{name}: is empty", where, "a forecast without it cannot be looked up")
        for name in TEXTS
        if name not in given
    ]
    if given.get("reported", "with") not in REPORTED:
        problems.append(
            Complaint(f"reported = {given['reported']!r}: must be one of {', '.join(REPORTED)}", where,
                      "write before where it was public before the outcome was known, with where both came "
                      "together")
        )  # fmt: skip
    numbers: dict[str, float] = {}
    for name in (x for x in COLUMNS if x not in TEXTS and x in given):
        value = _positive(given[name])
        if value is None or (name == "level" and value >= 1):
            rule = "between 0 and 1, such as 0.9" if name == "level" else "a finite, positive number"
            problems.append(Complaint(f"{name} = {given[name]!r}: must be {rule}", where))
        else:
            numbers[name] = value
    problems += [Complaint(text, where, hint) for text, hint in _contradictions(given, numbers)]
    if problems:
        raise AnalysisError(problems)
    return Published(**{name: given[name] for name in TEXTS}, **numbers)  # type: ignore[arg-type]


def _unknown(name: str, where: str) -> Complaint:
    near = get_close_matches(name, COLUMNS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the columns are {', '.join(COLUMNS)}"
    return Complaint(f"column {name!r} is not known", where, hint)


def _contradictions(given: Mapping[str, str], numbers: Mapping[str, float]) -> list[tuple[str, str]]:
    """What fields say of each other, and what to do; of numbers that could be read."""
    found = []
    interval = [name for name in ("low", "high", "level") if name in given]
    if 0 < len(interval) < 3:
        found.append((f"has {' and '.join(interval)} of an interval", "give low, high and level, or none"))
    if not interval and "predicted" not in given:
        found.append(("has neither a predicted value nor an interval", "give one"))
    low, high, middle = (numbers.get(name) for name in ("low", "high", "predicted"))
    if low is not None and high is not None:
        if low >= high:
            found.append((f"low = {low:g}, high = {high:g}: low must be below high", "exchange them"))
        elif middle is not None and not low <= middle <= high:
            found.append((f"predicted = {middle:g} is not within [{low:g}, {high:g}]", "look the three up"))
    flops, fitted = numbers.get("flops"), numbers.get("fitted_flops")
    if flops is None and fitted is not None:
        found.append(("has fitted_flops and no flops", "give both: their ratio is the extrapolation"))
    return found


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < np.inf else None


def read(path: str | Path) -> tuple[Published, ...]:
    """The forecasts of a file, in its order.

    Raises:
        AnalysisError: the file cannot be read or is no such file; everything wrong with its rows, by line.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise AnalysisError(f"{path}: cannot be read ({reason})") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        lines = [(rows.line_num, row) for row in rows if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise AnalysisError(Complaint(f"not a CSV ({error})", f"{path}:{rows.line_num}")) from None
    lines = [(line, row) for line, row in lines if not row[0].startswith(COMMENT)]
    first, header = (lines[0][0], [name.strip() for name in lines[0][1]]) if lines else (1, [])
    problems = _of_header(header, f"{path}:{first}")
    if problems:
        raise AnalysisError(problems)
    found: dict[tuple[str, str], Published] = {}
    for line, row in lines[1:]:
        where = f"{path}:{line}"
        if len(row) != len(header):
            problems.append(Complaint(f"has {len(row)} cells where the header has {len(header)}", where))
            continue
        try:
            one = entry(dict(zip(header, row, strict=True)), where)
        except AnalysisError as error:
            problems += error.problems
            continue
        if one.key in found:
            message = f"{one.name!r} of {one.source!r} stands twice"
            problems.append(Complaint(message, where, "keep one of them, or tell them apart by name"))
        found[one.key] = one
    if problems:
        raise AnalysisError(problems)
    return tuple(found.values())


def _of_header(header: Sequence[str], where: str) -> list[Complaint]:
    problems = [_unknown(name, where) for name in header if name not in COLUMNS]
    missing = [name for name in TEXTS if name not in header]
    if missing:
        problems.append(Complaint(f"column {missing[0]!r} is missing", where, FORM))
    twice = {name for name in header if header.count(name) > 1}
    return problems + [Complaint(f"column {name!r} stands twice", where) for name in sorted(twice)]


def add(new: Sequence[Published], path: str | Path) -> int:
    """Put forecasts into a file, which is made where there is none; returns how many were added or changed.

    What is there already stays as it is, but for an outcome that was not known yet.

    Raises:
        AnalysisError: the file is damaged or cannot be written, or has one of them with other content.
    """
    path = Path(path)
    kept = {one.key: one for one in read(path)} if path.exists() else {}
    problems, changed = [], 0
    for one in new:
        before = kept.get(one.key)
        if before is not None and one != before and replace(one, measured=None) != before:
            message = (
                f"{one.name!r} of {one.source!r} is there with other content: {_difference(before, one)}"
            )
            problems.append(
                Complaint(message, str(path), "correct the file, or give the forecast another name")
            )
        changed += one != before
        kept[one.key] = one
    if problems:
        raise AnalysisError(problems)
    if changed:
        _write(tuple(kept.values()), path)
    return changed


def _difference(before: Published, after: Published) -> str:
    pairs = ((name, getattr(before, name), getattr(after, name)) for name in COLUMNS)
    return ", ".join(f"{name} = {old} there, {new} here" for name, old, new in pairs if old != new)


def _write(entries: Sequence[Published], path: Path) -> None:
    lines = path.read_text("utf-8-sig").splitlines(keepends=True) if path.exists() else []
    text = io.StringIO()
    text.writelines(line for line in lines if line.startswith(COMMENT))
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(one, name) for name in COLUMNS] for one in entries)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.getvalue())
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be written ({error.strerror})") from None
