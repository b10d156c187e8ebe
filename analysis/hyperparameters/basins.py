"""Learning-rate and batch basins: the optimum of the loss in each cell, and power laws through the optima.

Stage 1 (:mod:`analysis.hyperparameters.quadratic`): per cell, of one size and token count, say, the minimum
of log loss over log learning rate and log batch jointly. Stage 2 (:mod:`analysis.hyperparameters.optima`):
lr* = c N^p D^q, B* = k D^r with the uncertainty of both. Forms: Li et al. 2025 (arXiv:2503.04715, "Step
Law"); in compute, DeepSeek-AI 2024 (arXiv:2401.02954); in size, Porian et al. 2024 (arXiv:2406.19146)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from analysis.codec import Result
from analysis.errors import AnalysisError, plural
from analysis.fits.options import FitOptions
from analysis.fits.result import Fit
from analysis.fits.rows import Rows, prepare
from analysis.fits.summary import left_out, number
from analysis.hyperparameters import sweep
from analysis.hyperparameters.optima import empty_cells, formula, left_behind, named, power_law, predict
from analysis.hyperparameters.quadratic import METHODS
from analysis.laws.law import Law
from analysis.results import Status
from analysis.tables.table import about

SOURCE = "Li et al. 2025, arXiv:2503.04715"
SELECTED = (
    "cells have their optimum at an end of the sweep, a bound, and are left out; where optima drift towards "
    "that end, this biases the exponents: sweep wider there"
)
INCLUDED = (
    "cells have their optimum at an end of the sweep, and stand in the laws as if it were one: it is a bound"
)


@dataclass(frozen=True)
class Basins(Result):
    """``cells``: a row per cell: its columns, ``runs, used, verdict, reason``, the ``loss`` of the minimum
    and the ``best`` measured, ``noise`` (standard deviation of log loss about the quadratic); for ``lr`` and
    ``batch`` the optimum, ``_se`` (of its log), ``_factor`` (by which it may be off at +``tolerance``, the
    other retuned), ``_from, _to`` (swept). ``laws``: lr and batch -> Fit, exponents dividing
    (:func:`analysis.hyperparameters.optima.power_law` turns the sign); ``scatter``: standard
    deviation of log optima about the law beyond their errors. ``runs``: what was used. ``hessians``: per
    cell, of log loss in the logs."""

    columns: dict[str, str]
    by: tuple[str, ...]
    method: str
    window: float | None
    tolerance: float
    cells: pd.DataFrame
    runs: pd.DataFrame
    hessians: tuple[tuple[tuple[float, ...], ...], ...]
    laws: dict[str, Fit]
    scatter: dict[str, float]
    excluded: tuple[dict[str, str], ...]
    notes: tuple[str, ...]

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "basins"
    AGAIN: ClassVar = "estimate them again with this version"

    @property
    def lr(self) -> Fit:
        """The law of the learning rate. Raises AnalysisError where none was asked for."""
        return self._law("lr")

    @property
    def batch(self) -> Fit:
        """The law of the batch, in the units of its column. Raises AnalysisError where none was asked for."""
        return self._law("batch")

    @property
    def status(self) -> Status:
        """The worst of the laws'."""
        weak = [f.status for f in self.laws.values() if f.status.code != "ok"]
        return next((s for s in weak if s.code == "not_identified"), next(iter(weak), self._any().status))

    def _any(self) -> Fit:
        return next(iter(self.laws.values()))

    def _law(self, name: str) -> Fit:
        if name not in self.laws:
            raise AnalysisError(
                f"basins of {', '.join(self.columns)} have no law of {name!r}; name its column"
            )
        return self.laws[name]

    def predict(self, *, level: float | None = None, **inputs: Any) -> pd.DataFrame:
        """Optima at inputs (``N=1e9, D=2e10``, or by column): per law ``lr``, its interval ``lr_low,
        lr_high``, that of a new cell's optimum ``lr_new_low, lr_new_high``, and ``lr_extrapolation``, the
        largest ratio of an input to the largest (or of the smallest to it) among the cells. Raises
        AnalysisError."""
        return predict(self.laws, inputs, level)

    def cost(self, at: Mapping[str, Any] | None = None) -> pd.DataFrame:
        """What other values cost, per cell: relative loss above the best measured run. ``at``: values for lr
        and batch, one or one per cell (left out: those of our laws). ``cost`` is interpolated linearly
        between measured runs in logs (nan outside of them,
        or where they enclose nothing), so that neither a quadratic nor a law is trusted;
        ``quadratic`` is the quadratic's, above its own minimum. Raises AnalysisError."""
        names = tuple(self.columns)
        given = at
        if given is None:
            inputs = {x: self.cells[x].to_numpy(float) for law in self.laws.values() for x in law.law.inputs}
            given = cast(Any, predict(self.laws, inputs, None))
        missing = [name for name in names if name not in given]
        if missing:
            raise AnalysisError(
                f"cost: {', '.join(missing)} missing; give a value for each of {', '.join(names)}"
            )
        values = [np.broadcast_to(np.asarray(given[n], float), (len(self.cells),)) for n in names]
        x = np.log(np.column_stack(values))
        own = np.log(self.cells[list(names)].to_numpy(float))
        d = x - own
        bend = np.array(self.hessians, float)
        out = self.cells[list(self.by)].assign(**dict(zip(names, values, strict=True)))
        out["cost"] = [self._measured(i, x[i]) for i in range(len(self.cells))]
        out["quadratic"] = np.expm1(0.5 * np.einsum("ci,cij,cj->c", d, bend, d))
        return out

    def _measured(self, cell: int, x: np.ndarray) -> float:
        rows = cast(Any, self.runs[self.runs["cell"] == cell])
        points, y = np.log(rows[list(self.columns)].to_numpy(float)), np.log(rows["loss"].to_numpy(float))
        if points.shape[1] == 1:
            order = np.argsort(points[:, 0])
            log_loss = np.interp(x[0], points[order, 0], y[order], left=np.nan, right=np.nan)
        else:
            try:
                log_loss = LinearNDInterpolator(points, y, rescale=True)(x[None])[0]
            except QhullError:  # too few runs, or all on one line: they enclose nothing
                return np.nan
        return float(np.expm1(log_loss - y.min()))

    def summary(self) -> str:
        """The basins as text for a terminal."""
        tuned = ", ".join(f"{n} = {c}" if n != c else n for n, c in self.columns.items())
        how = METHODS[self.method]
        if self.method == "quadratic":
            how += ", all runs" if self.window is None else f", runs within {self.window:.2%} of the best"
        lines = [
            f"basins of loss over {tuned}: {plural(len(self.cells), 'cell')} by {', '.join(self.by)}; {how}"
        ]
        cells = cast(Any, self.cells)
        verdicts = Counter(cells["verdict"])
        lines.append("  cells: " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common()))
        inside = cells[cells["verdict"] == "interior"]
        for name, law in self.laws.items():
            lines.append(f"  {formula(law)}  ({plural(law.objective.n, 'cell')}, {law.level:.0%})")
            lines.append(f"    status: {law.status.code} - {law.status.message}")
            lines.append(f"    intervals: {law.intervals.method}")
            if f"{name}_se" in inside and inside[f"{name}_se"].notna().any():
                factor = float(inside[f"{name}_factor"].median())
                error = number(inside[f"{name}_se"].median())
                lines.append(f"    log {name}*: error of a cell {error} (median), scatter about the law "
                             f"{number(self.scatter[name])}; off by {factor:.2f}x costs {self.tolerance:.2%}"
                             )  # fmt: skip
        lines += [
            f"  {row['verdict']}: {named({x: row[x] for x in self.by})}: {row['reason']}"
            for row in cells[cells["verdict"] != "interior"].to_dict("records")
        ]
        return "\n".join([*lines, *left_out(self), *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        table = self.cells.to_html(index=False, float_format=number)
        return f"{super()._repr_html_()}<details><summary>cells</summary>{table}</details>"


def find(
    table: pd.DataFrame,
    *,
    lr: str | None = "learning_rate",
    batch: str | None = "batch_tokens",
    by: Sequence[str] = ("params", "tokens"),
    lr_on: Sequence[str] = ("params", "tokens"),
    batch_on: Sequence[str] = ("tokens",),
    loss: str = "loss",
    method: str = "quadratic",
    window: float | None = 0.01,
    span: float = 0.3,
    tolerance: float = 0.0025,
    edges: bool = False,
    cluster: str | None = None,
    bootstrap: int = 500,
    level: float = 0.9,
    roles: Sequence[str] = ("fit", "tuning"),
    where: str | None = None,
    seed: int = 0,
) -> Basins:
    """Find the best learning rate and batch in each cell, and power laws through these optima.

    Args:
        table: runs of a sweep.
        lr: the column of learning rates; None: not tuned.
        batch: the column of batches; None: not tuned.
        by: columns that tell cells apart: rows equal in all of them are one cell, tokens to 1 %.
        lr_on: the inputs of the learning rate's law, columns out of ``by``.
        batch_on: the inputs of the batch's law, columns out of ``by``.
        loss: the column to minimise.
        method: how the optimum of a cell is found, a name of ``METHODS``.
        window: relative loss above the best up to which runs enter a quadratic (at least two more than it has
            coefficients do); None: all.
        span: the share of a cell's runs that a local quadratic weighs, above 0 and at most 1.
        tolerance: relative excess loss at which a cell says by what factor each hyperparameter may be off.
        edges: whether to let optima at the end of a sweep, which are bounds, into the laws.
        cluster: the column, one of ``by``, of cells that share noise; left out: none do.
        bootstrap: replicates of each law.
        level: of the intervals.
        roles: the roles to keep.
        where: filter (:mod:`analysis.tables.where`).
        seed: of the replicates.

    Raises:
        AnalysisError: for an option out of range, a missing column or one with gaps, no usable run, no column
            that varies within a cell, or no cell whose optimum may enter a law.
    """
    columns = {name: column for name, column in (("lr", lr), ("batch", batch)) if column is not None}
    on = {"lr": tuple(lr_on), "batch": tuple(batch_on)}
    on = {name: on[name] for name in columns}
    _check(columns, on, by, method, window, span, tolerance, cluster)
    inputs = tuple(dict.fromkeys([*columns.values(), *(x for name in columns for x in on[name])]))
    asked = FitOptions(target=loss, roles=roles, where=where, cells="all")
    rows = _rows(table, inputs, by, asked)
    frame = sweep.levelled(rows.frame, by)
    columns, held = sweep.swept(frame, columns, by)
    cells, runs, hessians = sweep.basins_of(frame, columns, tuple(by), method, window, span, tolerance)
    interior = cells["verdict"] == "interior"
    kept = cells[interior | ((cells["verdict"] == "edge") & edges)]
    if not len(kept):
        raise AnalysisError(sweep.none_inside(cells))
    left = left_behind(cells.drop(kept.index), by)
    laws, tau = {}, {}
    for name in columns:
        laws[name], tau[name] = power_law(
            name, kept, on[name], source=SOURCE, excluded=left, cluster=cluster or "cell",
            bootstrap=bootstrap, level=level, seed=seed,
        )  # fmt: skip
    edge = int((cells["verdict"] == "edge").sum())
    at_edges = [f"{edge} of {len(cells)} {INCLUDED if edges else SELECTED}"] if edge else []
    notes = dict.fromkeys(
        [*about(rows.frame).notes, *held, *at_edges, *(n for f in laws.values() for n in f.notes)]
    )
    within = window if method == "quadratic" else None
    return Basins(columns, tuple(by), method, within, tolerance, cells, runs, hessians, laws, tau,
                  rows.excluded, tuple(notes))  # fmt: skip


def _rows(table: pd.DataFrame, inputs: Sequence[str], by: Sequence[str], asked: FitOptions) -> Rows:
    """The runs of a sweep with its ``inputs``. Raises AnalysisError for none, or where ``by`` cannot
    tell cells apart."""
    rows = prepare(Law("basins", {"c": {x: x for x in inputs}}), table, asked)
    problems = [
        f"column {x!r} is missing; the cells are to be told apart by it" for x in by if x not in rows.frame
    ]
    if problems := problems + empty_cells(rows.frame, by):
        raise AnalysisError(problems)
    if not len(rows.frame):
        why = Counter(row["reason"] for row in rows.excluded)
        raise AnalysisError(f"table: no usable runs of {len(table)}; {why}")
    return rows


def _check(
    columns: Mapping[str, str], on: Mapping[str, Sequence[str]], by: Sequence[str], method: str,
    window: float | None, span: float, tolerance: float, cluster: str | None,
) -> None:  # fmt: skip
    problems = []
    if not columns:
        problems.append("lr = None and batch = None: name the column of at least one that was swept")
    if method not in METHODS:
        problems.append(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    if window is not None and not 0 < window < np.inf:
        problems.append(f"window = {window!r} must be positive, 0.01 for runs within 1 %, or None for all")
    if not 0 < span <= 1:
        problems.append(f"span = {span!r} must be above 0 and at most 1; 0.3 is usual")
    if not 0 < tolerance < np.inf:
        problems.append(f"tolerance = {tolerance!r} must be positive, 0.0025 for +0.25 %")
    for name, inputs in on.items():
        stray = [x for x in inputs if x not in by]
        if stray or not inputs:
            problems.append(f"{name}_on = {tuple(inputs)!r}: name columns out of by = {tuple(by)!r}")
    if cluster is not None and cluster not in by:
        problems.append(f"cluster = {cluster!r}: name one of by = {tuple(by)!r}")
    if problems:
        raise AnalysisError(problems)
