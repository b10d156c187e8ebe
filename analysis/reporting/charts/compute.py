"""Loss against compute: every run, the law at its best sizes, forecasts and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits.result import Fit
from analysis.forecasting.forecasts import Trial
from analysis.reporting.charts.chart import Chart, Shades, Trace, axis, band, line, runs_at, short, words
from analysis.reporting.runs import Runs
from analysis.reporting.words import STATUS
from analysis.tables.cells import near
from analysis.tables.runs import select
from analysis.tables.table import Table
from analysis.tables.units import loss_unit

JOINED = 24  # sizes whose runs are joined; more are a thicket
POINTS = 60
IDENTIFIED = ("ok", "partly_identified")  # statuses of a law that is drawn solid within its data
MARGIN = 1.15  # of compute, drawn beyond what there is


def loss_against_compute(
    runs: Runs, table: Table, fit: Fit, trials: Sequence[Trial], *, name: str
) -> Chart | None:
    """All runs of ``table``, which are rows of the page; None where none can be drawn.

    Args:
        runs: rows of the page.
        table: runs of one variant.
        fit: its law.
        trials: its forecasts.
        name: the anchor.

    Raises:
        AnalysisError: the table fails its checks.
    """
    drawn: Any = select(table, ("fit", "noise", "holdout"), convention=fit.convention)[0]
    if not len(drawn):
        return None
    fitted = drawn[drawn["role"] == "fit"]
    sizes = Shades(drawn["N"], "parameters N")
    joined = _joined(fitted, sizes)
    traces = [*joined]
    noise, held = drawn[drawn["role"] == "noise"], drawn[drawn["role"] == "holdout"]
    traces.append(runs_at(runs.places(fitted), "C", "loss", "fitted runs", **sizes.marker("N")))
    if len(noise):
        seeds: Any = {"symbol": "x-thin", "size": 7, "line": {"width": 1.4, "color": "@muted"}}
        traces.append(runs_at(runs.places(noise), "C", "loss", "repeated seeds", **seeds))
    ends = [drawn["C"].min() / MARGIN, drawn["C"].max() * MARGIN]
    ends[1] = max([ends[1], *(MARGIN * trial.forecast.target["C"] for trial in trials)])
    law, said = frontier(fit, np.geomspace(ends[0], ends[1], POINTS))
    traces += law
    if trials:
        traces.append(_forecasts(trials))
    if len(held):
        traces.append(runs_at(runs.places(held), "C", "loss", "held out, measured", **OUTCOME))
    parts = {"fitted": fitted, "of repeated seeds": noise, "held out": held}
    count = ", ".join(f"{len(rows):,} {what}" for what, rows in parts.items() if len(rows))
    how = "; runs of one size are joined" if joined else ""
    caption = f"Runs: {count}{how}. {said}"
    layout = {
        "xaxis": axis("training compute C, FLOPs", "power"),
        "yaxis": axis(f"loss, {words(loss_unit(table.frame))}", "number"),
    }
    return Chart(name, "Loss against compute", caption, tuple(traces), layout, 470)


OUTCOME: dict[str, Any] = {"symbol": "star", "size": 14, "color": "@accent"}


def _joined(fitted: pd.DataFrame, sizes: Shades) -> list[Trace]:
    """The mean of runs alike, joined for each size."""
    frame: Any = fitted
    size = frame["N"].map(lambda n: float(f"{n:.3g}"))
    if size.nunique() > JOINED:
        return []
    traces = []
    for _, rows in frame.sort_values("C").groupby(size):
        alike = near(np.zeros(len(rows)), rows["C"].to_numpy(float), np.zeros(len(rows), int))
        mean = np.exp(np.log(rows[["C", "L"]]).groupby(alike).mean())
        colour = sizes.at(float(rows["N"].iloc[0]))
        traces.append(line(mean["C"], mean["L"], colour=colour, width=1.2))
    return traces


def frontier(fit: Fit, compute: np.ndarray) -> tuple[list[Trace], str]:
    """The law at the best N and D of ``compute`` (m,), and in words what is drawn or why nothing is."""
    if not fit.usable:
        return [], f"No law is drawn: {fit.status.message}."
    try:
        best = fit.optimal(compute)
    except AnalysisError as error:
        return [], f"No frontier is drawn: {error.problems[0].text()}."
    known = fit.status.code in IDENTIFIED
    trained, largest = np.array(fit.data["N"]), max(fit.data["C"])
    size = best["N"].to_numpy(float)
    inside = (compute <= largest * 1.001) & (size >= trained.min()) & (size <= trained.max()) & known
    value = best["loss"].to_numpy(float)
    level = f"{fit.level:.0%}"
    traces = band(compute, best["new_low"], best["new_high"], f"{level} interval of a new run", "@faint")
    traces += band(compute, best["low"], best["high"], f"{level} confidence band of the law")
    if inside.any():
        traces.append(line(compute, np.where(inside, value, np.nan), "law, compute-optimal"))
    if not inside.all():
        outside = np.where(_inner(inside), np.nan, value)  # so that both parts meet
        name = "law beyond trained N or C" if known else f"law, {STATUS[fit.status.code][0]}"
        traces.append(line(compute, outside, name, dash="dash" if known else "dot"))
    if not known:
        return traces, f"The dotted line is no claim: {fit.status.message}."
    return traces, (
        "The line is the law at the best N and D of each compute, dashed beyond the sizes or the compute "
        "that were trained. The dark band is of the law alone. The light one is of a new run: beyond the "
        "data it includes the error that laws have made there, about a refit that weighs large runs up."
    )


def _inner(inside: np.ndarray) -> np.ndarray:
    """Those with both neighbours inside."""
    return inside & np.r_[True, inside[:-1]] & np.r_[inside[1:], True]


def _forecasts(trials: Sequence[Trial]) -> Trace:
    at = [trial.forecast for trial in trials]
    value = np.array([one.prediction for one in at])
    low, high = (np.array([one.interval[side] for one in at]) for side in ("low", "high"))
    names = [words(one.target["label"] or one.target["run_id"] or "forecast") for one in at]
    return {
        "mode": "markers", "x": short([one.target["C"] for one in at]), "y": short(value),
        "name": f"forecast, {at[0].interval['level']:.0%} interval for a new run",
        "text": names, "hovertemplate": "forecast of %{text}: %{y:.4f}<extra></extra>",
        "marker": {"symbol": "diamond-open", "size": 9, "color": "@ink", "line": {"width": 1.6}},
        "error_y": {
            "type": "data", "symmetric": False, "array": short(high - value),
            "arrayminus": short(value - low), "color": "@ink", "thickness": 1.4, "width": 5,
        },
    }  # fmt: skip
