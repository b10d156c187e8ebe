"""Every run of a table as a row of the page: figures are drawn from it, readers sort and filter it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from analysis.findings import Described, Findings
from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.tables.checks import row_names
from analysis.tables.reading import numbers
from analysis.tables.runs import CONVENTIONS, select
from analysis.tables.table import Table, frame_of
from analysis.tables.units import loss_unit
from analysis.variants.comparison import COLUMN

DIGITS = 7
FITTED = "fitted"
# column of the page -> of the table; N, D, C and what is known of the loss come first
LED = ("run_id", "label", "role", "status", "loss", "params", "tokens", "flops")
HEADINGS = {
    "label": "run",
    "N": "N, parameters",
    "D": "D, tokens",
    "C": "C, FLOPs",
    "loss": "loss",
    "law": "law",
    "residual": "loss / law − 1, %",
    "use": "in the fit",
}


@dataclass(frozen=True)
class Column:
    """One column of the page: ``values`` of all rows, ``kind`` (text, count, power, loss, percent or
    number) how a cell is written."""

    name: str
    heading: str
    kind: str
    values: tuple[Any, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; of text each distinct cell once, and its number in every row."""
        head = {"name": self.name, "heading": self.heading, "kind": self.kind}
        if self.kind != "text":
            return {**head, "values": self.values}
        codes, words = pd.factorize(np.array(self.values, object), use_na_sentinel=False)
        return {**head, "words": list(words), "values": codes.tolist()}


@dataclass(frozen=True)
class Runs:
    """Rows of a table by their place in it. ``columns``: what differs between them; ``common``: what does
    not."""

    frame: pd.DataFrame
    columns: tuple[Column, ...]
    common: dict[str, Any]

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, name: str) -> np.ndarray:
        """The numbers of a column, nan where a cell is empty."""
        return self._numbers[name]

    def text(self, name: str, otherwise: str = "") -> np.ndarray:
        """The words of a column; ``otherwise`` in every row where there is no such column."""
        values = next((column.values for column in self.columns if column.name == name), None)
        return np.array((otherwise,) * len(self) if values is None else values, object)

    def has(self, *names: str) -> bool:
        """Whether these are columns of numbers."""
        return set(names) <= set(self._numbers)

    @cached_property
    def _numbers(self) -> dict[str, np.ndarray]:
        return {c.name: np.array(c.values, float) for c in self.columns if c.kind != "text"}

    @cached_property
    def _places(self) -> pd.Series:
        return pd.Series(np.arange(len(self.frame)), self.frame.index)

    def places(self, rows: pd.DataFrame) -> np.ndarray:
        """Where rows selected from the table stand in it."""
        return self._places.loc[rows.index].to_numpy(int)

    def of_runs(self, ids: Sequence[str]) -> dict[str, int]:
        """Run id -> the place of its last row, of those that have one."""
        if "run_id" not in self.frame.columns:
            return {}
        wanted, known = set(ids), self.frame["run_id"]
        return {str(run): place for place, run in enumerate(known) if run in wanted}


def read(findings: Findings) -> Runs:
    """The rows of a study, with what the law of their variant says of each."""
    frame: Any = frame_of(findings.table)
    convention = findings.fit.convention
    known = _inputs(frame, convention)
    given = known | _others_of(findings.fit.law, frame, known)
    law, use = np.full(len(frame), np.nan), np.full(len(frame), "", object)
    for name, described in findings.analysis.described.items():
        here = np.ones(len(frame), bool) if name is None else (frame[COLUMN] == name).to_numpy(bool)
        law[here] = _law(described.fit, {x: v[here] for x, v in given.items()}, int(here.sum()))
        use[here] = _use(described, frame[here])
    loss = numbers(frame["loss"])[0]
    with np.errstate(all="ignore"):
        residual = 100 * (loss / law - 1)
    unit = loss_unit(frame)
    columns = [
        _text("label", frame["label"] if "label" in frame.columns else row_names(frame)),
        *([_text(COLUMN, frame[COLUMN])] if None not in findings.analysis.described else []),
        *(_numeric(x, known[x], "power" if x == "C" else "count") for x in "NDC" if x in known),
        _numeric("loss", loss, "loss", f"loss, {unit}"),
        *([_numeric("law", law, "loss"), _numeric("residual", residual, "percent")] if findings.fit.usable
          else []),
        _text("use", use),
        *(_text(name, frame[name]) for name in ("role", "status") if name in frame.columns),
    ]  # fmt: skip
    others, common = _others(frame, {column.name for column in columns} | set(LED))
    ids = [_text("run_id", frame["run_id"])] if "run_id" in frame.columns and "label" in frame.columns else []
    return Runs(frame, (*columns, *others, *ids), common)


def _inputs(frame: Any, convention: str) -> dict[str, np.ndarray]:
    """N, D, C of every row, as far as the table has them."""
    size, per_token, _ = CONVENTIONS[convention]
    columns = {"N": size, "D": "tokens", "C": "flops"}
    known = {x: numbers(frame[column])[0] for x, column in columns.items() if column in frame.columns}
    if per_token is not None and {"N", "D"} <= set(known):
        known["C"] = per_token * known["N"] * known["D"]
    return known


def _others_of(law: Law, frame: Any, known: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What else a law takes, as far as the table has it."""
    found = {x: numbers(frame[x])[0] for x in law.inputs if x in frame.columns and x not in known}
    return found | ({"M": known["D"] / known["N"]} if "M" in law.inputs and {"N", "D"} <= set(known) else {})


def _law(fit: Fit, known: dict[str, np.ndarray], count: int) -> np.ndarray:
    """The law's loss of rows (count,), fitted or not; nan where it says none."""
    if not fit.usable or not set(fit.law.inputs) <= set(known):
        return np.full(count, np.nan)
    params = np.array([[fit.solution[name] for name in fit.problem.names]])
    with np.errstate(all="ignore"):
        return fit.problem.values(params, {x: known[x] for x in fit.law.inputs}, 0)[0]


def _use(described: Described, rows: pd.DataFrame) -> list[str]:
    """Of each row ``fitted``, or why it is not."""
    reasons = {one["row"]: one["reason"] for one in described.fit.excluded}
    table = Table(rows)
    kept = set(select(table, convention=described.fit.convention)[0].index)
    names = zip(rows.index, row_names(rows), strict=True)
    return [FITTED if place in kept else reasons.get(name, "left out") for place, name in names]


def _others(frame: Any, shown: set[str]) -> tuple[list[Column], dict[str, Any]]:
    """What else the table has: columns that vary, and the one value of those that do not."""
    varying, common = [], {}
    for name in map(str, frame.columns):
        cells = frame[name]
        if name in shown or cells.isna().all():
            continue
        words = cells.map(str)
        if words.nunique(dropna=False) == 1:
            common[name] = cells.iloc[0]
        elif pd.api.types.is_numeric_dtype(cells.dtype) and not pd.api.types.is_bool_dtype(cells.dtype):
            varying.append(_numeric(name, cells.to_numpy(float), _kind(name)))
        else:
            varying.append(_text(name, cells))
    return varying, common


def _kind(name: str) -> str:
    if name == "budget" or name.startswith("flops"):
        return "power"
    counted = name.startswith("params") or name.endswith("tokens") or name == "steps"
    return "count" if counted else "number"


def _numeric(name: str, values: Any, kind: str, heading: str | None = None) -> Column:
    cells = tuple(float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.asarray(values, float))
    return Column(name, heading or HEADINGS.get(name, name), kind, cells)


def _text(name: str, values: Any) -> Column:
    cells = tuple("" if pd.isna(v) else str(v) for v in values)
    return Column(name, HEADINGS.get(name, name), "text", cells)
