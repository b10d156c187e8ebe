"""The runs of a table: loss against compute with the compute-optimal frontier, and their training curves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.optimal_size.isoflop import frontier
from analysis.tables.runs import select
from analysis.tables.table import Table


def loss_against_compute(
    table: pd.DataFrame | Table, fit: Fit | None = None, *, convention: str = "total"
) -> Figure:
    """All runs of ``table`` (fitted, noise, held out), joined per size; the lower envelope ringed; with a law
    in N and D, its compute-optimal frontier (dashed beyond the fitted runs). Raises AnalysisError."""
    convention = fit.convention if fit is not None else convention
    runs: Any = select(table, ("fit", "noise", "holdout"), convention=convention)[0]
    fitted = runs[runs["role"] == "fit"]
    sizes = fitted["N"].round(
        -int(np.floor(np.log10(fitted["N"].min()))) + 2
    )  # digitised sizes repeat within 1 %
    with style.look():
        figure = style.canvas(4.0)
        axes = figure.add_subplot()
        shades = style.Shades(sizes)
        for size, rows in fitted.assign(size=sizes).groupby("size"):
            rows = rows.sort_values("C")
            axes.plot(rows["C"], rows["L"], "-", color=shades(size), lw=1.0, alpha=0.7, zorder=2)
        sns.scatterplot(
            x=fitted["C"], y=fitted["L"], ax=axes, c=[shades(s) for s in sizes], s=26, linewidth=0.3, zorder=3
        )
        best = frontier(table, convention=convention)
        few = len(best) < 12
        axes.scatter(
            best["C"], best["L"], s=70 if few else 34, facecolor="none", edgecolor=style.INK,
            linewidth=0.9 if few else 0.6, zorder=4,
            label="lower envelope of the runs",
        )  # fmt: skip
        _others(axes, runs)
        if fit is not None:
            _law(axes, fit, runs)
        style.log_x(axes, runs["C"], style.power)
        style.log_loss(axes, runs["L"])
        axes.set_xlabel(style.NAMES[convention][1])
        axes.set_ylabel(style.loss(style.stated(table)))
        axes.legend(loc="best")
        shades.explain(figure, axes, style.NAMES[convention][0])
        return style.finish(figure)


def _others(axes: Axes, runs: Any) -> None:
    for role, name, how in (
        ("noise", "repeated seeds", {"marker": "x", "s": 24, "lw": 0.9, "color": style.MUTED, "zorder": 3}),
        ("holdout", "held out",
         {"marker": "*", "s": 130, "color": style.ACCENT, "edgecolor": "white", "lw": 0.5, "zorder": 5}),
    ):  # fmt: skip
        rows = runs[runs["role"] == role]
        if len(rows):
            axes.scatter(rows["C"], rows["L"], label=name, **how)


def _law(axes: Axes, fit: Fit, runs: Any) -> None:
    if not fit.usable or not fit.optimum:
        return
    largest = max(fit.data["C"])
    grid = np.geomspace(runs["C"].min(), runs["C"].max(), 100)
    inside, beyond = grid[grid <= largest * 1.001], grid[grid >= largest * 0.96]
    how: Any = {"color": style.INK, "lw": 1.6, "zorder": 2.5}
    axes.plot(inside, fit.optimal(inside)["loss"], label=f"{fit.law.name} law at its best N and D", **how)
    if len(beyond) > 1 and beyond[-1] > largest * 1.01:
        axes.plot(beyond, fit.optimal(beyond)["loss"], "--", label="the same beyond the fitted runs", **how)


SMOOTH = 60  # points a smoothed curve keeps


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
