"""Figures of a study, one module each; every function takes tables or results and returns a Figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from analysis.backtest import BackTest
from analysis.figures.compute import loss_against_compute
from analysis.figures.curves import curves_and_law
from analysis.figures.isoflop import isoflop_curves
from analysis.figures.outcome import forecast_and_outcome
from analysis.figures.residuals import fit_and_residuals
from analysis.figures.training import training_curves
from analysis.forecasts import Trial
from analysis.isoflop import IsoFlop
from analysis.result import Fit
from analysis.tables import select

__all__ = [
    "curves_and_law",
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
    trial: Trial | None,
    folder: str | Path,
    *,
    backtest: BackTest | None = None,
) -> list[Path]:
    """Draw what there is material for, as png, and return the paths. Files of the same name are replaced."""
    figures = dict[str, Figure]()
    fitted = len(select(table, convention=fit.convention)[0])
    if fitted:
        figures["loss_against_compute"] = loss_against_compute(table, fit)
    if isoflop.minima:
        figures["isoflop"] = isoflop_curves(isoflop, fit)
    if fit.usable:
        figures["fit_and_residuals"] = fit_and_residuals(fit)
    if fitted and curves is not None and len(curves):
        figures["training_curves"] = training_curves(curves, table, convention=fit.convention)
    if trial is not None:
        figures["forecast_and_outcome"] = forecast_and_outcome(trial, backtest)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        # no date or version in the file: the same inputs give the same bytes
        figure.savefig(paths[-1], dpi=DPI, metadata={"Software": None})
    return paths
