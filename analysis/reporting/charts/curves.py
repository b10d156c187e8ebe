"""Training curves: some points of some runs, so that a page of thousands of runs stays light."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.reporting.charts.chart import Chart, Shades, Trace, axis, line, runs_at, words
from analysis.reporting.charts.compute import OUTCOME
from analysis.reporting.runs import Runs
from analysis.tables.units import loss_unit

RUNS = 120  # curves drawn, held-out ones first
POINTS = 80  # of a curve


def training_curves(runs: Runs, curves: pd.DataFrame | None, *, name: str = "curves") -> Chart | None:
    """The training loss of runs, averaged over equal steps in log tokens; None where there are no curves.

    Args:
        runs: rows of the page.
        curves: logged rows: run_id, tokens, train/loss or eval/loss.
        name: the anchor.
    """
    if curves is None or not {"run_id", "tokens"} <= set(curves.columns):
        return None
    logged: Any = curves
    measured = next((c for c in ("train/loss", "eval/loss") if c in logged and logged[c].notna().any()), None)
    places = runs.of_runs(list(map(str, logged["run_id"].unique())))
    if measured is None or not places:
        return None
    chosen = _chosen(runs, list(places.values()))
    sizes, traces, ends = Shades(runs["N"][sorted(chosen)], "parameters N"), [], []
    by_run = dict(tuple(logged[logged["run_id"].isin(places)].groupby("run_id")))
    held = runs.text("role") == "holdout"
    for run, place in places.items():
        if place not in chosen:
            continue
        x, y = thinned(by_run[run]["tokens"].to_numpy(float), by_run[run][measured].to_numpy(float))
        if len(x) > 1:
            traces.append(_curve(x, y, place, "@accent" if held[place] else sizes.at(runs["N"][place])))
            ends.append(place)
    if not ends:
        return None
    fitted = [place for place in ends if not held[place]]
    traces.append(runs_at(fitted, "D", "loss", "evaluated loss at the end", **sizes.marker("N")))
    if len(fitted) < len(ends):
        outcome = [place for place in ends if held[place]]
        traces.append(runs_at(outcome, "D", "loss", "of a held-out run", **OUTCOME))
    kind = "Training" if measured == "train/loss" else "Evaluated"
    few = (
        f" {len(ends)} of {len(places):,} runs are drawn, evenly by size." if len(ends) < len(places) else ""
    )
    caption = (
        f"{kind} loss, averaged over up to {POINTS} equal steps in log tokens; drag to zoom, double-click to "
        f"go back.{few} All rows are in curves.parquet."
    )
    layout = {
        "xaxis": axis("tokens seen", "count"),
        "yaxis": axis(f"loss, {words(loss_unit(runs.frame))}", "number"),
    }
    return Chart(name, "Training curves", caption, tuple(traces), layout, 470)


def _curve(x: np.ndarray, y: np.ndarray, place: int, colour: str) -> Trace:
    """A curve that the pointer finds as its run."""
    curve = line(x, y, colour=colour, width=1.2)
    return {**curve, "hoverinfo": "text", "run": place, "opacity": 0.85}


def _chosen(runs: Runs, places: list[int]) -> set[int]:
    """All held-out runs, and others evenly by size."""
    held = runs.text("role") == "holdout"
    first = [place for place in places if held[place]][:RUNS]
    others = sorted(
        (place for place in places if not held[place]), key=lambda p: (runs["N"][p], runs["D"][p])
    )
    room = RUNS - len(first)
    if len(others) > room:
        others = [others[i] for i in np.linspace(0, len(others) - 1, room).round().astype(int)]
    return {*first, *others}


def thinned(tokens: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over equal steps in log tokens; rows without a loss are left out."""
    good = np.isfinite(tokens) & np.isfinite(loss) & (tokens > 0) & (loss > 0)
    tokens, loss = tokens[good], loss[good]
    if len(tokens) <= POINTS:
        order = np.argsort(tokens, kind="stable")
        return tokens[order], loss[order]
    edges = np.geomspace(tokens.min(), tokens.max() * 1.0001, POINTS + 1)
    which = np.unique(np.digitize(tokens, edges), return_inverse=True)[1]
    rows = np.bincount(which)
    return np.exp(np.bincount(which, np.log(tokens)) / rows), np.bincount(which, loss) / rows
