"""The runs of a table: loss against compute with law, frontier and forecast, and their training curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.forecasting.forecasts import Trial
from analysis.optimal_size.isoflop import IsoFlop, frontier
from analysis.tables.cells import near
from analysis.tables.runs import select
from analysis.tables.table import Table

BAND = 0.16  # opacity of an interval
SMOOTH = 60  # points a smoothed curve keeps


def loss_against_compute(
    table: pd.DataFrame | Table, fit: Fit | None = None, *, convention: str = "total"
) -> Figure:
    """All runs of ``table`` (fitted, noise, held out), joined per size; the lower envelope ringed; with a law
    in N and D, its compute-optimal frontier (dashed beyond the fitted runs). Raises AnalysisError."""
    convention = fit.convention if fit is not None else convention
    runs: Any = select(table, ("fit", "noise", "holdout"), convention=convention)[0]
    with style.look():
        figure = style.canvas(4.0)
        axes = figure.add_subplot()
        shades = _runs(axes, runs[runs["role"] == "fit"])
        best = frontier(table, convention=convention)
        few = len(best) < 12
        ring: Any = {
            "s": 70 if few else 34,
            "facecolor": "none",
            "linewidth": 0.9 if few else 0.6,
            "zorder": 4,
        }
        label = "lower envelope of the runs"
        axes.scatter(best["C"], best["L"], edgecolor=style.INK, label=label, **ring)
        seeds: Any = {"marker": "x", "s": 24, "lw": 0.9, "color": style.MUTED, "zorder": 3}
        for role, name, how in (("noise", "repeated seeds", seeds), ("holdout", "held out", style.OUTCOME)):
            rows = runs[runs["role"] == role]
            if len(rows):
                axes.scatter(rows["C"], rows["L"], label=name, **how)
        if fit is not None and fit.usable and fit.optimum:
            _law(axes, fit, np.geomspace(runs["C"].min(), runs["C"].max(), 100), "loss")
        style.log_x(axes, runs["C"], style.power)
        style.log_loss(axes, runs["L"])
        size, compute = style.NAMES[convention]
        axes.set(xlabel=compute, ylabel=style.loss(style.stated(table)))
        axes.legend(loc="best")
        shades.explain(figure, axes, size)
        return style.finish(figure)


def _runs(axes: Axes, fitted: Any) -> style.Shades:
    """Draw the fitted runs; the means of those alike (other seeds) are joined per size. Sizes and compute
    repeat within 1 %."""
    sizes = fitted["N"].round(-int(np.floor(np.log10(fitted["N"].min()))) + 2)
    shades = style.Shades(sizes)
    for size, rows in fitted.sort_values("C").groupby(sizes):
        alike = near(np.zeros(len(rows)), rows["C"].to_numpy(float), np.zeros(len(rows), int))
        mean = np.exp(np.log(rows[["C", "L"]]).groupby(alike).mean())
        axes.plot(mean["C"], mean["L"], color=shades(size), lw=0.9)
        axes.plot(rows["C"], rows["L"], "o", color=shades(size), ms=4.5, mec="white", mew=0.4)
    return shades


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
    ends = [runs["C"].min(), runs["C"].max()]
    losses = [*runs["L"]]
    if trial is not None:
        losses += [trial.forecast.interval["low"], trial.forecast.interval["high"]]
        ends[1] = max(ends[1], trial.forecast.target["C"])
    with style.look():
        figure = style.canvas(4.3)
        axes = figure.add_subplot()
        shades = _runs(axes, runs[runs["role"] == "fit"])
        _law(axes, fit, np.geomspace(ends[0], ends[1], 80), "loss")
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


def _law(axes: Axes, fit: Fit, c: np.ndarray, name: str) -> None:
    """Draw the ``loss`` or size ``N`` at the best N and D of compute ``c``, dashed beyond the fitted runs."""
    best, largest = fit.optimal(c), max(fit.data["C"])
    side = "" if name == "loss" else f"{name}_"
    how: Any = {"color": style.INK, "alpha": BAND, "lw": 0}
    axes.fill_between(c, best[f"{side}low"], best[f"{side}high"], label=f"{fit.level:.0%} interval", **how)
    inside, beyond = c <= largest * 1.001, c >= largest * 0.97
    line: Any = {"color": style.INK, "lw": 1.6}
    axes.plot(c[inside], best[name][inside], label=f"{fit.law.name} law, compute-optimal", **line)
    if c[-1] > largest * 1.01:
        axes.plot(c[beyond], best[name][beyond], "--", label="beyond the fitted runs", **line)


def _forecast(axes: Axes, trial: Trial) -> Artist | None:
    """Draw the forecast, and what was measured; return the latter."""
    forecast, score = trial.forecast, trial.score
    interval, value = forecast.interval, forecast.prediction
    origin = "frozen before training" if trial.origin == "frozen" else trial.origin
    axes.errorbar(
        forecast.target["C"], value, [[value - interval["low"]], [interval["high"] - value]], fmt="D", ms=5,
        mfc="white", color=style.INK, elinewidth=1.4, capsize=4, zorder=4,
        label=f"forecast for N = {count(forecast.target['N'])}, {origin}",
    )  # fmt: skip
    if score is None:
        return None
    label = f"measured: forecast {100 * score.error:+.1f} %"
    return axes.scatter(forecast.target["C"], score.loss, label=label, **style.OUTCOME)


def _sizes(axes: Axes, fit: Fit, isoflop: IsoFlop, ends: list[float]) -> None:
    _law(axes, fit, np.geomspace(ends[0], ends[1], 40), "N")
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
    style.log_y(axes, np.array([s for s in sizes if np.isfinite(s)]), 1.1, 1.1, count)
    axes.set_title("best N: law, isoFLOP minima", fontsize=7.5)
    axes.tick_params(labelsize=7)


def training_curves(
    curves: pd.DataFrame, table: pd.DataFrame | Table, *, convention: str = "total"
) -> Figure:
    """``curves``: run_id, tokens, train/loss and eval/loss (either may be empty in a row). Training loss
    averaged over equal steps in log tokens, evaluated loss at the end as a dot; held-out runs in another
    colour. Raises AnalysisError."""
    missing = [c for c in ("run_id", "tokens", "train/loss") if c not in curves.columns]
    if missing:
        raise AnalysisError(f"curves: columns {', '.join(missing)} are missing; collect the results again")
    runs: Any = select(table, ("fit", "holdout"), convention=convention)[0]
    points: Any = curves
    with style.look():
        figure = style.canvas(3.8)
        axes = figure.add_subplot()
        shades = style.Shades(runs.loc[runs["role"] == "fit", "N"])
        seen, ends = [], []
        for run in runs.sort_values("N", ascending=False).itertuples():
            rows = points[points["run_id"] == run.run_id]
            x, y = smoothed(rows["tokens"].to_numpy(float), rows["train/loss"].to_numpy(float))
            if not len(x):
                continue
            held = run.role == "holdout"
            colour = style.ACCENT if held else shades(run.N)
            axes.plot(x, y, color=colour, lw=1.3 if held else 0.9, alpha=0.85, zorder=3 if held else 2)
            axes.plot(run.D, run.L, "o", ms=4, color=colour, mec="white", mew=0.5, zorder=4)
            seen.append((x, y))
            ends.append((run.D, run.L))
        if not seen:
            raise AnalysisError(
                "curves: no row belongs to a finished run of the table; collect the results again"
            )
        x = np.concatenate([s[0] for s in seen] + [[e[0] for e in ends]])
        y = np.concatenate([s[1] for s in seen] + [[e[1] for e in ends]])
        style.log_x(axes, x, count, pad=0.02)
        style.log_loss(axes, y)
        axes.set(xlabel="Tokens seen", ylabel=style.loss(style.stated(table)))
        handles = [
            Line2D([], [], color=style.INK, lw=0.9, label="training loss, averaged"),
            Line2D([], [], color=style.INK, marker="o", ms=4, lw=0, label="evaluated loss at the end"),
        ]
        if (runs["role"] == "holdout").any():
            handles.append(Line2D([], [], color=style.ACCENT, lw=1.3, label="held-out run"))
        axes.legend(handles=handles, loc="upper right")
        shades.explain(figure, axes, style.NAMES[convention][0])
        return style.finish(figure)


def smoothed(tokens: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over equal steps in log tokens; rows that are not finite are left out."""
    good = np.isfinite(tokens) & np.isfinite(loss) & (tokens > 0)
    tokens, loss = tokens[good], loss[good]
    if len(tokens) < 2:
        return tokens, loss
    edges = np.geomspace(tokens.min(), tokens.max() * 1.0001, SMOOTH + 1)
    which = np.digitize(tokens, edges)
    bins = np.unique(which)
    x = np.array([np.exp(np.log(tokens[which == b]).mean()) for b in bins])
    return x, np.array([loss[which == b].mean() for b in bins])
