"""Whether the frozen forecasts of a study keep what they promise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from analysis.errors import plural
from analysis.forecasting.calibration import BAND, LEVEL, Calibration, calibrate, outcomes_of
from analysis.forecasting.forecasts import Trial
from analysis.forecasting.survey import Entry
from analysis.reporting.charts.chart import Chart, Trace, axis, band, line, short, words
from analysis.reporting.runs import Runs

FEWEST = 3  # forecasts with an outcome
GRID = np.linspace(0, 1, 101)


def frozen(trials: Sequence[Trial]) -> list[Trial]:
    """Those that were frozen beforehand and have an outcome."""
    return [trial for trial in trials if trial.origin == "frozen" and trial.score is not None]


def calibration(runs: Runs, trials: Sequence[Trial], *, name: str = "calibration") -> Chart | None:
    """Left: share of outcomes within the interval at every nominal level. Right: errors in standard
    deviations of their own forecast, by extrapolation. None of fewer than :data:`FEWEST` frozen ones with an
    outcome.

    Args:
        runs: rows of the page.
        trials: forecasts and what became of them.
        name: the anchor.
    """
    chosen = frozen(trials)
    if len(chosen) < FEWEST:
        return None
    found = calibrate(outcomes_of([Entry(Path(), t.forecast, "scored", t.score) for t in chosen]))
    top = 1.15 * max([2.2, *(abs(one.z) for one in found.outcomes if one.z is not None)])
    layout = {
        "xaxis": axis("nominal level of the interval, %", domain=[0, 0.44], range=[0, 100]),
        "yaxis": axis("share of outcomes within, %", anchor="x", range=[0, 102]),
        "xaxis2": axis("compute over the largest fitted", "number", domain=[0.56, 1]),
        "yaxis2": axis("error / standard deviation forecast", anchor="x2", zeroline=True, range=[-top, top]),
        "shapes": [{
            "type": "rect", "xref": "x2 domain", "yref": "y2", "x0": 0, "x1": 1, "y0": -BAND, "y1": BAND,
            "fillcolor": "@band", "line": {"width": 0}, "layer": "below",
        }],
    }  # fmt: skip
    errors = _errors(runs, chosen, found) | {"xaxis": "x2", "yaxis": "y2"}
    spread = "" if found.spread is None else f" Errors are {found.spread:.2g} times what was promised."
    caption = (
        "Left: how often intervals of every level held; forecasts that share runs count as one "
        f"({plural(found.groups, 'group')}), and where all keep their promise the "
        f"curve lies in the band with {LEVEL:.0%} probability at each level. Right: errors, above 0 "
        f"over-predicted, with the same band.{spread}"
    )
    return Chart(name, "Calibration of forecasts", caption, (*_reliability(found), errors), layout, 380)


def _reliability(found: Calibration) -> list[Trace]:
    low, high = (100 * end for end in found.calibrated(GRID))
    nominal, share = (100 * np.array(part) for part in found.curve())
    steps = line([0, *nominal, 100], [0, *share, 100], f"{len(nominal)} forecasts")
    steps["line"]["shape"] = "hv"
    diagonal = line([0, 100], [0, 100], colour="@muted", width=1)
    return [
        *band(100 * GRID, low, high, f"calibrated ({LEVEL:.0%})", "@faint"),
        diagonal,
        steps,
    ]


def _errors(runs: Runs, chosen: Sequence[Trial], found: Calibration) -> Trace:
    at = runs.of_runs([str(trial.forecast.target["run_id"]) for trial in chosen])
    names = [words(trial.forecast.target["label"] or "forecast") for trial in chosen]
    z = [np.nan if one.z is None else one.z for one in found.outcomes]
    return {
        "mode": "markers", "x": short([trial.forecast.extrapolation for trial in chosen]), "y": short(z),
        "rows": [at.get(str(trial.forecast.target["run_id"])) for trial in chosen], "text": names,
        "showlegend": False, "marker": {"size": 9, "symbol": "diamond", "color": "@accent"},
    }  # fmt: skip
