"""Figures of a study, one module each; every function takes tables or results and returns a Figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.backtest import BackTest
from analysis.figures.compute import loss_against_compute
from analysis.figures.isoflop import isoflop_curves
from analysis.figures.outcome import forecast_and_outcome
from analysis.figures.residuals import fit_and_residuals
from analysis.figures.training import training_curves
from analysis.forecasts import Forecast, Score
from analysis.isoflop import IsoFlop
from analysis.result import Fit

__all__ = [
    "draw_all",
    "fit_and_residuals",
    "forecast_and_outcome",
    "isoflop_curves",
    "loss_against_compute",
    "training_curves",
]
DPI = 150


def draw_all(
    table: pd.DataFrame,
    curves: pd.DataFrame | None,
    fit: Fit,
    isoflop: IsoFlop,
    forecast: Forecast | None,
    score: Score | None,
    folder: str | Path,
    *,
    backtest: BackTest | None = None,
) -> list[Path]:
    """Draw what there is material for, as png, and return the paths. Files of the same name are replaced."""
    figures: dict[str, Figure] = {
        "loss_against_compute": loss_against_compute(table, fit),
        "isoflop": isoflop_curves(isoflop, fit),
    }
    if fit.usable:
        figures["fit_and_residuals"] = fit_and_residuals(fit)
    if curves is not None and len(curves):
        figures["training_curves"] = training_curves(curves, table, convention=fit.convention)
    if forecast is not None:
        figures["forecast_and_outcome"] = forecast_and_outcome(forecast, score, backtest)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        # no date or version in the file: the same inputs give the same bytes
        figure.savefig(paths[-1], dpi=DPI, metadata={"Software": None})
    return paths
