"""Forecasts against their outcomes: the reliability curve, and standardised errors by extrapolation."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.errors import plural
from analysis.figures import style
from analysis.figures.page import Given, page
from analysis.forecasting.calibration import BAND, LEVEL, Calibration

GRID = np.linspace(0, 1, 201)  # nominal levels at which the band is drawn


def calibration(
    found: Calibration, published: Calibration | None = None, *, axes: Given | None = None
) -> np.ndarray:
    """Left: share of forecasts within their interval, at every nominal level; the band is where forecasts
    that keep what they promise would lie, as many as there are groups, at each level by itself. Right: errors
    in standard deviations of their own forecast, by extrapolation; the band has the same level. Those that
    others published are hollow. ``axes``: two to draw on; left out: a new figure."""
    parts = [(found, "ours", style.INK, style.INK)]
    if published is not None:
        parts.append((published, "published", style.ACCENT, "white"))
    with page(axes, [["reliability", "errors"]], 3.4, widths=(1, 1.15)) as sheet:
        left, right = sheet.axes
        _band(left, found)
        for part, name, colour, fill in parts:
            _curve(left, part, name, colour)
            _errors(right, part, name, colour, fill)
        left.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="Nominal level of the interval",
                 ylabel="Share of outcomes within")  # fmt: skip
        left.set_title("Reliability")
        sheet.legend(left, "lower right")
        _frame(right, parts)
        return sheet.axes


def _band(axes: Axes, found: Calibration) -> None:
    axes.fill_between(GRID, *found.calibrated(GRID), color=style.MUTED, alpha=0.2, lw=0,
                      label=f"calibrated, {plural(found.groups, 'group')} ({LEVEL:.0%})")  # fmt: skip
    axes.plot([0, 1], [0, 1], "-", color=style.MUTED, lw=style.line(0.7))


def _curve(axes: Axes, found: Calibration, name: str, colour: str) -> None:
    nominal, share = found.curve()
    if len(nominal):
        count = f"{len(nominal)} {name}"
        axes.step(
            [0, *nominal, 1], [0, *share, 1], where="post", color=colour, lw=style.line(1.15), label=count
        )


def _errors(axes: Axes, found: Calibration, name: str, colour: str, fill: str) -> None:
    shown = [one for one in found.outcomes if one.z is not None and one.extrapolation]
    edge = colour if fill == "white" else "white"
    x, y = (np.array([getattr(one, name) for one in shown], float) for name in ("extrapolation", "z"))
    axes.plot(
        x,
        y,
        "o",
        ms=style.mark(1.05),
        color=colour,
        mfc=fill,
        mec=edge,
        mew=style.line(0.57),
        zorder=3,
        label=name,
    )


def _frame(axes: Axes, parts: list[tuple[Calibration, str, str, str]]) -> None:
    chosen = [one for part, *_ in parts for one in part.outcomes if one.z is not None and one.extrapolation]
    axes.axhspan(-BAND, BAND, color=style.MUTED, alpha=0.2, lw=0, zorder=0)
    axes.axhline(0, color=style.MUTED, lw=style.line(0.7), zorder=1)
    top = 1.15 * max([2.2, *(abs(one.z or 0.0) for one in chosen)])
    axes.set_ylim(-top, top)
    axes.yaxis.set_major_locator(MaxNLocator(7, integer=True))
    if chosen:
        far = [one.extrapolation or 1.0 for one in chosen]
        style.log_x(axes, [min(1.0, *far), max(10.0, *far)], lambda value: f"{value:g}×")
    axes.set(xlabel="Compute over the largest fitted", ylabel="Error / standard deviation forecast")
    axes.set_title("Standardised errors; above 0: over-predicted")
    missing = sum(one.z is None or not one.extrapolation for part, *_ in parts for one in part.outcomes)
    if missing:
        axes.text(0.98, 0.02, f"{missing} not shown: without interval or compute", ha="right",
                  fontsize=style.small(1), transform=axes.transAxes)  # fmt: skip
    if len(parts) > 1:
        axes.legend(loc="upper right")
