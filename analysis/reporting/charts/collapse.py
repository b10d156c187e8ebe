"""Training curves over their final loss: of one family they coincide, and one that does not went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.collapse import BINS, Collapse, Curve
from analysis.reporting.charts.chart import Chart, Shades, Trace, axis, line
from analysis.reporting.runs import Runs

MIDDLES = (BINS[1:] + BINS[:-1]) / 2


def collapse(runs: Runs, found: Collapse, *, name: str = "collapse") -> Chart | None:
    """Distances of normalised curves to the median of their group; None where nothing can be compared.

    Args:
        runs: rows of the page.
        found: the comparison.
        name: the anchor.
    """
    if not found.curves:
        return None
    at, sizes = (
        runs.of_runs([curve.run for curve in found.curves]),
        Shades([c.size for c in found.curves], ""),
    )
    traces = [_curve(found, curve, sizes, at.get(curve.run)) for curve in found.curves]
    limit = 100 * (found.limit or 0.0)
    layout = {
        "xaxis": axis("share of the run's tokens, %"),
        "yaxis": axis("above the median of its group, %", zeroline=True),
        "shapes": [{
            "type": "rect", "xref": "x domain", "yref": "y", "x0": 0, "x1": 1, "y0": -limit, "y1": limit,
            "fillcolor": "@band", "line": {"width": 0}, "layer": "below",
        }],
    }  # fmt: skip
    beside = "by repeated seeds" if found.degrees else "by the scatter along curves, a lower bound"
    aside = f" {found.aside} runs are in no group." if found.aside else ""
    caption = (
        "Training loss over its final value, against the median of the runs with as many tokens per "
        f"parameter; the band is what counts as coinciding, {beside}. "
        f"{found.status.message[0].upper()}{found.status.message[1:]}.{aside}"
    )
    return Chart(name, "Collapse of training curves", caption, tuple(traces), layout, 400)


def _curve(found: Collapse, curve: Curve, sizes: Shades, place: int | None) -> Trace:
    others = [c.values for c in found.curves if c.group == curve.group and not c.fallen]
    off = 100 * np.expm1(np.array(curve.values) - np.median(others or [curve.values], axis=0))
    colour = "@accent" if curve.fallen else sizes.at(curve.size)
    drawn = line(100 * MIDDLES, off, colour=colour, dash="dash" if curve.fallen else "solid", width=1.4)
    known: dict[str, Any] = {} if place is None else {"hoverinfo": "text", "run": place}
    return {**drawn, **known, "opacity": 0.9}
