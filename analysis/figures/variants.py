"""Variants of a study: loss against compute with a law each, and the compute that each needs for one loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import style
from analysis.figures.lines import BAND, at_best, identified, law_line
from analysis.figures.page import Given, page
from analysis.fits.prediction import INSIDE
from analysis.fits.result import Fit
from analysis.tables.runs import select
from analysis.tables.table import Table
from analysis.variants.comparison import COLUMN, Variants
from analysis.variants.contrast import Worth

BELOW = 0.2  # of the space between rows, where the same with other exponents is drawn


def variants(
    table: pd.DataFrame | Table, fits: Mapping[str, Fit], found: Variants, *, axes: Given | None = None
) -> np.ndarray:
    """Left: every fitted run and the compute-optimal law of each variant with its band, dashed beyond its
    runs, dotted where it is not identified; held-out runs as stars. Right: the compute that each needs for
    the loss of the reference, with intervals.

    Args:
        table: runs with a column ``variant``.
        fits: the law of each variant, the reference first.
        found: their comparison.
        axes: two to draw on; left out: a new figure.
    """
    convention = next(iter(fits.values())).convention
    runs: Any = select(table, ("fit", "holdout"), convention=convention, cells="all")[0]
    colour = style.colours(list(fits))
    with page(axes, [["runs", "worth"]], 3.9, widths=(1.35, 1)) as sheet:
        left, right = sheet.axes
        for name, fitted in fits.items():
            _variant(left, runs[runs[COLUMN] == name], fitted, colour[name], name)
        style.log_x(left, runs["C"], style.power)
        style.log_loss(left, runs["L"])
        left.set(xlabel=style.NAMES[convention][1], ylabel=style.loss(style.stated(table)))
        if (runs["role"] == "holdout").any():
            left.scatter([], [], label="held out", **{**style.outcome(), "color": style.INK})
        left.legend(loc="best")
        _worth(right, found, colour)
        return sheet.axes


def _variant(axes: Axes, runs: Any, fitted: Fit, colour: Any, name: str) -> None:
    shown, held = runs[runs["role"] == "fit"], runs[runs["role"] == "holdout"]
    how: Any = {"ms": style.mark(0.75), "color": colour, "mec": "white", "mew": style.line(0.2)}
    axes.plot(shown["C"], shown["L"], "o", label=style.words(name), **how)
    if len(held):
        axes.scatter(held["C"], held["L"], **{**style.outcome(), "color": colour})
    best = at_best(fitted, np.geomspace(shown["C"].min(), runs["C"].max(), 60))
    if best is not None:
        axes.fill_between(best["C"], best["low"], best["high"], color=colour, alpha=BAND, lw=0)
        beyond = (best["extrapolation"] > INSIDE).to_numpy()
        law_line(axes, best["C"], best["loss"], beyond, identified(fitted, "best"), color=colour)


def _worth(axes: Axes, found: Variants, colour: Mapping[str, Any]) -> None:
    """A row for each variant and compute; without an interval, what is missing."""
    rows = [(contrast.variant, worth) for contrast in found.contrasts for worth in contrast.worth]
    own = {(c.variant, worth.at): worth for c in found.contrasts for worth in c.own_worth}
    axes.axvline(1.0, color=style.MUTED, lw=style.line(0.71), ls="--", zorder=1)
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
        axes.text(edges[0], y, " not identified", va="center", fontsize=style.small(1), color=style.MUTED)
        return
    low, high = (edge if not np.isfinite(v) else v for v, edge in zip(worth.ends, edges, strict=True))
    axes.plot([low, high], [y, y], color=colour, lw=style.line(1.14), solid_capstyle="butt")
    for value, edge, arrow in zip(worth.ends, edges, "<>", strict=True):
        axes.plot(
            *((value, y, "|") if np.isfinite(value) else (edge, y, arrow)),
            color=colour,
            ms=style.mark(1.46),
            clip_on=False,
        )
    if np.isfinite(worth.multiplier):
        axes.plot(
            worth.multiplier, y, "o", ms=style.mark(1.15), color=colour, mec="white", mew=style.line(0.36)
        )
