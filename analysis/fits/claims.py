"""What a fit claims: values with intervals and verdicts, at the level of the fit or another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis.fits.intervals import interval, of_parameters
from analysis.results import Interval, Verdict

if TYPE_CHECKING:
    from analysis.fits.result import Fit


def table(
    identified: Mapping[str, Verdict],
    values: Mapping[str, float | None],
    ends: Mapping[str, Interval],
) -> pd.DataFrame:
    """Per quantity: estimate, low, high, verdict, reason; what is not identified is nan, what is one-sided
    has its bound only."""
    rows = {}
    for name, found in identified.items():
        low, high = ends.get(name, Interval(np.nan, np.nan))
        value, bound = values.get(name), found.bound
        if found.verdict != "yes":
            low = low if "lower" in bound else np.nan
            high = high if "upper" in bound else np.nan
        rows[name] = (np.nan if value is None else value, low, high, found.verdict, found.reason)
    columns = ["estimate", "low", "high", "verdict", "reason"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


@np.errstate(all="ignore")
def estimates(fit: Fit) -> dict[str, tuple[float, Interval]]:
    """Value and interval of every parameter of a usable fit, and of a, b; whether identified or not."""
    values = dict(fit.solution)
    if fit.optimum:
        best = fit.exponents(fit.point, fit.cost)
        values |= {"a": float(best[0][0]), "b": float(best[1][0])}
    ends = {**at_level(fit, fit.level), **fit.intervals.params}
    return {name: (values[name], ends[name]) for name in fit.identified}


@np.errstate(all="ignore")
def at_level(fit: Fit, level: float) -> dict[str, Interval]:
    """The interval of every parameter of a usable fit, and of a, b, at another ``level``: from its
    replicates."""
    cluster, u = np.array(fit.data["cluster"]), fit.problem.coordinates(fit.solution)
    degrees = fit.intervals.degrees
    out = of_parameters(fit.problem, u, fit.draws, cluster, level=level, degrees=degrees)
    if fit.optimum:
        value = fit.exponents(fit.point, fit.cost)
        many = fit.exponents(fit.draws, fit.cost.drawn(len(fit.replicates)))
        for i, name in enumerate(("a", "b")):
            out[name] = interval(float(value[i][0]), many[i], level, degrees, log=False)
    return out
