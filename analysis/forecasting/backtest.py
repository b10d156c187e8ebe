"""Back-test: fit below a budget, predict the runs at the largest one. What the law, and the forecast by it,
would have been off by one step earlier, known before the next run is paid for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits.earlier import Earlier, budget_of
from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.optimal_size.isoflop import minima
from analysis.tables.budgets import budgets
from analysis.tables.checks import row_names
from analysis.tables.runs import select
from analysis.tables.table import Table, frame_of


@dataclass(frozen=True)
class BackTest:
    """Errors are signed and relative: (predicted - measured) / measured; positive means over-predicted.

    ``runs``: row, label, N, D, C, loss, predicted and error (of the law), forecast, low, high (interval of a
    new run, about the forecast), inside. ``bias`` mean and ``rms`` of the law's errors, ``forecast_bias``
    mean of the forecast's; ``inside`` the fraction within the interval of ``level``.
    ``extrapolation``: tested budget over the largest fitted. ``baseline``: the isoFLOP minima extrapolated,
    against the minimum at the tested budget (None where a minimum is missing). ``message`` is empty unless
    there was nothing to fit; then runs are empty and bias, rms, inside are None, as is budget
    without any run.
    """

    law: str
    convention: str
    budget: float | None
    n_train: int
    extrapolation: float
    level: float
    runs: tuple[dict[str, Any], ...] = ()
    bias: float | None = None
    rms: float | None = None
    forecast_bias: float | None = None
    inside: float | None = None
    baseline: float | None = None
    message: str = ""

    @property
    def usable(self) -> bool:
        return bool(self.runs)


def run(
    law: str | Law,
    table: pd.DataFrame | Table,
    *,
    below: float | None = None,
    convention: str = "total",
    **options: Any,
) -> BackTest:
    """Fit the runs below a budget and predict those of the largest one.

    Args:
        law: a name of ``LAWS``, ``file.py:NAME`` or a Law.
        table: runs.
        below: budget (FLOPs) below which runs are fitted; left out: all but the largest budget.
        convention: which columns or formulas N and C are, a name of ``CONVENTIONS``.
        options: go to :func:`analysis.fit`; of its replicates a back-test needs none.

    Returns:
        The errors; where there was nothing to fit, no runs and a ``message``.

    Raises:
        AnalysisError: for ``below`` not between 0 and the largest budget, or a bad request or table.
    """
    asked: dict[str, Any] = {"bootstrap": 0, "convention": convention, **options}
    return of(fit(law, table, **asked), table, below=below)


def of(whole: Fit, table: pd.DataFrame | Table, *, below: float | None = None) -> BackTest:
    """Back-test the law of a fit on its own runs, by the fit behind its forecasts
    (:mod:`analysis.fits.earlier`).

    Args:
        whole: the fit of all runs. Those of one budget have nearly the same compute.
        table: that it was fitted to.
        below: as of :func:`run`, which says the rest.
    """
    name, level = whole.law.name, whole.level
    if not len(whole.data["row"]):
        return BackTest(name, whole.convention, None, 0, 1.0, level, message="no usable runs to fit")
    largest = float(budget_of(whole).max())
    if below is not None and not 0 < below <= largest:
        raise AnalysisError(
            f"back-test: below = {below:g} must lie between 0 and the largest budget {largest:g}"
        )
    if not whole.usable:
        return BackTest(name, whole.convention, largest, 0, 1.0, level, message=whole.status.message)
    try:
        before = whole.earlier if below is None else Earlier.of(whole, below)
    except AnalysisError as error:
        return BackTest(name, whole.convention, largest, 0, 1.0, level, message=str(error))
    if before.blind:
        inputs = ", ".join(whole.law.inputs)
        why = f"nothing shows that losses below {below or largest:.3g} depend on {inputs}"
        return BackTest(name, whole.convention, largest, 0, 1.0, level, message=why)
    rows = np.flatnonzero(before.late)
    data = {x: [column[i] for i in rows] for x, column in whole.data.items()}
    predicted = before.fit.predict(_asked(whole, data)).frame
    measured = np.array(data["L"])
    error, ahead = (predicted[x].to_numpy() / measured - 1 for x in ("loss", "forecast"))
    low, high = (predicted[side].to_numpy() for side in ("new_low", "new_high"))
    inside = ~(measured < low) & ~(measured > high)  # an end that is not identified is open
    columns = {
        "row": data["row"],
        "label": data["label"],
        **{x: data.get(x, [np.nan] * len(rows)) for x in "NDC"},
        "loss": data["L"],
        "predicted": predicted["loss"].tolist(),
        "error": error.tolist(),
        "forecast": predicted["forecast"].tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "inside": inside.tolist(),
    }
    runs = tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    baseline = None
    if "C" in data:
        frame = _runs(whole, table)
        largest = float(budgets(frame).max())  # as the table names it
        most = float(np.array(whole.data["C"])[before.early].max())
        baseline = _baseline(frame, most, whole.convention)
    return BackTest(
        name, whole.convention, largest, int(before.early.sum()), before.far, level, runs,
        bias=float(error.mean()), rms=float(np.sqrt(np.mean(error**2))), forecast_bias=float(ahead.mean()),
        inside=float(inside.mean()), baseline=baseline,
    )  # fmt: skip


def _asked(whole: Fit, data: dict[str, list[Any]]) -> dict[str, Any]:
    """The inputs of the rows in ``data``, and their groups by label."""
    asked: dict[str, Any] = {
        x: data[x] for x in dict.fromkeys(("N", "D", "C", *whole.law.inputs)) if x in data
    }
    if whole.setup.groups is not None:
        asked[whole.setup.groups] = [whole.setup.labels[i] for i in data["group"]]
    return asked


def _runs(whole: Fit, table: pd.DataFrame | Table) -> Any:
    """The rows of the table that were fitted."""
    given = frame_of(table)
    roles = tuple(given["role"].unique()) if "role" in given.columns else ("fit",)
    frame: Any = select(table, roles, convention=whole.convention)[0]
    fitted = set(whole.data["row"])
    return frame[[name in fitted for name in row_names(frame)]]


def _baseline(frame: Any, most: float, convention: str) -> float | None:
    """Relative error of the isoFLOP minima of the runs up to a compute, extrapolated, at the largest one."""
    roles = tuple(frame["role"].unique())
    last = minima(Table(frame), convention=convention, roles=roles).minima[-1]
    early = Table(frame[frame["C"] <= most])
    naive = minima(early, convention=convention, roles=roles).baseline(last.budget)
    return None if naive is None or last.loss is None else naive / last.loss - 1
