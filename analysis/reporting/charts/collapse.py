"""Training curves over their final loss: of one family they coincide, and one that does not went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.collapse import MIDDLES, Collapse, Curve
from analysis.reporting.charts.chart import Chart, Shades, Trace, axis, line
from analysis.reporting.charts.curves import RUNS
from analysis.reporting.runs import Runs


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
    chosen = _chosen(found)
    traces = [_curve(curve, off, sizes, at.get(curve.run)) for curve, off in chosen]
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
    if len(chosen) < len(found.curves):
        aside += f" {len(chosen)} curves are drawn, those that fall off first and others evenly by size."
    caption = (
        "Training loss over its final value, against the median of the runs with as many tokens per "
        f"parameter; the band is what counts as coinciding, {beside}. "
        f"{found.status.message[0].upper()}{found.status.message[1:]}.{aside}"
    )
    return Chart(name, "Collapse of training curves", caption, tuple(traces), layout, 400)


def _chosen(found: Collapse) -> list[tuple[Curve, np.ndarray]]:
    """Curves that are drawn and how far above their group they are: those that fall off, the farthest first,
    and others evenly by size."""
    pairs = list(zip(found.curves, found.above(), strict=True))
    fallen = sorted((pair for pair in pairs if pair[0].fallen), key=lambda pair: -pair[0].off)[:RUNS]
    others = sorted((pair for pair in pairs if not pair[0].fallen), key=lambda pair: pair[0].size)
    room = RUNS - len(fallen)
    if len(others) > room:
        others = [others[i] for i in np.linspace(0, len(others) - 1, room).round().astype(int)]
    return [*others, *fallen]


def _curve(curve: Curve, off: np.ndarray, sizes: Shades, place: int | None) -> Trace:
    colour = "@accent" if curve.fallen else sizes.at(curve.size)
    drawn = line(100 * MIDDLES, 100 * off, colour=colour, dash="dash" if curve.fallen else "solid", width=1.4)
    known: dict[str, Any] = {} if place is None else {"hoverinfo": "text", "run": place}
    return {**drawn, **known, "opacity": 0.9}
