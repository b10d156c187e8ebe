"""Loss against compute: every run, one curve per size, and the compute-optimal frontier."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import (
    ACCENT,
    INK,
    LOSS,
    MUTED,
    NAMES,
    Shades,
    canvas,
    finish,
    log_loss,
    log_x,
    look,
    power,
)
from analysis.isoflop import frontier
from analysis.result import Fit
from analysis.tables import select


def loss_against_compute(table: pd.DataFrame, fit: Fit | None = None, *, convention: str = "total") -> Figure:
    """All runs of ``table`` (fitted, noise, held out), joined per size; the lower envelope ringed; with a law
    in N and D, its compute-optimal frontier (dashed beyond the fitted runs). Raises AnalysisError."""
    convention = fit.convention if fit is not None else convention
    runs: Any = select(table, ("fit", "noise", "holdout"), convention=convention)[0]
    fitted = runs[runs["role"] == "fit"]
    sizes = fitted["N"].round(
        -int(np.floor(np.log10(fitted["N"].min()))) + 2
    )  # digitised sizes repeat within 1 %
    with look():
        figure = canvas(4.0)
        axes = figure.add_subplot()
        shades = Shades(sizes)
        for size, rows in fitted.assign(size=sizes).groupby("size"):
            rows = rows.sort_values("C")
            axes.plot(rows["C"], rows["L"], "-", color=shades(size), lw=1.0, alpha=0.7, zorder=2)
        sns.scatterplot(
            x=fitted["C"], y=fitted["L"], ax=axes, c=[shades(s) for s in sizes], s=26, linewidth=0.3, zorder=3
        )
        best = frontier(table, convention=convention)
        few = len(best) < 12
        axes.scatter(
            best["C"], best["L"], s=70 if few else 34, facecolor="none", edgecolor=INK,
            linewidth=0.9 if few else 0.6, zorder=4,
            label="lower envelope of the runs",
        )  # fmt: skip
        _others(axes, runs)
        if fit is not None:
            _law(axes, fit, runs)
        log_x(axes, runs["C"], power)
        log_loss(axes, runs["L"])
        axes.set_xlabel(NAMES[convention][1])
        axes.set_ylabel(LOSS)
        axes.legend(loc="best")
        shades.explain(figure, axes, NAMES[convention][0])
        return finish(figure)


def _others(axes: Axes, runs: Any) -> None:
    noise, held = runs[runs["role"] == "noise"], runs[runs["role"] == "holdout"]
    if len(noise):
        axes.scatter(
            noise["C"], noise["L"], marker="x", s=24, lw=0.9, color=MUTED, zorder=3, label="repeated seeds"
        )
    if len(held):
        axes.scatter(
            held["C"],
            held["L"],
            marker="*",
            s=130,
            color=ACCENT,
            edgecolor="white",
            lw=0.5,
            zorder=5,
            label="held out",
        )


def _law(axes: Axes, fit: Fit, runs: Any) -> None:
    if not fit.usable or not fit.optimum:
        return
    largest = max(fit.data["C"])
    grid = np.geomspace(runs["C"].min(), runs["C"].max(), 100)
    inside, beyond = grid[grid <= largest * 1.001], grid[grid >= largest * 0.96]
    loss = fit.optimal(inside)["loss"]
    axes.plot(inside, loss, color=INK, lw=1.6, zorder=2.5, label=f"{fit.law.name} law at its best N and D")
    if len(beyond) > 1 and beyond[-1] > largest * 1.01:
        axes.plot(
            beyond,
            fit.optimal(beyond)["loss"],
            "--",
            color=INK,
            lw=1.6,
            zorder=2.5,
            label="the same beyond the fitted runs",
        )
