"""Wide tables to long ones: a column each of several headings -> a row each."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError, Argument, Complaint, some
from analysis.readers.numbers import typed
from analysis.readers.source import LINE, PLACE, Reading

FORM = re.compile(r"\s*([^={}]+?)\s*=(.+)", re.DOTALL)
BLANK = re.compile(r"\{([^{}]+)\}")
COUNT = r"\d[\d.,_]*(?:[eE][+-]?\d+)?\s*[KMBTkmbt]?"  # what a heading that is only a blank must be


def melted(reading: Reading, melt: str, name: str) -> Reading:
    """One row for each filled-in cell of the columns that ``melt`` describes.

    ``loss=loss@{tokens}``: the cells of all columns ``loss@...`` become column ``loss``, and what stands in
    their headings for ``{tokens}`` becomes column ``tokens``. A heading that is nothing but a blank,
    ``loss={tokens}``, is a number. Raises AnalysisError.
    """
    argument = Argument("melt", melt)
    form = FORM.fullmatch(melt)
    blanks = BLANK.findall(form[2]) if form else []
    if form is None or not blanks or len(set(blanks)) < len(blanks):
        hint = "such as ", Argument("melt", "loss=loss@{tokens}")
        raise AnalysisError(Complaint("must look like COLUMN=HEADING with {BLANKS}", argument, hint))
    target, heading = form[1], form[2]
    parts = [re.escape(part) for part in BLANK.split(heading)[::2]]
    inner = COUNT if not any(parts) else ".+?"
    pattern = re.compile(f"({inner})".join(parts), re.DOTALL)
    frame = reading.frame
    matched = {c: match.groups() for c in frame.columns if (match := pattern.fullmatch(str(c)))}
    kept = [c for c in frame.columns if c not in matched]
    if not matched:
        hint = f"columns here: {some(map(repr, frame.columns))}"
        raise AnalysisError(Complaint((argument, f": no heading is like {heading!r}"), name, hint))
    if taken := [c for c in (target, *blanks) if c in kept]:
        what = argument, f": {some(map(repr, taken))} is a column already"
        raise AnalysisError(Complaint(what, name, "give another name"))
    headings = zip(blanks, zip(*matched.values(), strict=True), strict=True)
    values = {blank: typed(cells, blank) for blank, cells in headings}
    kind = LINE if frame.index.name == LINE else "row"
    parts = []
    for i, column in enumerate(matched):
        cells = {**{blank: typed_cells[i] for blank, typed_cells in values.items()}, target: frame[column]}
        part = frame[kept].assign(**cells)
        part.index = pd.Index([f"{kind} {row}, {column}" for row in frame.index], name=PLACE)
        parts.append(part)
    table: Any = pd.concat(parts)
    filled = table[target].notna()
    note = f"{len(matched)} columns like {heading!r} melted to {int(filled.sum())} rows of {target!r}"
    if not filled.all():
        note += f"; {int((~filled).sum())} empty cells left out"
    return reading.noted(table[filled], note)
