"""A study in one picture: loss against compute, the law with its band, forecast and measured loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.forecasting.forecasts import Trial
from analysis.optimal_size.isoflop import IsoFlop
from analysis.tables.runs import select
from analysis.tables.table import Table

BAND = 0.16  # opacity of an interval


def overview(table: pd.DataFrame | Table, fit: Fit, isoflop: IsoFlop, trial: Trial | None = None) -> Figure:
    """Draw every fitted run, the law at its best N and D, and a held-out run against its forecast.

    The law has its interval as a band and is dashed beyond the fitted runs. The inset has the best size at
    each compute: isoFLOP minima and the law.

    Args:
        table: Runs; those of role ``fit`` and ``holdout`` are drawn.
        fit: A usable law in N and D.
        isoflop: Minima of the same runs.
        trial: The forecast of a held-out run, and its score where there is one.

    Raises:
        AnalysisError: The table has no runs to fit.
    """
    runs: Any = select(table, ("fit", "holdout"), convention=fit.convention)[0]
    fitted = runs[runs["role"] == "fit"]
    ends = [runs["C"].min(), runs["C"].max()]
    losses = [*runs["L"]]
    if trial is not None:
        losses += [trial.forecast.interval["low"], trial.forecast.interval["high"]]
        ends[1] = max(ends[1], trial.forecast.target["C"])
    with style.look():
        figure = style.canvas(4.3)
        axes = figure.add_subplot()
        shades = style.Shades(fitted["N"])
        for size, rows in fitted.sort_values("C").groupby("N"):
            axes.plot(rows["C"], rows["L"], "o-", color=shades(size), lw=0.9, ms=4.5, mec="white", mew=0.4)
        _law(axes, fit, np.geomspace(ends[0], ends[1], 80), "loss", ("low", "high"), "compute-optimal")
        measured = None if trial is None else _forecast(axes, trial)
        style.log_x(axes, ends, style.power)
        style.log_loss(axes, losses)
        size, compute = style.NAMES[fit.convention]
        axes.set(xlabel=compute, ylabel=style.loss(style.stated(table)))
        entries = sorted(
            zip(*axes.get_legend_handles_labels(), strict=True), key=lambda entry: entry[0] is measured
        )
        axes.legend(*zip(*entries, strict=True), loc="lower left")
        shades.explain(figure, axes, size)
        _sizes(axes.inset_axes((0.66, 0.63, 0.33, 0.35)), fit, isoflop, ends)
        return style.finish(figure)


def _law(axes: Axes, fit: Fit, c: np.ndarray, name: str, band: tuple[str, str], label: str) -> None:
    best, largest = fit.optimal(c), max(fit.data["C"])
    inside, beyond = c <= largest * 1.001, c >= largest * 0.97
    axes.fill_between(
        c, best[band[0]], best[band[1]], color=style.INK, alpha=BAND, lw=0, label=f"{fit.level:.0%} interval"
    )
    text = f"{fit.law.name} law, {label}"
    axes.plot(c[inside], best[name][inside], color=style.INK, lw=1.6, label=text)
    axes.plot(c[beyond], best[name][beyond], "--", color=style.INK, lw=1.6, label="beyond the fitted runs")


def _forecast(axes: Axes, trial: Trial) -> Artist | None:
    """Draw the forecast, and what was measured; return the latter."""
    forecast, score = trial.forecast, trial.score
    interval, value = forecast.interval, forecast.prediction
    said = "frozen before training" if trial.origin == "frozen" else trial.origin
    axes.errorbar(
        forecast.target["C"], value, [[value - interval["low"]], [interval["high"] - value]], fmt="D", ms=5,
        mfc="white", color=style.INK, elinewidth=1.4, capsize=4, zorder=4,
        label=f"forecast for N = {count(forecast.target['N'])}, {said}",
    )  # fmt: skip
    if score is None:
        return None
    (star,) = axes.plot(
        forecast.target["C"], score.loss, "*", ms=13, color=style.ACCENT, mec="white", mew=0.5, zorder=5,
        label=f"measured: forecast {100 * score.error:+.1f} %",
    )  # fmt: skip
    return star


def _sizes(axes: Axes, fit: Fit, isoflop: IsoFlop, ends: list[float]) -> None:
    _law(axes, fit, np.geomspace(ends[0], ends[1], 40), "N", ("N_low", "N_high"), "N*")
    minima = [m for m in isoflop.minima if m.N is not None]
    values = np.array([m.N for m in minima], float)
    reach = np.exp(1.645 * np.array([m.se_log_N or 0.0 for m in minima]))
    axes.errorbar(
        [m.budget for m in minima], values, [values - values / reach, values * reach - values], fmt="o",
        ms=3.5, color=style.ACCENT, elinewidth=1.0, zorder=4,
    )  # fmt: skip
    style.log_x(axes, ends, style.power)
    axes.set_yscale("log")
    best = fit.optimal(np.asarray(ends))
    sizes = [best["N_low"].min(), best["N_high"].max(), *values]
    style.span(axes, "y", [s for s in sizes if np.isfinite(s)], log=True, name="N")
    axes.set_title("best N: law, isoFLOP minima", fontsize=7.5)
    axes.tick_params(labelsize=7)
