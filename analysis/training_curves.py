"""Schedules of learning rates, out of logged curves and the usual ones; the losses along them by a
fitted curve law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, some
from analysis.fits.prediction import Prediction
from analysis.fits.result import Fit
from analysis.laws.curve import CurveLaw, checked
from analysis.tables.reading import numbers

DECAY = 0.2  # of the updates of the wsd schedule


def schedules(
    curves: pd.DataFrame,
    *,
    curve: str = "run_id",
    rate: str = "train/learning_rate",
    interpolate: bool = False,
    warmup: int | None = None,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Read the learning rate of every update of every curve from logged rows.

    Args:
        curves: logged rows with columns ``curve``, ``step`` and ``rate``; those without a rate are passed
            over.
        curve: the column that names the curve.
        rate: the column of learning rates.
        interpolate: whether to join logged rates by straight lines where updates are missing, though nobody
            knows what changed between them.
        warmup: updates of the linear warmup from 0 to the first logged rate, needed where the first update is
            not logged.

    Returns:
        The rates (T,) of each curve by its name, and notes.

    Raises:
        AnalysisError: for missing columns, steps that are not whole numbers from 1, and missing updates
            unless they are interpolated.
    """
    missing = [c for c in (curve, "step", rate) if c not in curves.columns]
    if missing:
        raise AnalysisError(f"columns {some(map(repr, missing))} are missing; here: {some(curves.columns)}")
    rates_of, notes, problems = {}, [], []
    for name, rows in curves.groupby(curve, sort=False):
        rates, known = (numbers(rows[c])[0] for c in (rate, "step"))
        known, rates = known[np.isfinite(rates)], rates[np.isfinite(rates)]
        if not len(known) or not ((known >= 1) & (known % 1 == 0)).all():
            problems.append(
                f"curve {name!r}: rates need steps that are whole numbers from 1; it has {len(known)} rates"
            )
            continue
        known, first = np.unique(known.astype(int), return_index=True)
        rates, gap = rates[first], int(np.diff(known, prepend=0).max())
        rates_of[str(name)] = rates
        if gap == 1:
            continue
        if not interpolate or (known[0] > 1 and warmup is None):
            more = "interpolate=True joins logged ones by straight lines"
            if known[0] > 1:
                more += f", warmup=... says how the first {known[0]} were reached"
            problems.append(
                f"curve {name!r}: the rate is known at {len(known)} of {known[-1]} updates, up to {gap} "
                f"apart; what changed between them is not; log every update, or {more}"
            )
            continue
        start = min(warmup or 1, int(known[0]))
        at, values = np.concatenate([[0, start], known]), np.concatenate([[0.0, rates[0]], rates])
        rates_of[str(name)] = np.interp(np.arange(1, known[-1] + 1), at, values)
        notes.append(f"curve {name!r}: rates between logged updates (up to {gap} apart) are interpolated")
    if problems:
        raise AnalysisError(problems)
    return rates_of, tuple(notes)


def standard(steps: int, *, peak: float, end: float = 0.0, warmup: int = 0) -> dict[str, np.ndarray]:
    """Make the usual schedules: cosine; linear; wsd (constant, then linear for the last fifth); constant.

    Args:
        steps: updates T, warmup included.
        peak: the rate after the warmup.
        end: the last rate; constant stays at the peak.
        warmup: updates of the linear warmup.

    Returns:
        The rates (T,) of each schedule by its name.
    """
    past = np.arange(1, steps - warmup + 1) / (steps - warmup)
    shares = {
        "cosine": 0.5 * (1 - np.cos(np.pi * past)),
        "linear": past,
        "wsd": np.maximum(0.0, 1 - (1 - past) / DECAY),
        "constant": np.zeros_like(past),
    }
    rising = peak * np.arange(1, warmup + 1) / max(warmup, 1)
    return {name: np.concatenate([rising, peak - (peak - end) * share]) for name, share in shares.items()}


def predict(
    law: CurveLaw,
    fitted: Fit,
    schedule: Sequence[float] | np.ndarray,
    *,
    steps: Sequence[int] | None = None,
    level: float | None = None,
    group: str | None = None,
) -> Prediction:
    """Predict the losses along a schedule, run or not.

    Args:
        law: the curve law that was fitted.
        fitted: its fit, of whatever schedules.
        schedule: learning rates (T,), one an update.
        steps: updates after which to predict, from 1; left out: all.
        level: of the intervals, which are those of :meth:`Fit.predict`.
        group: the group, where the fit has some.

    Raises:
        AnalysisError: for a fit of another law, or steps beyond the schedule.
    """
    if fitted.law.name != law.name:
        raise AnalysisError(f"the fit is of law {fitted.law.name!r}, not of curve law {law.name!r}")
    checked({"asked": schedule})
    at = np.arange(1, len(schedule) + 1) if steps is None else np.asarray(steps)
    if not len(at) or at.min() < 1 or at.max() > len(schedule) or (at % 1 != 0).any():
        raise AnalysisError(f"steps must be whole numbers from 1 to {len(schedule)}, this schedule's length")
    asked: dict[str, Any] = {"curve": np.zeros(len(at)), "step": at}
    if group is not None:
        asked[str(fitted.setup.groups)] = np.full(len(at), group)
    bound = law.on({"asked": schedule}, (asked["curve"], at))
    return replace(fitted, law=bound).predict(asked, level=level)
