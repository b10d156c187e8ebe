"""Figures of a study, one module each; every function takes tables or results and returns a Figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from matplotlib.figure import Figure

from analysis.errors import AnalysisError
from analysis.figures.compute import loss_against_compute
from analysis.figures.curves import curves_and_law
from analysis.figures.envelope import loss_envelope
from analysis.figures.forest import intervals, multipliers
from analysis.figures.isoflop import isoflop_curves
from analysis.figures.laws import law
from analysis.figures.outcome import forecast_and_outcome
from analysis.figures.overview import overview
from analysis.figures.profiles import profile
from analysis.figures.residuals import fit_and_residuals
from analysis.figures.style import stated
from analysis.figures.training import training_curves
from analysis.figures.twostep import accuracy_in_two_steps
from analysis.fits.result import Fit
from analysis.forecasting.backtest import BackTest
from analysis.forecasting.forecasts import Trial
from analysis.optimal_size.estimate import Estimate
from analysis.optimal_size.isoflop import IsoFlop
from analysis.tables.runs import select
from analysis.tables.table import Table

__all__ = [
    "Drawn",
    "accuracy_in_two_steps",
    "curves_and_law",
    "draw_all",
    "draw_law",
    "fit_and_residuals",
    "forecast_and_outcome",
    "intervals",
    "isoflop_curves",
    "law",
    "loss_against_compute",
    "loss_envelope",
    "multipliers",
    "overview",
    "profile",
    "training_curves",
]
DPI = 150


@dataclass(frozen=True)
class Drawn:
    """Files written, and of each figure that was not drawn, why."""

    paths: tuple[Path, ...]
    skipped: dict[str, str]


def draw_all(
    table: pd.DataFrame | Table,
    curves: pd.DataFrame | None,
    fit: Fit,
    isoflop: IsoFlop,
    trial: Trial | None,
    folder: str | Path,
    *,
    backtest: BackTest | None = None,
) -> Drawn:
    """Draw what there is material for, as png. Files of the same name are replaced."""
    figures, skipped = dict[str, Figure](), dict[str, str]()
    fitted = len(select(table, convention=fit.convention)[0])
    if fitted:
        figures["loss_against_compute"] = loss_against_compute(table, fit)
    else:
        skipped["loss_against_compute"] = "no run to fit"
    if isoflop.minima:
        figures["isoflop"] = isoflop_curves(isoflop, fit)
    else:
        skipped["isoflop"] = isoflop.message
    if fit.usable and fit.optimum:
        figures["overview"] = overview(table, fit, isoflop, trial)
    else:
        skipped["overview"] = fit.status["message"]
    if fit.usable:
        figures["fit_and_residuals"] = fit_and_residuals(fit)
    else:
        skipped["fit_and_residuals"] = fit.status["message"]
    if fitted and curves is not None and len(curves):
        figures["training_curves"] = training_curves(curves, table, convention=fit.convention)
    else:
        skipped["training_curves"] = "no curves.parquet beside the table" if fitted else "no run to fit"
    if trial is not None:
        figures["forecast_and_outcome"] = forecast_and_outcome(trial, backtest, unit=stated(table))
    else:
        skipped["forecast_and_outcome"] = "no forecast of a held-out run"
    return Drawn(_saved(figures, folder), skipped)


def draw_law(
    fit: Fit | Estimate,
    folder: str | Path,
    *,
    x: str | None = None,
    by: str | None = None,
    profiles: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> Drawn:
    """Draw one fit of any law, as png: :func:`law` (``x``, ``by``), residuals, :func:`intervals`
    (``methods``), and of each parameter in ``profiles`` its own; of an estimate its optima alone. Raises
    AnalysisError."""
    if isinstance(fit, Estimate):
        if x or by or profiles or methods:
            raise AnalysisError(f"figures of estimator {fit.kind!r}: it has no law to draw over x or by, nor "
                                "profiles or other methods; leave them out")  # fmt: skip
        return Drawn(_saved({"optima": loss_envelope(fit)}, folder), {})
    names = ["law", "fit_and_residuals", "intervals", *(f"profile_{name}" for name in profiles)]
    if not fit.usable:
        return Drawn((), dict.fromkeys(names, fit.status["message"]))
    figures = {
        "law": law(fit, x, by),
        "fit_and_residuals": fit_and_residuals(fit),
        "intervals": intervals(fit, methods),
        **{f"profile_{quote(n, safe='[]')}": profile(fit.profile(n)) for n in dict.fromkeys(profiles)},
    }
    return Drawn(_saved(figures, folder), {})


def _saved(figures: dict[str, Figure], folder: str | Path) -> tuple[Path, ...]:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        # no date or version in the file: the same inputs give the same bytes
        figure.savefig(paths[-1], dpi=DPI, metadata={"Software": None})
    return tuple(paths)
