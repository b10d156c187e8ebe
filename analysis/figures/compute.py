"""The runs of a table: loss against compute with law, frontier and forecast, and their training curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.figures.lines import at_best
from analysis.figures.lines import frontier as law_frontier
from analysis.figures.page import page
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.forecasting.forecasts import Trial
from analysis.optimal_size.isoflop import IsoFlop, frontier
from analysis.tables.cells import near
from analysis.tables.runs import select
from analysis.tables.table import Table

SMOOTH = 60  # points a smoothed curve keeps
RINGS = 12  # runs of an envelope that are ringed; more are joined
CURVES = 20  # sizes whose runs may be joined
RISE, CROOKED = (
    0.01,
    0.1,
)  # a loss that rises by more along a curve, and the share of such steps, are no curve


def loss_against_compute(
    table: pd.DataFrame | Table, fit: Fit | None = None, *, convention: str = "total", ax: Axes | None = None
) -> Axes:
    """All runs of ``table`` (fitted, noise, held out), sizes joined where they read as curves; their lower
    envelope; with a law in N and D, its compute-optimal frontier with its confidence band, dashed beyond the
    fitted runs in N, D or C, where the interval of a new run is drawn too.

    Args:
        table: runs.
        fit: their law; left out: the runs alone.
        convention: what N and C are, where no fit says.
        ax: where to draw; left out: a new figure.

    Raises:
        AnalysisError: the table has no runs.
    """
    convention = fit.convention if fit is not None else convention
    runs: Any = select(table, ("fit", "noise", "holdout"), convention=convention)[0]
    with page(ax, [["runs"]], 4.0) as sheet:
        axes = sheet["runs"]
        shades = _runs(axes, runs[runs["role"] == "fit"])
        _envelope(axes, frontier(table, convention=convention))
        seeds: Any = {"marker": "x", "s": style.mark(1.0) ** 2, "lw": style.line(0.6), "color": style.MUTED}
        for role, name, how in (
            ("noise", "repeated seeds", seeds | {"zorder": 3}),
            ("holdout", "held out", style.outcome()),
        ):
            rows = runs[runs["role"] == role]
            if len(rows):
                axes.scatter(rows["C"], rows["L"], label=name, **how)
        best = at_best(fit, np.geomspace(runs["C"].min(), runs["C"].max(), 100))
        if fit is not None and best is not None:
            law_frontier(axes, fit, best)
        style.log_x(axes, runs["C"], style.power)
        style.log_loss(axes, runs["L"])
        size, compute = style.NAMES[convention]
        axes.set(xlabel=compute, ylabel=style.loss(style.stated(table)))
        sheet.legend(axes, "upper right")
        sheet.explain(shades, size)
        return axes


def _in_view(best: pd.DataFrame, losses: list[float]) -> list[float]:
    """The ends of the interval of a new run at the last compute of ``best``, no further from ``losses`` than
    these spread: more would leave them no room."""
    low, high = min(losses), max(losses)
    ends = best[["new_low", "new_high"]].iloc[-1].to_numpy(float)
    return [float(end) for end in np.clip(ends, low * low / high, high * high / low) if np.isfinite(end)]


def _envelope(axes: Axes, best: pd.DataFrame) -> None:
    name: Any = {"label": "lower envelope of the runs", "zorder": 4}
    if len(best) <= RINGS:
        axes.scatter(best["C"], best["L"], s=style.mark(1.7) ** 2, facecolor="none", edgecolor=style.INK,
                     linewidth=style.line(0.6), **name)  # fmt: skip
    else:
        axes.plot(best["C"], best["L"], color=style.ACCENT, lw=style.line(0.5), alpha=0.7, **name)


def _runs(axes: Axes, fitted: Any) -> style.Shades:
    """Draw the fitted runs; the means of those alike (other seeds) are joined per size, if that reads as
    curves. Sizes and compute repeat within 1 %."""
    sizes = fitted["N"].round(-int(np.floor(np.log10(fitted["N"].min()))) + 2)
    shades, lines = style.Shades(sizes), []
    for size, rows in fitted.sort_values("C").groupby(sizes):
        alike = near(np.zeros(len(rows)), rows["C"].to_numpy(float), np.zeros(len(rows), int))
        lines.append((size, np.exp(np.log(rows[["C", "L"]]).groupby(alike).mean())))
    steps = np.concatenate([np.diff(np.log(mean["L"])) for _, mean in lines])
    if len(lines) <= CURVES and len(steps) and np.mean(steps > RISE) < CROOKED:
        for size, mean in lines:
            axes.plot(mean["C"], mean["L"], color=shades(size), lw=style.line(0.65))
    axes.scatter(fitted["C"], fitted["L"], c=[shades(size) for size in sizes], **style.dots(len(fitted)))
    return shades


def overview(
    table: pd.DataFrame | Table,
    fit: Fit,
    isoflop: IsoFlop,
    trial: Trial | None = None,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Draw every fitted run, the law at its best N and D, and a held-out run against its forecast.

    The law is drawn as by :func:`loss_against_compute`. The inset, on pages of more than one column, has the
    best size at each compute: isoFLOP minima and the law.

    Args:
        table: Runs; those of role ``fit`` and ``holdout`` are drawn.
        fit: A usable law in N and D.
        isoflop: Minima of the same runs.
        trial: The forecast of a held-out run, and its score where there is one.
        ax: Where to draw; left out: a new figure.

    Raises:
        AnalysisError: The table has no runs to fit.
    """
    runs: Any = select(table, ("fit", "holdout"), convention=fit.convention)[0]
    ends = [runs["C"].min(), runs["C"].max()]
    losses = [*runs["L"]]
    if trial is not None:
        losses += [trial.forecast.interval["low"], trial.forecast.interval["high"]]
        ends[1] = max(ends[1], trial.forecast.target["C"])
    with page(ax, [["runs"]], 4.3) as sheet:
        axes = sheet["runs"]
        shades = _runs(axes, runs[runs["role"] == "fit"])
        best = at_best(fit, np.geomspace(ends[0], ends[1], 80))
        if best is not None:
            law_frontier(axes, fit, best)
            losses += _in_view(best, losses)
        measured = None if trial is None else _forecast(axes, trial)
        style.log_x(axes, ends, style.power)
        style.log_loss(axes, losses)
        size, compute = style.NAMES[fit.convention]
        axes.set(xlabel=compute, ylabel=style.loss(style.stated(table)))
        entries = sorted(
            zip(*axes.get_legend_handles_labels(), strict=True), key=lambda entry: entry[0] is measured
        )
        if entries:
            sheet.legend(axes, "lower left", *zip(*entries, strict=True))
        sheet.explain(shades, size)
        if best is not None and not sheet.narrow:
            _sizes(axes.inset_axes((0.66, 0.63, 0.33, 0.35)), fit, isoflop, best)
        return axes


def _forecast(axes: Axes, trial: Trial) -> Artist | None:
    """Draw the forecast, and what was measured; return the latter."""
    forecast, score = trial.forecast, trial.score
    interval, value = forecast.interval, forecast.prediction
    origin = "frozen before training" if trial.origin == "frozen" else trial.origin
    axes.errorbar(
        forecast.target["C"], value, [[value - interval["low"]], [interval["high"] - value]], fmt="D",
        ms=style.mark(1.05), mfc="white", color=style.INK, elinewidth=style.line(1), capsize=style.mark(0.8),
        zorder=4, label=f"forecast for $N$ = {count(forecast.target['N'])}, {origin}",
    )  # fmt: skip
    if score is None:
        return None
    label = f"measured: forecast {100 * score.error:+.1f} %"
    return axes.scatter(forecast.target["C"], score.loss, label=label, **style.outcome())


def _sizes(axes: Axes, fit: Fit, isoflop: IsoFlop, best: pd.DataFrame) -> None:
    law_frontier(axes, fit, best, "N")
    minima = [m for m in isoflop.minima if m.N is not None]
    values = np.array([m.N for m in minima], float)
    reach = np.exp(1.645 * np.array([m.se_log_N or 0.0 for m in minima]))
    axes.errorbar(
        [m.budget for m in minima], values, [values - values / reach, values * reach - values], fmt="o",
        ms=style.mark(0.75), color=style.ACCENT, elinewidth=style.line(0.7), zorder=4,
    )  # fmt: skip
    style.log_x(axes, best["C"], style.power)
    sizes = [best["N_low"].min(), best["N_high"].max(), *best["N"], *values]
    style.log_y(axes, np.array([s for s in sizes if np.isfinite(s)]), 1.1, 1.1, count)
    title = "best $N$ (90 %): law, isoFLOP minima" if minima else f"best $N$: law ({fit.level:.0%})"
    axes.set_title(title, fontsize=style.small(0.95))
    axes.tick_params(labelsize=style.small())


def training_curves(
    curves: pd.DataFrame,
    table: pd.DataFrame | Table,
    *,
    convention: str = "total",
    ax: Axes | None = None,
) -> Axes:
    """Training loss of every run, averaged over equal steps in log tokens, its evaluated loss at the end as a
    dot; held-out runs in another colour.

    Args:
        curves: run_id, tokens, train/loss and eval/loss (either may be empty in a row).
        table: the runs.
        convention: what N is.
        ax: where to draw; left out: a new figure.

    Raises:
        AnalysisError: columns are missing, or no row belongs to a run of the table.
    """
    missing = [c for c in ("run_id", "tokens", "train/loss") if c not in curves.columns]
    if missing:
        raise AnalysisError(f"curves: columns {', '.join(missing)} are missing; collect the results again")
    runs: Any = select(table, ("fit", "holdout"), convention=convention)[0]
    points = {str(run): rows for run, rows in curves.groupby("run_id")}
    drawn = []
    for run in runs.sort_values("N", ascending=False).itertuples():
        rows = points.get(str(run.run_id))
        if rows is not None:
            x, y = smoothed(rows["tokens"].to_numpy(float), rows["train/loss"].to_numpy(float))
            drawn += [(run, x, y)] if len(x) else []
    if not drawn:
        raise AnalysisError(
            "curves: no row belongs to a finished run of the table; collect the results again"
        )
    with page(ax, [["curves"]], 3.8) as sheet:
        axes = sheet["curves"]
        shades = style.Shades(runs.loc[runs["role"] == "fit", "N"])
        thin = min(1.0, (style.FEW / len(drawn)) ** 0.3)
        for run, x, y in drawn:
            held = run.role == "holdout"
            colour = style.ACCENT if held else shades(run.N)
            wide = style.line(0.95 if held else 0.65 * thin)
            axes.plot(x, y, color=colour, lw=wide, alpha=0.85 * thin, zorder=3 if held else 2)
            axes.plot(run.D, run.L, "o", ms=style.mark(0.8 * thin), color=colour, mec="white",
                      mew=style.line(0.35 * thin), zorder=4)  # fmt: skip
        style.log_x(axes, np.concatenate([[run.D, *x] for run, x, _ in drawn]), count, pad=0.02)
        style.log_loss(axes, np.concatenate([[run.L, *y] for run, _, y in drawn]))
        axes.set(xlabel="Tokens seen", ylabel=style.loss(style.stated(table)))
        ink: Any = {"color": style.INK, "lw": style.line(0.65)}
        handles = [
            Line2D([], [], label="training loss, averaged", **ink),
            Line2D(
                [], [], **ink | {"lw": 0}, marker="o", ms=style.mark(0.8), label="evaluated loss at the end"
            ),
        ]
        if (runs["role"] == "holdout").any():
            handles.append(Line2D([], [], color=style.ACCENT, lw=style.line(0.95), label="held-out run"))
        axes.legend(handles=handles, loc="upper right")
        sheet.explain(shades, style.NAMES[convention][0])
        return axes


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
