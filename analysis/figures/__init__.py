"""Figures of a study, one module each; every function takes tables or results and returns a Figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pandas as pd
from matplotlib.figure import Figure

from analysis.collapse import collapse as compare_curves
from analysis.coordinates import Coordinates
from analysis.errors import AnalysisError
from analysis.figures.basins import basins_over, hyperparameter_laws
from analysis.figures.calibration import calibration
from analysis.figures.collapse import collapse
from analysis.figures.compute import loss_against_compute, overview, training_curves
from analysis.figures.coordinates import coordinates
from analysis.figures.curves import curves_and_law
from analysis.figures.forest import intervals, multipliers, profile
from analysis.figures.isoflop import isoflop_curves, loss_envelope
from analysis.figures.laws import law
from analysis.figures.outcome import forecast_and_outcome
from analysis.figures.residuals import fit_and_residuals
from analysis.figures.style import stated
from analysis.figures.twostep import accuracy_in_two_steps
from analysis.figures.variants import variants
from analysis.fits.result import Fit
from analysis.forecasting.backtest import BackTest
from analysis.forecasting.calibration import Calibration
from analysis.forecasting.forecasts import Trial
from analysis.hyperparameters.basins import Basins
from analysis.optimal_size.estimate import Estimate
from analysis.optimal_size.isoflop import IsoFlop
from analysis.tables.runs import select
from analysis.tables.table import Table
from analysis.variants.comparison import Variants

__all__ = [
    "Drawn",
    "accuracy_in_two_steps",
    "calibration",
    "collapse",
    "coordinates",
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
    "variants",
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
    """Draw every figure of a study that there is material for, as png. Files of the same name are replaced.

    Args:
        table: runs.
        curves: logged rows of the runs; None: there are none.
        fit: their fit.
        isoflop: their minima per budget.
        trial: the forecast of a held-out run; None: there is none.
        folder: where to write.
        backtest: back-test of the law, shown beside the forecast.
    """
    fitted = len(select(table, convention=fit.convention)[0])
    none_fitted = "" if fitted else "no run to fit"
    has_curves = curves is not None and len(curves)
    without_law = "" if fit.usable else fit.status.message
    without_curves = none_fitted or ("" if has_curves else "no curves.parquet beside the table")
    family = compare_curves(table, curves if has_curves else None)
    # name -> why it cannot be drawn, and how it is
    figures: dict[str, tuple[str, Callable[[], Figure]]] = {
        "overview": (
            without_law or ("" if fit.optimum else f"{fit.law.name} allots no compute between N and D"),
            lambda: overview(table, fit, isoflop, trial),
        ),
        "loss_against_compute": (none_fitted, lambda: loss_against_compute(table, fit)),
        "isoflop": ("" if isoflop.minima else isoflop.message, lambda: isoflop_curves(isoflop, fit)),
        "fit_and_residuals": (without_law, lambda: fit_and_residuals(fit)),
        "training_curves": (
            without_curves,
            lambda: training_curves(cast(pd.DataFrame, curves), table, convention=fit.convention),
        ),
        "collapse": ("" if family.curves else family.status.message, lambda: collapse(family)),
        "forecast_and_outcome": (
            "" if trial else "no forecast of a held-out run",
            lambda: forecast_and_outcome(cast(Trial, trial), backtest, unit=stated(table)),
        ),
    }
    drawn = {name: draw() for name, (why_not, draw) in figures.items() if not why_not}
    skipped = {name: why_not for name, (why_not, _) in figures.items() if why_not}
    return Drawn(_saved(drawn, folder), skipped)


def draw_variants(
    table: pd.DataFrame | Table, fits: Mapping[str, Fit], found: Variants, folder: str | Path
) -> Drawn:
    """Draw the comparison of variants as png.

    Args:
        table: runs of all.
        fits: the law of each.
        found: their comparison.
        folder: where to write.
    """
    return Drawn(_saved({"variants": variants(table, fits, found)}, folder), {})


def draw_law(
    fit: Fit | Estimate,
    folder: str | Path,
    *,
    x: str | None = None,
    by: str | None = None,
    profiles: Sequence[str] = (),
) -> Drawn:
    """Draw one fit of any law, or an estimate, as png.

    Of a fit: :func:`law`, residuals, :func:`intervals` and profiles; of an estimate its optima alone.

    Args:
        fit: what to draw.
        folder: where to write.
        x: the input on the x axis of :func:`law`; left out: as it chooses.
        by: the input that its colours show; left out: as it chooses.
        profiles: parameters to draw a profile of, each in a figure of its own.

    Raises:
        AnalysisError: for ``x``, ``by`` or ``profiles`` of an estimate, or inputs and parameters that the fit
            does not have.
    """
    if isinstance(fit, Estimate):
        if x or by or profiles:
            raise AnalysisError(f"figures of estimator {fit.kind!r}: it has no law to draw over x or by, nor "
                                "profiles; leave them out")  # fmt: skip
        return Drawn(_saved({"optima": loss_envelope(fit)}, folder), {})
    names = ["law", "fit_and_residuals", "intervals", *(f"profile_{name}" for name in profiles)]
    if not fit.usable:
        return Drawn((), dict.fromkeys(names, fit.status.message))
    figures = {
        "law": law(fit, x, by),
        "fit_and_residuals": fit_and_residuals(fit),
        "intervals": intervals(fit),
        **{f"profile_{quote(n, safe='[]')}": profile(fit.profile(n)) for n in dict.fromkeys(profiles)},
    }
    return Drawn(_saved(figures, folder), {})


def draw_basins(basins: Basins, folder: str | Path) -> Drawn:
    """Draw the basins of each hyperparameter, and the laws through their optima, as png."""
    figures = {f"basins_{name}": basins_over(basins, name) for name in basins.columns}
    return Drawn(_saved({**figures, "basins_laws": hyperparameter_laws(basins)}, folder), {})


def draw_calibration(found: Calibration, published: Calibration | None, folder: str | Path) -> Drawn:
    """Draw how forecasts, and those that others published, kept what they promise, as png."""
    return Drawn(_saved({"calibration": calibration(found, published)}, folder), {})


def draw_coordinates(found: Sequence[Coordinates], folder: str | Path) -> Drawn:
    """Draw coordinate checks as png: ``coordcheck.png``, or of several ``coordcheck_width.png`` and so on."""
    names = ["coordcheck"] if len(found) == 1 else [f"coordcheck_{one.over}" for one in found]
    return Drawn(_saved({name: coordinates(one) for name, one in zip(names, found, strict=True)}, folder), {})


def _saved(figures: dict[str, Figure], folder: str | Path) -> tuple[Path, ...]:
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        # no date or version in the file: the same inputs give the same bytes
        figure.savefig(paths[-1], dpi=DPI, metadata={"Software": None})
    return tuple(paths)
