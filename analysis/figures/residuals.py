"""The fit against its data: measured against fitted loss, and what is left."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.problem import Loss
from analysis.result import Fit
from analysis.text import count


def fit_and_residuals(fit: Fit) -> Figure:
    """Above: measured against fitted loss with the line of equality. Below: residuals in percent against
    compute and tokens, band of +-1 standard deviation. Raises AnalysisError when there is no fit."""
    if not fit.usable:
        raise AnalysisError(f"figure of {fit.law.name!r}: {fit.status['message']}")
    measured, space = np.array(fit.data["L"]), Loss(space=fit.setup["space"])
    fitted = space.back(space.to(measured) - fit.residuals)
    left = 100 * (measured / fitted - 1)
    sd = 100 * fit.noise["sd_log"] if space == Loss() else float(np.sqrt(np.mean(left**2)))
    sizes = np.array(fit.data["N"])
    rounded = 10 ** np.round(np.log10(sizes), 2)
    size_name, compute = style.NAMES[fit.convention]
    with style.look():
        figure = style.canvas(4.6)
        axes = figure.subplot_mosaic([["fit", "fit"], ["C", "D"]], height_ratios=(1.7, 1))
        levels = sizes if len(np.unique(sizes)) <= 9 else rounded
        shades = style.Shades(levels)
        colours = [shades(s) for s in levels]
        dots: dict[str, Any] = {"s": 24, "c": colours, "edgecolor": "white", "linewidth": 0.3, "zorder": 3}
        both = np.array([min(measured.min(), fitted.min()), max(measured.max(), fitted.max())])
        ends = both * np.array([0.99, 1.01])
        top = axes["fit"]
        top.plot(ends, ends, "-", color=style.MUTED, lw=1.0, zorder=1, label="measured = fitted")
        top.scatter(fitted, measured, **dots)
        top.set_xscale("log")
        style.log_loss(top, both, pad=0.03)
        top.set_xlim(*top.get_ylim())
        style.plain(top.xaxis, *top.get_xlim())
        top.set(xlabel="Fitted loss (nats per token)", ylabel="Measured loss (nats per token)")
        top.set_title(f"{style.typeset(fit.law.formula)}:  {len(measured)} runs, "
                      f"residual s.d. {sd:.2g} %")  # fmt: skip
        top.legend(loc="upper left")
        for key, x, name in (("C", fit.data["C"], compute), ("D", fit.data["D"], "Training tokens D")):
            _residuals(axes[key], np.array(x), left, sd, dots, name, key)
        axes["C"].set_ylabel("Residual (%)")
        shades.explain(figure, list(axes.values()), size_name)
        return style.finish(figure)


def _residuals(
    axes: Axes, x: np.ndarray, left: np.ndarray, sd: float, dots: dict[str, Any], name: str, key: str
) -> None:
    axes.axhspan(-sd, sd, color=style.MUTED, alpha=0.15, lw=0, zorder=0)
    axes.axhline(0, color=style.INK, lw=0.8, zorder=1)
    small: Any = dots | {"s": 18}
    axes.scatter(x, left, **small)
    style.log_x(axes, x, style.power if key == "C" else count)
    low, high = min(left.min(), -sd), max(left.max(), sd)
    axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(name)
