"""Training curves divided by their final loss, and how far each lies from the others of its group."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from analysis.collapse import BINS, MIDDLES, Collapse, Curve
from analysis.errors import AnalysisError, plural
from analysis.figures import style
from analysis.figures.page import Given, page
from analysis.fits.summary import count

NAMED = 4  # runs that fall off, by name


def collapse(found: Collapse, *, axes: Given | None = None) -> np.ndarray:
    """Left: loss over final loss against the share of a run's tokens, of the group with most curves that fall
    off, else with most curves. Right: distances of all curves to the median of their group; the band is what
    counts as coinciding on the whole. ``axes``: two to draw on; left out: a new figure. Raises AnalysisError
    where there is nothing to compare."""
    if not found.curves:
        raise AnalysisError(f"figure of collapse: {found.status.message}")
    with page(axes, [["curves", "distances"]], 3.4, widths=(1, 1.1)) as sheet:
        left, right = sheet.axes
        shades = style.Shades([curve.size for curve in found.curves])
        _curves(left, _shown(found), shades)
        _distances(right, found, shades)
        sheet.explain(shades, style.NAMES[found.convention][0])
        return sheet.axes


def _shown(found: Collapse) -> list[Curve]:
    """The curves of one group."""
    sizes, fallen = Counter(c.group for c in found.curves), Counter(c.group for c in found.fallen)
    group = max(sizes, key=lambda number: (fallen[number], sizes[number]))
    return [curve for curve in found.curves if curve.group == group]


def _curves(axes: Axes, curves: list[Curve], shades: style.Shades) -> None:
    for curve in curves:
        axes.plot(MIDDLES, np.exp(curve.values), **_drawn(curve, shades))
    ratios = [curve.ratio for curve in curves]
    low, high = count(min(ratios)), count(max(ratios))
    axes.set_title(f"{len(curves)} runs, D/N = {low if low == high else f'{low} to {high}'}")
    axes.set(xlim=(BINS[0], 1), xlabel="Share of the run's tokens", ylabel="Training loss / its final value")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _distances(axes: Axes, found: Collapse, shades: style.Shades) -> None:
    limit = found.limit or 0.0
    axes.axhspan(-100 * limit, 100 * limit, color=style.MUTED, alpha=0.2, lw=0, zorder=0)
    axes.axhline(0, color=style.MUTED, lw=style.line(0.6), zorder=1)
    far = found.fallen[:NAMED]
    for curve, off in zip(found.curves, found.above(), strict=True):
        name = style.words(curve.label) if curve in far else None
        axes.plot(MIDDLES, 100 * off, **_drawn(curve, shades), label=name)
    groups = len({curve.group for curve in found.curves})
    fallen = f"{len(found.fallen)} of {len(found.curves)} {'falls' if len(found.fallen) == 1 else 'fall'} off"
    word = fallen if found.fallen else "no run falls off"
    axes.set_title(f"{plural(groups, 'group')} of D/N: {word}")
    axes.set(
        xlim=(BINS[0], 1), xlabel="Share of the run's tokens", ylabel="Above the median of the group (%)"
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_locator(MaxNLocator(7, symmetric=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if found.fallen:
        axes.legend(loc="best")


def _drawn(curve: Curve, shades: style.Shades) -> dict[str, Any]:
    if curve.fallen:
        return {"color": style.ACCENT, "lw": style.line(1.3), "ls": "--", "zorder": 3}
    return {"color": shades(curve.size), "lw": style.line(0.7), "zorder": 2}
