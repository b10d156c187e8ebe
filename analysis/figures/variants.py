"""Variants of a study: loss against compute with a law each, and the compute that each needs for one loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.fits.result import Fit
from analysis.tables.runs import select
from analysis.tables.table import Table
from analysis.variants.comparison import COLUMN, Variants
from analysis.variants.contrast import Worth

BELOW = 0.2  # of the space between rows, where the same with other exponents is drawn


def variants(table: pd.DataFrame | Table, fits: Mapping[str, Fit], found: Variants) -> Figure:
    """Left: every fitted run and the compute-optimal law of each variant, dashed beyond its runs; held-out
    runs as stars. Right: the compute that each needs for the loss of the reference, with intervals.

    Args:
        table: runs with a column ``variant``.
        fits: the law of each variant, the reference first.
        found: their comparison.
    """
    convention = next(iter(fits.values())).convention
    runs: Any = select(table, ("fit", "holdout"), convention=convention, cells="all")[0]
    colour = style.colours(list(fits))
    with style.look():
        figure = style.canvas(3.9)
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        for name, fitted in fits.items():
            _variant(left, runs[runs[COLUMN] == name], fitted, colour[name], name)
        style.log_x(left, runs["C"], style.power)
        style.log_loss(left, runs["L"])
        left.set(xlabel=style.NAMES[convention][1], ylabel=style.loss(style.stated(table)))
        if (runs["role"] == "holdout").any():
            left.scatter([], [], label="held out", **{**style.OUTCOME, "color": style.INK})
        left.legend(loc="best")
        _worth(right, found, colour)
        return style.finish(figure)


def _variant(axes: Axes, runs: Any, fitted: Fit, colour: Any, name: str) -> None:
    shown, held = runs[runs["role"] == "fit"], runs[runs["role"] == "holdout"]
    axes.plot(
        shown["C"], shown["L"], "o", ms=3.5, color=colour, mec="white", mew=0.3, label=style.words(name)
    )
    if len(held):
        axes.scatter(held["C"], held["L"], **{**style.OUTCOME, "color": colour})
    if not fitted.usable or not fitted.optimum:
        return
    inside = np.geomspace(shown["C"].min(), shown["C"].max(), 40)
    axes.plot(inside, fitted.optimal(inside)["loss"], color=colour, lw=1.4)
    if len(held) and held["C"].max() > inside[-1]:
        beyond = np.geomspace(inside[-1], held["C"].max(), 20)
        axes.plot(beyond, fitted.optimal(beyond)["loss"], "--", color=colour, lw=1.4)


def _worth(axes: Axes, found: Variants, colour: Mapping[str, Any]) -> None:
    """A row for each variant and compute; without an interval, what is missing."""
    rows = [(contrast.variant, worth) for contrast in found.contrasts for worth in contrast.worth]
    own = {(c.variant, worth.at): worth for c in found.contrasts for worth in c.own_worth}
    axes.axvline(1.0, color=style.MUTED, lw=1.0, ls="--", zorder=1)
    everything = [worth for _, worth in rows] + list(own.values())
    drawn = [v for worth in everything for v in (worth.multiplier, *worth.ends) if np.isfinite(v)]
    style.span(axes, "x", [*drawn, 1.0], log=True, pad=0.1)
    edges = axes.get_xlim()
    for y, (name, worth) in enumerate(rows):
        _row(axes, y, worth, colour[name], edges)
        if (name, worth.at) in own:
            _row(axes, y + BELOW, own[name, worth.at], style.MUTED, edges)
    names = [
        f"{style.words(name)}\n{'target, ' if w.target else ''}C = {style.power(w.at)}" for name, w in rows
    ]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)  # no row where no law could be fitted
    axes.tick_params(axis="y", length=0)
    reference = style.words(found.reference)
    axes.set_xlabel(f"Compute for the loss of {reference},\nas a multiple of its own")
    axes.set_title(f"{found.level:.0%} intervals" + ("\n(grey: own exponents)" if own else ""))


def _row(axes: Axes, y: float, worth: Worth, colour: Any, edges: tuple[float, float]) -> None:
    if worth.verdict == "no":
        axes.text(edges[0], y, " not identified", va="center", fontsize=8, color=style.MUTED)
        return
    low, high = (edge if not np.isfinite(v) else v for v, edge in zip(worth.ends, edges, strict=True))
    axes.plot([low, high], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
    for value, edge, arrow in zip(worth.ends, edges, "<>", strict=True):
        axes.plot(
            *((value, y, "|") if np.isfinite(value) else (edge, y, arrow)), color=colour, ms=7, clip_on=False
        )
    if np.isfinite(worth.multiplier):
        axes.plot(worth.multiplier, y, "o", ms=5.5, color=colour, mec="white", mew=0.5)
