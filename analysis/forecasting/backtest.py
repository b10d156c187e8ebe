"""Back-test: fit below a budget, predict the runs at the largest one. What a forecast's error would have been
one step earlier, known before the next run is paid for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits.fitting import fit
from analysis.laws.law import Law
from analysis.optimal_size.isoflop import minima
from analysis.tables.budgets import budgets
from analysis.tables.checks import row_names
from analysis.tables.runs import select
from analysis.tables.table import Table

LEVEL = 0.9  # of intervals, where there is no fit to say


@dataclass(frozen=True)
class BackTest:
    """Errors are signed and relative: (predicted - measured) / measured; positive means over-predicted.

    ``runs``: row, label, N, D, C, loss, predicted, error, low, high (interval of a new run), inside.
    ``bias`` mean and ``rms`` of the errors; ``inside`` the fraction within the interval of ``level``.
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
        table: runs; those of one budget share column ``budget``, or nearly the same compute.
        below: budget (FLOPs) below which runs are fitted; left out: all but the largest budget.
        convention: which columns or formulas N and C are, a name of ``CONVENTIONS``.
        options: go to :func:`analysis.fit`.

    Returns:
        The errors; where there was nothing to fit, no runs and a ``message``.

    Raises:
        AnalysisError: for ``below`` not between 0 and the largest budget, or a bad request or table.
    """
    name = law if isinstance(law, str) else law.name
    frame: Any = select(table, options.get("roles", ("fit",)), convention=convention)[0]
    if not len(frame):
        return BackTest(name, convention, None, 0, 1.0, LEVEL, message="no usable runs to fit")
    budget = budgets(frame)
    largest = float(budget.max())
    if below is not None and not 0 < below <= largest:
        raise AnalysisError(
            f"back-test: below = {below:g} must lie between 0 and the largest budget {largest:g}"
        )
    early = budget < (largest if below is None else below)
    train, test = frame[early], frame[budget == largest]
    if not len(train):
        return BackTest(name, convention, largest, 0, 1.0, LEVEL, message="all runs share one budget")
    fitted = fit(law, Table(train), convention=convention, **options)
    tested = BackTest(
        name, convention, largest, len(train), largest / float(budget[early].max()), fitted.level
    )
    if not fitted.usable:
        return replace(tested, message=fitted.status.message)
    predicted = fitted.predict(test).frame
    measured = test["L"].to_numpy(float)
    error = predicted["loss"].to_numpy() / measured - 1
    low, high = (predicted[side].to_numpy() for side in ("new_low", "new_high"))
    inside = ~(measured < low) & ~(measured > high)  # an end that is not identified is open
    columns = {
        "row": row_names(test),
        "label": test["label"].astype(str).tolist() if "label" in test.columns else row_names(test),
        **{x: test[x].to_numpy(float).tolist() for x in "NDC"},
        "loss": measured.tolist(),
        "predicted": predicted["loss"].tolist(),
        "error": error.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
        "inside": inside.tolist(),
    }
    runs = tuple(dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return replace(
        tested, runs=runs, bias=float(error.mean()), rms=float(np.sqrt(np.mean(error**2))),
        inside=float(inside.mean()), baseline=_baseline(frame, early, convention),
    )  # fmt: skip


def _baseline(frame: Any, early: np.ndarray, convention: str) -> float | None:
    roles = tuple(frame["role"].unique())
    last = minima(Table(frame), convention=convention, roles=roles).minima[-1]
    naive = minima(Table(frame[early]), convention=convention, roles=roles).baseline(last.budget)
    return None if naive is None or last.loss is None else naive / last.loss - 1
