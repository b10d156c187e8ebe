"""Forecasts against outcomes: how far off each was, beside the back-test that came before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.fits.summary import ORIGINS
from analysis.forecasting.backtest import BackTest
from analysis.forecasting.forecasts import Trial
from analysis.reporting.charts.chart import Chart, Trace, axis, short, words
from analysis.reporting.runs import Runs

NAMED = 24  # runs named below the axis


def forecasts(
    runs: Runs, trials: Sequence[Trial], backtest: BackTest, *, name: str = "forecasts"
) -> Chart | None:
    """Predicted over measured of the back-test's runs and of every forecast with an outcome, with the
    interval that each had; None where there is no outcome to compare with.

    Args:
        runs: rows of the page.
        trials: forecasts and what became of them.
        backtest: of the same law.
        name: the anchor.
    """
    scored = [trial for trial in trials if trial.score is not None]
    tested = sorted(backtest.runs, key=lambda run: run["N"])
    if not scored and not tested:
        return None
    at = runs.of_runs([str(one.get("row")) for one in tested]) | runs.of_runs(
        [str(trial.forecast.target["run_id"]) for trial in scored]
    )
    traces, labels = [], []
    if tested:
        labels += [run["label"] for run in tested]
        traces.append(_back_test(tested, backtest.level, [at.get(str(run["row"])) for run in tested]))
    for origin, look in (
        ("frozen", "diamond"),
        ("hindsight", "diamond-open"),
        ("recomputed", "diamond-open"),
    ):
        group = [trial for trial in scored if trial.origin == origin]
        if group:
            places = [at.get(str(trial.forecast.target["run_id"])) for trial in group]
            traces.append(_forecasts(group, len(labels), origin, look, places))
            labels += [trial.forecast.target["label"] or "forecast" for trial in group]
    ticks: Mapping[str, Any] = {
        "tickvals": list(range(len(labels))), "ticktext": [words(one) for one in labels], "tickangle": -40,
    } if len(labels) <= NAMED else {"showticklabels": False}  # fmt: skip
    layout = {
        "xaxis": axis("", showgrid=False, zeroline=False, range=[-0.7, len(labels) - 0.3], **ticks),
        "yaxis": axis("predicted / measured − 1, %", zeroline=True),
    }
    caption = (
        "Zero is what was measured; bars are the interval that was given for a new run, so one that crosses "
        "zero held. Circles: forecasts by the law fitted below the largest budget, of that budget's runs. "
        "Diamonds: forecasts of held-out runs, filled where they were frozen before the run was begun."
    )
    return Chart(name, "Forecasts against outcomes", caption, tuple(traces), layout, 440)


def _errors(low: np.ndarray, high: np.ndarray, value: np.ndarray, colour: str) -> dict[str, Any]:
    reach = [np.where(np.isfinite(end), np.abs(end - value), np.nan) for end in (high, low)]
    return {
        "type": "data", "symmetric": False, "array": short(reach[0]), "arrayminus": short(reach[1]),
        "color": colour, "thickness": 1.3, "width": 4,
    }  # fmt: skip


def _back_test(tested: Sequence[Mapping[str, Any]], level: float, places: list[int | None]) -> Trace:
    loss, value, low, high = (
        np.array([run[x] for run in tested], float) for x in ("loss", "forecast", "low", "high")
    )
    error, low, high = (100 * (v / loss - 1) for v in (value, low, high))
    return {
        "mode": "markers", "x": list(range(len(tested))), "y": short(error), "rows": places,
        "name": f"back-test, {level:.0%} interval",
        "marker": {"size": 7, "color": "@muted"}, "error_y": _errors(low, high, error, "@muted"),
    }  # fmt: skip


def _forecasts(
    group: Sequence[Trial], begin: int, origin: str, symbol: str, places: list[int | None]
) -> Trace:
    loss = np.array([trial.score.loss if trial.score else np.nan for trial in group])
    value = np.array([trial.forecast.prediction for trial in group])
    low, high = (np.array([t.forecast.interval[side] for t in group]) for side in ("low", "high"))
    error, low, high = (100 * (v / loss - 1) for v in (value, low, high))
    return {
        "mode": "markers", "x": [begin + i for i in range(len(group))], "y": short(error), "rows": places,
        "name": f"forecast, {ORIGINS[origin]}",
        "marker": {
            "size": 10, "symbol": symbol, "color": "@accent", "line": {"width": 1.4, "color": "@accent"},
        },
        "error_y": _errors(low, high, error, "@accent"),
    }  # fmt: skip
