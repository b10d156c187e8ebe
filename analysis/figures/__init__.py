"""Figures of a study, one module each.

Every function takes tables or results, draws on the axes given or on a new figure, and returns the axes:
``law(fit)[0].figure.savefig("law.pdf")``. :func:`look` sets a style, else the settings of matplotlib that
were changed hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import pandas as pd

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
from analysis.figures.isoflop import isoflop_curves, loss_envelope, no_isoflop
from analysis.figures.laws import law
from analysis.figures.look import Rendering, look, save
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
    "Rendering",
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
    "look",
    "loss_against_compute",
    "loss_envelope",
    "multipliers",
    "overview",
    "profile",
    "save",
    "training_curves",
    "variants",
]


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
    rendering: Rendering | None = None,
) -> Drawn:
    """Draw every figure of a study that there is material for. Files of the same name are replaced.

    Args:
        table: runs.
        curves: logged rows of the runs; None: there are none.
        fit: their fit.
        isoflop: their minima per budget.
        trial: the forecast of a held-out run; None: there is none.
        folder: where to write.
        backtest: back-test of the law, shown beside the forecast.
        rendering: formats and style of the files; left out: png.
    """
    fitted = len(select(table, convention=fit.convention)[0])
    none_fitted = "" if fitted else "no run to fit"
    has_curves = curves is not None and len(curves)
    without_law = "" if fit.usable else fit.status.message
    without_curves = none_fitted or ("" if has_curves else "no curves.parquet beside the table")
    without_minima = no_isoflop(table, isoflop)
    shown = replace(isoflop, minima=()) if without_minima else isoflop
    family = compare_curves(table, curves if has_curves else None)
    # name -> why it cannot be drawn, and how it is
    figures: dict[str, tuple[str, Callable[[], Any]]] = {
        "overview": (
            without_law or ("" if fit.optimum else f"{fit.law.name} allots no compute between N and D"),
            lambda: overview(table, fit, shown, trial),
        ),
        "loss_against_compute": (none_fitted, lambda: loss_against_compute(table, fit)),
        "isoflop": (without_minima, lambda: isoflop_curves(isoflop, fit, table)),
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
    drawn = {name: draw for name, (why_not, draw) in figures.items() if not why_not}
    skipped = {name: why_not for name, (why_not, _) in figures.items() if why_not}
    return Drawn(save(drawn, folder, rendering), skipped)


def draw_variants(
    table: pd.DataFrame | Table,
    fits: Mapping[str, Fit],
    found: Variants,
    folder: str | Path,
    *,
    rendering: Rendering | None = None,
) -> Drawn:
    """Draw the comparison of variants.

    Args:
        table: runs of all.
        fits: the law of each.
        found: their comparison.
        folder: where to write.
        rendering: formats and style of the files; left out: png.
    """
    return Drawn(save({"variants": lambda: variants(table, fits, found)}, folder, rendering), {})


def draw_law(
    fit: Fit | Estimate,
    folder: str | Path,
    *,
    x: str | None = None,
    by: str | None = None,
    profiles: Sequence[str] = (),
    rendering: Rendering | None = None,
) -> Drawn:
    """Draw one fit of any law, or an estimate.

    Of a fit: :func:`law`, residuals, :func:`intervals` and profiles; of an estimate its optima alone.

    Args:
        fit: what to draw.
        folder: where to write.
        x: the input on the x axis of :func:`law`; left out: as it chooses.
        by: the input that its colours show; left out: as it chooses.
        profiles: parameters to draw a profile of, each in a figure of its own.
        rendering: formats and style of the files; left out: png.

    Raises:
        AnalysisError: for ``x``, ``by`` or ``profiles`` of an estimate, or inputs and parameters that the fit
            does not have.
    """
    if isinstance(fit, Estimate):
        if x or by or profiles:
            raise AnalysisError(f"figures of estimator {fit.kind!r}: it has no law to draw over x or by, nor "
                                "profiles; leave them out")  # fmt: skip
        return Drawn(save({"optima": lambda: loss_envelope(fit)}, folder, rendering), {})
    names = ["law", "fit_and_residuals", "intervals", *(f"profile_{name}" for name in profiles)]
    if not fit.usable:
        return Drawn((), dict.fromkeys(names, fit.status.message))
    found = {name: fit.profile(name) for name in dict.fromkeys(profiles)}
    figures = {
        "law": lambda: law(fit, x, by),
        "fit_and_residuals": lambda: fit_and_residuals(fit),
        "intervals": lambda: intervals(fit),
        **{f"profile_{quote(name, safe='[]')}": partial(profile, one) for name, one in found.items()},
    }
    return Drawn(save(figures, folder, rendering), {})


def draw_basins(basins: Basins, folder: str | Path, *, rendering: Rendering | None = None) -> Drawn:
    """Draw the basins of each hyperparameter, and the laws through their optima."""
    figures = {f"basins_{name}": partial(basins_over, basins, name) for name in basins.columns}
    laws = {"basins_laws": lambda: hyperparameter_laws(basins)}
    return Drawn(save({**figures, **laws}, folder, rendering), {})


def draw_calibration(
    found: Calibration,
    published: Calibration | None,
    folder: str | Path,
    *,
    rendering: Rendering | None = None,
) -> Drawn:
    """Draw how forecasts, and those that others published, kept what they promise."""
    return Drawn(save({"calibration": lambda: calibration(found, published)}, folder, rendering), {})


def draw_coordinates(
    found: Sequence[Coordinates], folder: str | Path, *, rendering: Rendering | None = None
) -> Drawn:
    """Draw coordinate checks: ``coordcheck.png``, or of several ``coordcheck_width.png`` and so on."""
    names = ["coordcheck"] if len(found) == 1 else [f"coordcheck_{one.over}" for one in found]
    figures = {name: partial(coordinates, one) for name, one in zip(names, found, strict=True)}
    return Drawn(save(figures, folder, rendering), {})
