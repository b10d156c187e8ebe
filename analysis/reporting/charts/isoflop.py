"""Loss against size at equal compute, with the parabolas and their minima."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.optimal_size.isoflop import IsoFlop
from analysis.reporting.charts.chart import Chart, Shades, axis, line, runs_at, short, words
from analysis.reporting.runs import Runs
from analysis.tables.budgets import budgets
from analysis.tables.runs import select
from analysis.tables.table import Table

LEAST = 3  # sizes of a budget that has a parabola
MOST = 14  # budgets drawn


def isoflop(runs: Runs, table: Table, found: IsoFlop, *, name: str) -> Chart | None:
    """Budgets of enough sizes for a parabola; None where there is none, as on a grid or a set of checkpoints.

    Args:
        runs: rows of the page.
        table: runs of one variant.
        found: its minima.
        name: the anchor.
    """
    curves = [one for one in found.minima if len(one.sizes) >= LEAST]
    if not curves or len(curves) < len(found.minima) / 2:
        return None
    curves = [curves[i] for i in np.unique(np.linspace(0, len(curves) - 1, MOST).round().astype(int))]
    drawn: Any = select(table, convention=found.convention)[0]
    budget, traces = budgets(drawn), []
    shades = Shades([one.budget for one in curves], "compute C, FLOPs")
    for one in curves:
        grid, colour = np.geomspace(one.sizes[0], one.sizes[-1], 40), shades.at(one.budget)
        if one.coefficients[2] > 0:
            traces.append(line(grid, one.curve(grid), colour=colour, width=1.4))
        rows = runs.places(drawn[budget == one.budget])
        traces.append(runs_at(rows, "N", "loss", f"C = {one.budget:.3g}", color=colour))
    inside = [one for one in curves if one.interior]
    if inside:
        traces.append({
            "mode": "markers", "x": short([m.N or np.nan for m in inside]), "name": "minimum of a parabola",
            "y": short([m.loss or np.nan for m in inside]),
            "text": [f"C = {m.budget:.3g}" for m in inside],
            "hovertemplate": "minimum at %{text}: N* = %{x:.4s}, loss %{y:.4f}<extra></extra>",
            "marker": {
                "symbol": "star", "size": 13, "color": "@accent", "line": {"width": 0.7, "color": "@paper"},
            },
        })  # fmt: skip
    few = f", {len(curves)} of {len(found.minima)} drawn" if len(curves) < len(found.minima) else ""
    caption = (
        f"Runs of nearly equal compute{few}, with a parabola in log N through each budget. "
        f"{found.message[0].upper()}{found.message[1:]}; {found.bias}."
    )
    layout = {
        "xaxis": axis("parameters N", "count"),
        "yaxis": axis(f"loss, {words(found.unit)}", "number"),
    }
    return Chart(name, "IsoFLOP curves", caption, tuple(traces), layout, 470)
