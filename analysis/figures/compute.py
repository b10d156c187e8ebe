"""Loss against compute: every run, one curve per size, and the compute-optimal frontier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.fits.result import Fit
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
