"""Predictions of a fit: the law with its confidence band, and a new run with its interval.

Inside the data a new run varies about the law by the residuals' scale. Beyond them it is forecast by
:class:`analysis.fits.extrapolation.Extrapolation`; between the edge and ``FULL`` times further out one
passes into the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.fits import allocation, prediction
from analysis.fits.cost import Cost
from analysis.fits.discrepancy import FULL
from analysis.fits.extrapolation import why_not
from analysis.fits.frontier import allotted
from analysis.fits.intervals import intervals, new_run
from analysis.fits.prediction import Prediction, check_level
from analysis.fits.rates import Function
from analysis.solve.problem import Loss

if TYPE_CHECKING:
    from analysis.fits.result import Fit

UNSETTLED = (
    "; the fit does not settle what is irreducible, so the discrepancy is no less than with a power law "
    "through the data, which holds nothing irreducible"
)
FORECAST = (
    "the band assumes that the law holds there; a new run is forecast by a refit that weighs runs by "
    "(C / max C)^{weight:g}, with the discrepancy that laws had to published runs, whose mean is taken off"
)


def predicted(
    fit: Fit, asked: Any, level: float | None, cost: Cost | Function | None, *, new_run: bool = True
) -> Prediction:
    """The law at the rows ``asked`` with its band, and with ``new_run`` a new run there.

    Raises:
        AnalysisError: as :meth:`analysis.fits.result.Fit.predict` says.
    """
    fit.need("predict")
    check_level(level)
    level = fit.level if level is None else level
    at, price = prediction.known(fit, asked), fit.price(cost)
    derived_from_c = "C" in at and not {"N", "D"} <= set(at)
    if set(at) == {"C"} and {"N", "D"} == set(fit.law.inputs):
        group = prediction.group(fit, asked, len(at["C"]))
        out, many = allotted(fit, at["C"], level, group, price or fit.cost)
        at = {x: out[x].to_numpy() for x in "NDC"}
    else:
        at, many = prediction.complete(fit, at, price)
        out = pd.DataFrame(at)
    group = prediction.group(fit, asked, len(out))
    point = allocation.values(fit.problem, fit.point, at, group)[0]
    draws = allocation.values(fit.problem, fit.draws, {**at, **many}, group)
    out["loss"] = point
    plain = _band(fit, out, point, draws, level)
    everything = prediction.with_compute(fit, at, price)
    far = prediction.factors(fit.data, everything)
    if new_run:
        _inside(fit, out, draws, plain, level)
    if new_run and _beyond(fit, out, everything, group, far, plain, level):
        outlook = fit.forecast()
        meaning = FORECAST.format(weight=outlook.constants.weight)
        meaning += "" if outlook.least is None else UNSETTLED
        notes = prediction.extrapolated(out, far, meaning)
    else:
        notes = prediction.extrapolated(out, far)
    if price and derived_from_c and {"N", "D"} <= set(at):
        notes += prediction.beyond_cost(price, at["N"])
    if "a" in out and fit.optimum is not None:
        notes += prediction.drifting(out, float(fit.exponents(fit.point, price or fit.cost)[0][0]))
    out["unidentified"] = prediction.unidentified(fit, out)
    notes = (*prediction.opened(fit, out), *notes, *prediction.warnings(fit, out, plain))
    return Prediction(out, level, fit.intervals.method, fit.setup.space, notes)


def _band(fit: Fit, out: pd.DataFrame, point: np.ndarray, draws: np.ndarray, level: float) -> np.ndarray:
    """The band of the law's ``point`` (m,) and ``draws`` (R, m) into ``out``, of logarithms where all are
    positive, else plain; returns where it is plain though the fit's residuals are not (m,)."""
    added = Loss(space=fit.setup.space).added
    point, draws = point + added, draws + added
    logs = np.full(len(point), fit.setup.space != "raw")
    plain = logs & ~((point > 0) & (draws > 0).all(0))
    bounds = np.full((3, len(point)), np.nan)
    for log, at in ((True, logs & ~plain), (False, plain | ~logs)):
        if at.any():
            best, many = point[at], draws[:, at]
            bounds[:2, at] = np.array(intervals(best, many, level, fit.intervals.degrees, log=log)) - added
            deviations = np.log(many) - np.log(best) if log else many - best
            bounds[2, at] = np.nan if plain[at].any() else np.sqrt(np.mean(deviations**2, axis=0))
    out["low"], out["high"], out["se_log"] = bounds
    return plain


def _inside(fit: Fit, out: pd.DataFrame, draws: np.ndarray, plain: np.ndarray, level: float) -> None:
    """A new run into ``out``, which varies about the law by the scale of the residuals."""
    space = Loss(space=fit.setup.space)
    point, draws = out["loss"].to_numpy() + space.added, draws + space.added
    losses = np.array(fit.data["L"])
    fitted = space.back(
        space.to(losses) - fit.residuals
    )  # those of the losses, where residuals are of logarithms
    sd = float(np.linalg.norm(losses - fitted) / np.sqrt(fit.noise.degrees))
    ends = np.full((2, len(point)), np.nan)
    logs = ~plain & (fit.setup.space != "raw")
    for log, at, run in (
        (True, logs, fit.noise.sd),
        (False, plain, sd),
        (False, ~logs & ~plain, fit.noise.sd),
    ):
        if at.any():
            ends[:, at] = new_run(point[at], draws[:, at], run, level, fit.intervals.degrees, log=log)
    # a new run varies more than the law does; what is unknown stays so
    out["new_low"] = np.minimum(ends[0] - space.added, out["low"])
    out["new_high"] = np.maximum(ends[1] - space.added, out["high"])
    out["forecast"] = out["loss"]
    in_log = logs & (fit.problem.loss.space == "log")
    out["se_law"] = out["se_log"].where(in_log)
    out["se_run"] = np.where(in_log, fit.noise.sd, np.nan)
    out["se_discrepancy"] = np.where(in_log, 0.0, np.nan)


def _beyond(
    fit: Fit, out: pd.DataFrame, at: Mapping[str, np.ndarray], group: np.ndarray, far: pd.DataFrame,
    plain: np.ndarray, level: float,
) -> bool:  # fmt: skip
    """The forecast of each row beyond the data into ``out``; returns whether there is one.

    Args:
        fit: what is asked.
        out: rows with the columns of a new run inside the data (m,).
        at: every input that is known (m,).
        group: index of each row's group (m,).
        far: factors by which inputs lie beyond the data (m, inputs).
        plain: rows of which there is no logarithm (m,).
        level: of the interval.
    """
    distance = np.log(far.max(axis=1).to_numpy())
    rows = np.flatnonzero((distance > 0) & ~plain)
    if not len(rows) or why_not(fit):
        return False
    parts = fit.forecast().at({x: v[rows] for x, v in at.items()}, group[rows])
    known = np.isfinite(parts.se) & (parts.refit > 0)
    if not known.any():
        return False
    share = np.minimum(1.0, distance[rows] / np.log(FULL))
    refit = np.minimum(1.0, parts.above / np.log(FULL))  # where compute is that of the data, the law's own
    centre = np.log(out["loss"].to_numpy()[rows])
    centre += refit * (np.log(parts.refit) - parts.lean - centre)
    mixed = {"se_discrepancy": parts.discrepancy}
    for name, outside in {"se_law": parts.law, "se_run": parts.run}.items():
        inside = out[name].to_numpy()[rows]
        mixed[name] = inside + refit * (outside - inside)
    se = np.sqrt(sum(part**2 for part in mixed.values()))
    tail = 0.5 + level / 2
    few = stats.t.ppf(tail, fit.intervals.degrees)  # what the law's own band is made by
    reach = (1 - share) * few + share * stats.norm.ppf(tail)
    half = np.maximum(reach * se, few * mixed["se_law"])  # a run is never surer than its law
    columns = {
        "forecast": np.exp(centre),
        "new_low": np.exp(centre - half),
        "new_high": np.exp(centre + half),
        **mixed,
    }
    for name, column in columns.items():
        out.loc[out.index[rows[known]], name] = column[known]
    return True
