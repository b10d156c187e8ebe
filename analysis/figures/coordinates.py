"""Coordinate checks: sizes of activations against width or depth by step, and their exponents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

import matplotlib as mpl

from analysis.coordinates import FLAT, MEASURES, Coordinates, Exponent, placed
from analysis.figures import style

LABELS = {"size": "Size (rms)", "change": "Change"}
SHADES = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.86, 256)))
APART = 0.22  # of a row, between variants


def coordinates(found: Coordinates) -> Figure:
    """Top: size of activations, and of their change since initialisation, against width (of the last
    layer) or depth, a line for each step (geometric mean of seeds, which are dots at the last step), rows for each
    variant. Below: exponents of all places with intervals; the band is what counts as flat."""
    variants = list(found.statuses)
    rows = [(variant, column) for variant in variants for column in LABELS]
    places = _columns(placed(found.data, found.over))
    with style.look():
        figure = style.canvas(1.15 * len(rows) + 0.7 + 0.19 * len(_places(found)))
        top, bottom = figure.subfigures(
            2, 1, height_ratios=(1.15 * len(rows) + 0.2, 0.5 + 0.19 * len(_places(found)))
        )
        grid = top.subplots(len(rows), len(places), sharex=True, sharey="row", squeeze=False)
        for (variant, column), axes in zip(rows, grid, strict=True):
            of_variant = found.data[found.data["variant"] == variant]
            at = placed(of_variant, found.over)
            for ax, place in zip(axes, places, strict=True):
                _lines(ax, at[place], found.over, column)
            axes[0].set_ylabel(f"{style.words(variant)}\n{LABELS[column]}")
        for ax, place in zip(grid[0], places, strict=True):
            ax.set_title(place.capitalize())
        _sizes(grid, found)
        top.supxlabel(found.over.capitalize(), fontsize=9.5)
        bar = top.colorbar(
            ScalarMappable(Normalize(0, found.steps), SHADES), ax=grid.ravel().tolist(), pad=0.02, aspect=30
        )
        bar.set_label("Step")
        bar.outline.set_visible(False)
        _exponents(bottom, found)
        return style.finish(figure)


def _columns(at: dict[str, pd.DataFrame]) -> list[str]:
    """The places drawn: of layers, the last, or all together."""
    return [place for place in at if not place.startswith(("first ", "middle "))]


def _places(found: Coordinates) -> list[str]:
    return list(dict.fromkeys(exponent.place for exponent in found.exponents))


def _lines(axes: Axes, rows: pd.DataFrame, over: str, column: str) -> None:
    last = rows["step"].max()
    for step, of_step in rows.groupby("step"):
        positive = of_step[of_step[column] > 0]
        if len(positive) < len(of_step):
            continue  # zero, or not finite
        means = np.exp(np.log(positive[column]).groupby(positive[over]).mean())
        colour = SHADES(float(step) / last)
        axes.plot(means.index, means, color=colour, lw=1.1, zorder=2)
        if step == last:
            axes.plot(
                positive[over], positive[column], "o", ms=2.5, color=colour, mec="white", mew=0.2, zorder=3
            )


def _sizes(grid: Any, found: Coordinates) -> None:
    sizes = sorted(found.data[found.over].unique())
    for axes in grid.flat:
        axes.set(xscale="log", yscale="log", xlim=(sizes[0] / 1.2, sizes[-1] * 1.2))
        axes.xaxis.set_major_locator(ticker.FixedLocator(sizes))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.tick_params(axis="x", labelsize=7)
        axes.yaxis.set_major_locator(ticker.LogLocator(numticks=5))
        axes.yaxis.set_minor_locator(ticker.NullLocator())


def _exponents(figure: Any, found: Coordinates) -> None:
    places, variants = _places(found), list(found.statuses)
    colour = dict(zip(variants, [style.INK], strict=True)) if len(variants) == 1 else style.colours(variants)
    panels = figure.subplots(1, len(MEASURES), sharey=True)
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        axes.axvspan(-FLAT, FLAT, color=style.MUTED, alpha=0.25, lw=0, zorder=0)
        axes.axvline(0, color=style.MUTED, lw=0.8, zorder=1)
        for exponent in found.exponents:
            if exponent.measure == measure:
                offset = APART * (variants.index(exponent.variant) - (len(variants) - 1) / 2)
                _exponent(axes, places.index(exponent.place) + offset, exponent, colour[exponent.variant])
        axes.set_title(title.capitalize())
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
    panels[0].set_yticks(range(len(places)), [place.capitalize() for place in places])
    panels[0].set_ylim(len(places) - 0.5, -0.5)
    figure.supxlabel(f"Exponent of {found.over}, {found.level:.0%} intervals (band: flat)", fontsize=9.5)
    if len(variants) > 1:
        for name in variants:
            panels[-1].plot([], [], "o-", ms=4, color=colour[name], label=style.words(name))
        figure.legend(loc="outside right upper")


def _exponent(axes: Axes, y: float, exponent: Exponent, colour: Any) -> None:
    if np.isnan(exponent.exponent):
        axes.text(0, y, exponent.verdict, va="center", ha="center", fontsize=7, color=style.MUTED)
        return
    if not np.isnan(exponent.low):
        axes.plot(
            [exponent.low, exponent.high], [y, y], color=colour, lw=1.2, solid_capstyle="butt", zorder=2
        )
    axes.plot(exponent.exponent, y, "o", ms=4, color=colour, mec="white", mew=0.4, zorder=3)
