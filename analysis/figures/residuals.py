"""The fit against its data: measured against fitted values, and what is left."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.fits.result import Fit
from analysis.solve.problem import Loss

MOST = 3  # panels of residuals


def fit_and_residuals(fit: Fit) -> Figure:
    """Above: measured against fitted values with the line of equality. Below: residuals (in percent, or in
    the unit of a law fitted without logarithms) against each input, of a law in N and D against compute and
    tokens; band of +-1 standard deviation. Raises AnalysisError when there is no fit."""
    usable(fit)
    measured, (left, sd, unit) = np.array(fit.data["L"]), leftovers(fit)
    fitted = fitted_values(fit)
    against = ("C", "D") if set(fit.law.inputs) == {"N", "D"} and "C" in fit.data else fit.law.inputs[:MOST]
    coloured = "N" if "N" in fit.data else fit.law.inputs[0]
    alone = coloured in against and len(against) == 1  # a colour would say what the axis says
    values = np.array(fit.data[coloured])
    with style.look():
        figure = style.canvas(4.6)
        axes = figure.subplot_mosaic([["fit"] * len(against), list(against)], height_ratios=(1.7, 1))
        levels = 10 ** np.round(np.log10(values), 2) if values.min() > 0 else values
        levels = values if len(np.unique(values)) <= style.MOST else levels
        shades = style.Shades(levels)
        colours = style.INK if alone else [shades(s) for s in levels]
        top, both = axes["fit"], np.concatenate([measured, fitted])
        log = bool(both.min() > 0) and fit.setup.space == "log"
        style.span(top, "x", both, log=log, pad=0.03)
        style.span(top, "y", both, log=log, pad=0.03)
        top.plot(
            top.get_xlim(), top.get_xlim(), "-", color=style.MUTED, lw=1, zorder=1, label="measured = fitted"
        )
        top.scatter(fitted, measured, c=colours, **style.DOTS)
        name = style.target(fit)
        name = f"{name[0].lower()}{name[1:]}" if fit.unit else name
        top.set(xlabel=f"Fitted {name}", ylabel=f"Measured {name}")
        top.set_title(f"{style.typeset(fit.law.formula)}\n{len(measured)} runs, residual s.d. {sd:.2g}{unit}")
        top.legend(loc="upper left")
        for x in against:
            residual_panel(axes[x], x, np.array(fit.data[x]), left, sd, colours)
            axes[x].set_xlabel(style.quantity(x, fit.convention))
        axes[against[0]].set_ylabel(f"Residual{f' ({unit.strip()})' if unit else ''}")
        if len(shades.levels) > 1 and not alone:
            shades.explain(figure, list(axes.values()), style.quantity(coloured, fit.convention),
                           style.label_of(coloured, values))  # fmt: skip
        return style.finish(figure)


def usable(fit: Fit) -> None:
    """Raises AnalysisError where there is no law to draw."""
    if not fit.usable:
        raise AnalysisError(f"figure of {fit.law.name!r}: {fit.status.message}")


def fitted_values(fit: Fit) -> np.ndarray:
    space = Loss(space=fit.setup.space)
    return space.back(space.to(np.array(fit.data["L"])) - fit.residuals)


def leftovers(fit: Fit) -> tuple[np.ndarray, float, str]:
    """Residuals as they are shown, their standard deviation, and the unit of both: percent wherever there
    are logarithms."""
    measured, fitted, space = np.array(fit.data["L"]), fitted_values(fit), fit.setup.space
    if space == "raw" or min(measured.min(), fitted.min()) <= 0:
        left, unit, size = measured - fitted, "", 1.0
    else:
        left, unit, size = 100 * (measured / fitted - 1), " %", 100.0
    own = space == ("log" if unit else "raw")
    return left, size * fit.noise.sd if own else float(np.sqrt(np.mean(left**2))), unit


def residual_panel(axes: Axes, name: str, x: np.ndarray, left: np.ndarray, sd: float, dots: Any) -> None:
    """Draw residuals against an input, with zero and a band of one standard deviation.

    Args:
        axes: where to draw.
        name: the column of ``x``.
        x: the input (n,).
        left: residuals (n,), as :func:`leftovers` gives them.
        sd: their standard deviation, in the same unit.
        dots: colour of all dots, or of each (n,).
    """
    axes.axhspan(-sd, sd, color=style.MUTED, alpha=0.15, lw=0, zorder=0)
    axes.axhline(0, color=style.INK, lw=0.8, zorder=1)
    axes.scatter(x, left, c=dots, **style.DOTS | {"s": 16})
    style.span(axes, "x", x, log=style.logs(x), name=name)
    style.span(axes, "y", [*left, -sd, sd], log=False, pad=0.1)
    axes.yaxis.set_major_locator(MaxNLocator(5))
