"""Files -> checked tables of runs. One row is one training run.

Any CSV, parquet or JSON lines file with ``params``, ``tokens`` and ``loss`` (nats per token) works, also
under the names of :data:`analysis.tables.columns.ALIASES`. Columns that this package knows beside these:
``flops, params_body, run_id, trunk_id, label, role, status, status_reason, seed, budget``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis import files
from analysis.errors import AnalysisError, Argument, Complaint, plural
from analysis.readers.files import files as files_of
from analysis.readers.numbers import NumberFormat
from analysis.tables.cells import CELLS
from analysis.tables.checks import (
    REQUIRED,
    check,
    checkable,
    finished,
    needed,
    positive,
)
from analysis.tables.columns import adopt
from analysis.tables.flags import check_rules
from analysis.tables.magnitudes import implausible
from analysis.tables.missing import derive, stated_quantities
from analysis.tables.reading import named, read, stacked
from analysis.tables.runs import filtered
from analysis.tables.table import about, tell
from analysis.tables.totals import without_totals
from analysis.tables.units import STATED, convert


@np.errstate(all="ignore")  # of tables of any magnitude
def load(
    path: str | Path | Sequence[str | Path],
    *,
    where: str | None = None,
    after: float | None = None,
    run: str | None = None,
    units: Mapping[str, str] | None = None,
    columns: Mapping[str, str | None] | None = None,
    needs: Sequence[str] = REQUIRED,
    decimal: str = ".",
    thousands: str | None = None,
    melt: str | None = None,
    cells: str | None = None,
    flags: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read and check a table of runs.

    Fill ``flops`` as 6 params tokens (or ``tokens`` from it) and ``role`` as ``fit`` where missing. Of a
    history (several rows a run), keep the last row with a loss of each run.

    Args:
        path: a file, a pattern such as ``runs/*.csv``, a results folder (its ``runs.csv``), a folder of a
            tracker or trainer, or a list of these: several files are one table, in which column ``source``
            has the file of each row. What a file is, its content says
            (:data:`analysis.readers.read.READERS`).
        where: filter; keeps the rows that satisfy it (:mod:`analysis.tables.where`).
        after: in a table of checkpoints, the fraction of each run's tokens to leave out at its beginning: 0.1
            drops the first tenth, 0 nothing. Goes with ``run``.
        run: the column that says which rows are one run.
        units: unit of a column by its name, ``{"params": "M", "loss": "bits"}``
            (:data:`analysis.tables.units.UNITS`, or "suffix" for "70M").
        columns: which column is which, ``{"params": "N"}``, or None for one not to be used,
            ``{"flops": None}``.
        needs: columns that must be there and keep their names (:func:`sources` of a law); unless params,
            tokens and loss are among them, other columns are not checked.
        decimal: the decimal sign of numbers in text.
        thousands: the sign between groups of three digits, such as "." beside ``decimal=","``; None: there is
            none.
        melt: makes columns rows, ``"loss=loss@{tokens}"`` (:func:`analysis.readers.melt.melted`).
        cells: ``"all"`` keeps every row, here and in what is fitted to the table; left out: of several
            hyperparameters in a cell the best is fitted (:mod:`analysis.tables.cells`).
        flags: ``{"loss_spike": "drop", "undercooled": "use"}``: whether runs with a flag are fitted; left
            out: as :data:`analysis.tables.flags.RULES` says.

    Returns:
        A frame whose index, for a text file, is called ``line`` and has line numbers. Its ``attrs["table"]``
        is an :class:`About`: ``notes`` say what was read as what and filled, ``left_out`` has the rows left
        out, ``{row, reason}``; fits list them.

    Raises:
        AnalysisError: with every problem found, by file and line.
    """
    if cells not in (None, *CELLS):
        given = Argument("cells", cells)
        raise AnalysisError(Complaint((given, f": must be {' or '.join(CELLS)}")))
    columns = dict(columns or {})
    frames = read(path, NumberFormat(decimal, thousands), melt)
    problems: list[Complaint | str] = []
    asked: list[tuple[int, Complaint]] = []  # by row of all tables
    before = 0
    for file, frame in frames.items():
        frame, questions = without_totals(frame, str(file))
        asked += [(before + row, question) for row, question in questions.items()]
        before += len(frame)
        frames[file], wrong = _ours(frame, columns, units or {}, str(file), needs)
        problems += wrong
    frame, name = stacked(frames), named(frames)
    check_rules(flags or {}, frame)
    tell(frame, cells=cells, flags=dict(flags or {}))
    places = frame.index
    unused = [ours for ours, source in columns.items() if source is None]
    try:
        frame = filtered(frame, where, after, run, name)
    except AnalysisError as error:
        problems += error.problems
    problems += [question for row, question in asked if places[row] in frame.index]
    frame = frame.drop(columns=[ours for ours in unused if ours in frame.columns])
    given = "flops" in frame.columns
    try:
        frame = check(frame, name=name, values=True, needs=needs)
    except AnalysisError as error:
        raise AnalysisError([*problems, *error.problems]) from None
    checked = checkable(needed(frame, needs))
    usable = finished(frame) & positive(frame[[c for c in REQUIRED if c in checked]].to_numpy(float)).all(1)
    found, notes = implausible(frame[usable], name, checked, given_flops=given) if usable.any() else ([], [])
    if problems or found:
        raise AnalysisError([*problems, *found])
    tell(frame, read=(*about(frame).read, *notes))
    return frame


def _ours(
    frame: pd.DataFrame,
    columns: Mapping[str, str | None],
    units: Mapping[str, str],
    name: str,
    needs: Sequence[str],
) -> tuple[pd.DataFrame, list[Complaint]]:
    """One file's columns by our names and in our units, and what is wrong with them; arguments of
    :func:`load`. Raises AnalysisError where what a column should follow from is not there."""
    quantities = stated_quantities(columns, list(frame.columns))
    frame, misnamed = adopt(frame, {**columns, **dict.fromkeys(quantities)}, name, needs)
    frame, misstated = convert(frame, dict(units), name)
    unused = [ours for ours, source in columns.items() if source is None]
    frame, underived = derive(frame, quantities, unused, name)
    if underived:  # which would make others of no meaning
        raise AnalysisError([*misnamed, *misstated, *underived])
    return frame, [*misnamed, *misstated]


def import_table(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    **reading: Any,
) -> tuple[str, ...]:
    """Write ``source`` as a CSV with our columns and units, and return what there is to know of it: each
    file and its SHA-256, what was read as what, filled, left out. ``reading`` are arguments of :func:`load`.

    ``out`` is never overwritten with other content. Raises AnalysisError.
    """
    out = Path(out)
    frame = load(source, **reading)
    if out.suffix != ".csv":
        raise AnalysisError(f"out = {str(out)!r}: a CSV is written; give a name that ends in .csv")
    if out.is_dir() or not out.parent.is_dir():
        raise AnalysisError(f"out = {str(out)!r}: must be a file in a folder that exists, like runs.csv")
    stated = about(frame).units
    if stated:  # so that what was said of the units now is still known when the copy is loaded
        frame[STATED] = "|".join(f"{column}={unit}" for column, unit in stated.items())
    text = frame.to_csv(index=False, lineterminator="\n")
    try:
        files.create(out, text)
    except OSError as error:
        raise AnalysisError(f"out = {str(out)!r}: cannot be written ({error.strerror or error})") from error
    sources = [
        f"{path}, sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in (file.path for file in files_of(source))
    ]
    origin = f"{plural(len(frame), 'row')} from {sources[0]}", *sources[1:]
    reasons = Counter(row["reason"] for row in about(frame).left_out)
    left_out = [f"{plural(count, 'row')} left out: {why}" for why, count in reasons.items()]
    return (*origin, *left_out, *about(frame).notes)
