"""What a law leaves over: against what was trained, and against what noise alone would leave."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from analysis.fits.result import Fit
from analysis.reporting.charts.chart import Chart, Shades, Trace, axis, line, runs_at, short
from analysis.reporting.charts.compute import OUTCOME
from analysis.reporting.runs import FITTED, Runs
from analysis.tables.cells import same_settings
from analysis.tables.runs import select
from analysis.tables.table import Table

PANELS = ("N", "D", "C")
COPY = 1e-12  # squared per cent: runs of a cell that differ by less are one
GAP = 0.05  # of the width, between panels
TITLES = {"N": "parameters N", "D": "tokens D", "C": "compute C, FLOPs"}


def residuals(runs: Runs, places: np.ndarray, fit: Fit, *, name: str) -> Chart | None:
    """Loss over the law's, against N, D and C; None without a law.

    Args:
        runs: rows of the page.
        places: those of one variant.
        fit: its law.
        name: the anchor.
    """
    panels = [x for x in PANELS if runs.has(x)]
    if not fit.usable or not runs.has("residual") or not panels:
        return None
    use, role = runs.text("use"), runs.text("role")
    fitted = places[use[places] == FITTED]
    held = places[(role[places] == "holdout") & np.isfinite(runs["residual"][places])]
    own = 100 * fit.noise.sd if fit.setup.space == "log" else np.nan
    sd = own if np.isfinite(own) else float(np.sqrt(np.mean(runs["residual"][fitted] ** 2)))
    sizes = Shades(runs["N"][fitted], "parameters N")
    traces: list[Trace] = []
    layout: dict[str, Any] = {"yaxis": axis("loss / law − 1, %", zeroline=True)}
    width = (1 - GAP * (len(panels) - 1)) / len(panels)
    for i, x in enumerate(panels):
        tail = "" if i == 0 else str(i + 1)
        begin = i * (width + GAP)
        layout[f"xaxis{tail}"] = axis(
            TITLES[x],
            "power" if x == "C" else "count",
            brief=x,
            domain=[begin, begin + width],
            anchor=f"y{tail}",
        )
        if i:
            layout[f"yaxis{tail}"] = axis("", matches="y", anchor=f"x{tail}", showticklabels=False)
        on = {"xaxis": f"x{tail}", "yaxis": f"y{tail}", "showlegend": i == 0}
        shade = sizes.marker("N") | ({"showscale": False} if i else {})
        traces.append(runs_at(fitted, x, "residual", "fitted runs", **shade) | on)
        if len(held):
            traces.append(runs_at(held, x, "residual", "held out", **OUTCOME) | on)
    layout["shapes"] = [_within(sd, f"x{'' if i == 0 else i + 1} domain", i) for i in range(len(panels))]
    caption = (
        f"What was measured over what the law says, run by run; the band is one standard deviation of the "
        f"fitted runs, {sd:.2g} %. A trend along an axis is misfit, not noise."
    )
    return Chart(name, "Residuals", caption, tuple(traces), layout, 380)


def _within(sd: float, x: str, panel: int) -> dict[str, Any]:
    """The band of one standard deviation across a panel."""
    return {
        "type": "rect", "xref": x, "yref": f"y{'' if panel == 0 else panel + 1}", "x0": 0, "x1": 1,
        "y0": -sd, "y1": sd, "fillcolor": "@band", "line": {"width": 0}, "layer": "below",
    }  # fmt: skip


def noise(runs: Runs, table: Table, fit: Fit, *, name: str = "noise") -> Chart | None:
    """Left: residuals against normal quantiles. Right: runs alike but for seeds, against their mean. None
    where there is neither.

    Args:
        runs: rows of the page.
        table: all runs.
        fit: the law of the first variant.
        name: the anchor.
    """
    quantiles = _quantiles(runs, fit)
    repeats = _repeats(runs, table, fit)
    if not quantiles and not repeats:
        return None
    both = bool(quantiles and repeats)
    layout: dict[str, Any] = {}
    if quantiles:
        layout["xaxis"] = axis("normal quantile", domain=[0, 0.46] if both else [0, 1])
        layout["yaxis"] = axis("loss / law − 1, %", anchor="x")
    if repeats:
        tail = "2" if both else ""
        layout[f"xaxis{tail}"] = axis(TITLES["C"], "power", brief="C, FLOPs", domain=[0.56 if both else 0, 1])
        layout[f"yaxis{tail}"] = axis(
            "loss / mean of its cell − 1, %", brief="", anchor=f"x{tail}", zeroline=True
        )
        repeats = [trace | {"xaxis": f"x{tail}", "yaxis": f"y{tail}"} for trace in repeats]
    caption = []
    if quantiles:
        caption.append("Residuals of the fitted runs in order; noise alone would lie on the line.")
    if repeats:
        caption.append("Runs of one size and token count that differ by seeds alone.")
    else:
        caption.append("No cell was trained with several seeds, so noise and misfit cannot be told apart.")
    if both:
        caption = [
            f"Left: {caption[0][0].lower()}{caption[0][1:]}",
            f"Right: {caption[1][0].lower()}{caption[1][1:]}",
        ]
    return Chart(name, "Noise", " ".join(caption), (*quantiles, *repeats), layout, 360)


def _quantiles(runs: Runs, fit: Fit) -> list[Trace]:
    if not fit.usable:
        return []
    fitted = np.flatnonzero(runs.text("use") == FITTED)
    fitted = fitted[np.isfinite(runs["residual"][fitted])]
    order = fitted[np.argsort(runs["residual"][fitted], kind="stable")]
    if len(order) < 4:
        return []
    z = stats.norm.ppf((np.arange(len(order)) + 0.5) / len(order))
    low, middle, high = np.quantile(runs["residual"][order], [0.25, 0.5, 0.75])
    ends = np.array([z[0], z[-1]]) * 1.1
    spread = (high - low) / (2 * stats.norm.ppf(0.75))
    straight = line(ends, middle + spread * ends, "normal, by the quartiles", "@muted")
    return [straight, runs_at(order, "", "residual", "fitted runs", color="@at:0.35") | {"x": short(z)}]


def _repeats(runs: Runs, table: Table, fit: Fit) -> list[Trace]:
    drawn: Any = select(table, ("fit", "noise"), convention=fit.convention)[0]
    if not len(drawn):
        return []
    cell = same_settings(drawn)
    several = np.bincount(cell)[cell] > 1
    if not several.any():
        return []
    log = np.log(drawn["L"].to_numpy(float))
    mean = np.bincount(cell, log) / np.bincount(cell)
    apart = 100 * np.expm1(log - mean[cell])
    several &= np.bincount(cell, apart**2)[cell] > COPY  # a run that stands twice says nothing of noise
    if not several.any():
        return []
    dots = runs_at(runs.places(drawn[several]), "C", "", "runs alike but for seeds", color="@at:0.35")
    return [dots | {"y": short(apart[several])}]
