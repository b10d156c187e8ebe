"""Coordinate checks: sizes of activations against width or depth by step, and their exponents."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure

from analysis.coordinates import FLAT, MEASURES, Coordinates, Exponent, placed
from analysis.figures import style
from analysis.figures.page import Given, checked

LABELS = {"size": "Size (rms)", "change": "Change (rms)"}
HEIGHT, LOW = 1.1, 0.85  # of a row of panels, inches; of one on a narrow page
ROW = 0.17  # of a place among the exponents
SPAN = 300  # below the largest, lines are not drawn
LEAST = 2.0  # decades that a panel spans
SHADES = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.86, 256)))
ROOM = 0.3  # that an axis of exponents has at least, to both sides
APART = 0.3  # of a row, between variants


def coordinates(found: Coordinates, *, axes: Given | None = None) -> np.ndarray:
    """Top: sizes of activations against width (of the last layer) or depth, a line for each step (geometric
    mean of seeds, which are dots at the last step). Below: exponents of all places with intervals; the band
    is what counts as flat.

    Args:
        found: what to draw.
        axes: to draw on, two rows for each variant of as many as there are places, then one for each measure
            of exponents; left out: a new figure.
    """
    variants, places = list(found.statuses), _columns(placed(found.data, found.over))
    rows = [(variant, column) for variant in variants for column in LABELS]
    names = [f"{column} of {place}" for _, column in rows for place in places] + list(MEASURES)
    shape = len(variants), len(LABELS), len(places)
    with style.look() if axes is None else nullcontext():
        figure = style.canvas(1.0)
        narrow = axes is None and style.narrow(figure)
        if axes is not None:
            panels = checked(axes, names)
            grid = np.array(panels[: np.prod(shape)], object).reshape(shape)
            below = panels[np.prod(shape) :]
        else:
            grid, below = _stacked(figure, shape, len(_places(found))) if narrow else _side_by_side(
                figure, shape, len(_places(found)))  # fmt: skip
        _grid(grid, found, places, narrow)
        _exponents(below, found, narrow)
        return np.array([*grid.ravel(), *below], object)


def _side_by_side(
    figure: Figure, shape: tuple[int, int, int], exponents: int
) -> tuple[np.ndarray, list[Axes]]:
    """Make a row of panels for each variant and measure, all of ``shape``, and below it panels of so many
    exponents each."""
    rows = shape[0] * shape[1]
    heights = (HEIGHT * rows + 0.3, 0.7 + ROW * exponents)
    figure.set_figheight(figure.get_figheight() * sum(heights))
    halves: Any = figure.subfigures(2, 1, height_ratios=heights)
    top = halves[0].subplots(rows, shape[2], sharex=True, squeeze=False)
    return top.reshape(shape), [*halves[1].subplots(1, len(MEASURES), sharey=True)]


def _stacked(figure: Figure, shape: tuple[int, int, int], exponents: int) -> tuple[np.ndarray, list[Axes]]:
    """Make them for a narrow page: a row for each place, and panels of exponents below each other."""
    variants, measures, places = shape
    tall = style.enlarged()
    heights = (LOW * variants * places + 0.9, len(MEASURES) * (0.6 + ROW * exponents))
    figure.set_figheight(tall * sum(heights))
    halves: Any = figure.subfigures(2, 1, height_ratios=heights)
    top = halves[0].subplots(variants * places, measures, sharex=True, squeeze=False)
    grid = top.reshape(variants, places, measures).swapaxes(1, 2)
    return grid, [*halves[1].subplots(len(MEASURES), 1)]


def _grid(grid: np.ndarray, found: Coordinates, places: Sequence[str], narrow: bool) -> None:
    """Draw a panel for each variant, measure and place: (V, M, P); on a narrow page measures stand side by
    side, else places."""
    for variant, of_variant in zip(found.statuses, grid, strict=True):
        at: Any = placed(found.data[found.data["variant"] == variant], found.over)
        for column, panels in zip(LABELS, of_variant, strict=True):
            for axes, place in zip(panels, places, strict=True):
                _lines(axes, at[place], found.over, column)
            _equal_spans(panels)
            if not narrow:
                panels[0].set_ylabel(f"{style.words(variant)}\n{LABELS[column]}")
        for axes, place in zip(of_variant[0], places, strict=True):
            if narrow:
                axes.set_ylabel(f"{style.words(variant)}\n{_named(place)}", fontsize=style.small())
    heads = LABELS.values() if narrow else [_named(place).replace(", ", ",\n") for place in places]
    first, last = (grid[0, :, 0], grid[-1, :, -1]) if narrow else (grid[0, 0], grid[-1, -1])
    for axes, end, head in zip(first, last, heads, strict=True):
        axes.set_title(head)
        end.set_xlabel(found.over.capitalize())
    _sizes(grid, found)
    shades = ScalarMappable(Normalize(0, found.steps), SHADES)
    where: Any = {"location": "top", "aspect": 40} if narrow else {"aspect": 30}
    bar = grid.flat[0].get_figure().colorbar(shades, ax=grid.ravel().tolist(), pad=0.02, **where)
    bar.set_label("Step")
    bar.outline.set_visible(False)
    (bar.ax.xaxis if narrow else bar.ax.yaxis).set_major_locator(ticker.MaxNLocator(integer=True))


def _named(place: str) -> str:
    words = place.replace("mlp", "MLP")
    return words[0].upper() + words[1:]


def _columns(at: dict[str, pd.DataFrame]) -> list[str]:
    """The places drawn: of layers, the last, or all together."""
    return [place for place in at if not place.startswith(("first ", "middle "))]


def _places(found: Coordinates) -> list[str]:
    return list(dict.fromkeys(exponent.place for exponent in found.exponents))


def _lines(axes: Axes, rows: Any, over: str, column: str) -> None:
    """Draw a line a step; none where a size is 0 or not finite, nor for steps far below the largest: the
    first changes may be of weight decay alone."""
    last, top = rows["step"].max(), rows[column].max()
    axes.set_yscale("log")
    for step, of_step in rows.groupby("step"):
        if not (of_step[column] > 0).all() or of_step[column].max() < top / SPAN:
            continue
        means = np.exp(np.log(of_step[column]).groupby(of_step[over]).mean())
        colour = SHADES(float(step) / last)
        axes.plot(means.index, means, color=colour, lw=style.line(0.79), zorder=2)
        if step == last:
            axes.plot(
                of_step[over],
                of_step[column],
                "o",
                ms=style.mark(0.52),
                color=colour,
                mec="white",
                mew=style.line(0.14),
                zorder=3,
            )


def _equal_spans(panels: Sequence[Axes]) -> None:
    """Let all panels of a row span as many decades, each around its own lines: slopes look alike."""
    ends = np.log10([axes.get_ylim() for axes in panels])
    half = max(np.ptp(ends, axis=1).max() / 2, LEAST / 2)
    for axes, middle in zip(panels, ends.mean(axis=1), strict=True):
        axes.set_ylim(10 ** (middle - half), 10 ** (middle + half))


def _sizes(grid: Any, found: Coordinates) -> None:
    sizes = sorted(found.data[found.over].unique())
    for axes in grid.flat:
        axes.set(xscale="log", xlim=(sizes[0] / 1.2, sizes[-1] * 1.2))
        axes.xaxis.set_major_locator(ticker.FixedLocator(sizes))
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
        axes.xaxis.set_minor_locator(ticker.NullLocator())
        axes.yaxis.set_major_locator(ticker.LogLocator(numticks=4))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
        axes.tick_params(labelsize=style.small(0.875), pad=2)


def _exponents(panels: Sequence[Axes], found: Coordinates, narrow: bool) -> None:
    places, variants = _places(found), list(found.statuses)
    colour = dict(zip(variants, [style.INK], strict=True)) if len(variants) == 1 else style.colours(variants)
    for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
        axes.axvspan(-FLAT, FLAT, color=style.MUTED, alpha=0.25, lw=0, zorder=0)
        axes.axvline(0, color=style.MUTED, lw=style.line(0.57), zorder=1)
        for exponent in found.exponents:
            if exponent.measure == measure:
                offset = APART * (variants.index(exponent.variant) - (len(variants) - 1) / 2)
                _exponent(axes, places.index(exponent.place) + offset, exponent, colour[exponent.variant])
        axes.set_title(title.capitalize())
        axes.tick_params(axis="y", length=0)
        axes.xaxis.set_major_locator(ticker.MaxNLocator(5))
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -ROOM), max(high, ROOM))
    for axes in panels if narrow else panels[:1]:
        axes.set_yticks(range(len(places)), [_named(place) for place in places])
        axes.set_ylim(len(places) - 0.5, -0.5)
    words = f"Exponent of {found.over}, {found.level:.0%} intervals (band: flat)"
    panels[-1 if narrow else 0].set_xlabel(words, loc="right" if narrow else "left")
    if len(variants) > 1:
        for name in variants:
            panels[-1].plot([], [], "o-", ms=style.mark(0.83), color=colour[name], label=style.words(name))
        panels[-1].legend(loc="upper right" if narrow else "upper left",
                          bbox_to_anchor=(1.0, -0.35) if narrow else (1.0, 1.0))  # fmt: skip


def _exponent(axes: Axes, y: float, exponent: Exponent, colour: Any) -> None:
    if np.isnan(exponent.exponent):
        axes.text(
            0, y, exponent.verdict, va="center", ha="center", fontsize=style.small(0.69), color=style.MUTED
        )
        return
    if not np.isnan(exponent.low):
        axes.plot(
            [exponent.low, exponent.high],
            [y, y],
            color=colour,
            lw=style.line(0.86),
            solid_capstyle="butt",
            zorder=2,
        )
    axes.plot(
        exponent.exponent,
        y,
        "o",
        ms=style.mark(0.83),
        color=colour,
        mec="white",
        mew=style.line(0.29),
        zorder=3,
    )
