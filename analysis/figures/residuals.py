"""The fit against its data: measured against fitted values, and what is left."""

from __future__ import annotations

from collections.abc import Mapping
from string import ascii_lowercase
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.figures.page import Given, page
from analysis.fits.result import Fit
from analysis.solve.problem import Loss

MOST = 3  # panels of residuals
FAR, ODD = 5.0, 2.5  # robust, and plain, standard deviations beyond which a run is named
HARD_SPACE = "\u00a0"  # where no line ends
NAMED = 5  # runs named at most
SHORT = 40  # letters of what stands on one line


def fit_and_residuals(fit: Fit, *, axes: Given | None = None) -> np.ndarray:
    """Above: measured against fitted values with the line of equality. Below: residuals (in percent, or in
    the unit of a law fitted without logarithms) against each input, of a law in N and D against compute and
    tokens; band of +-1 standard deviation. Runs far off are lettered, and named below.

    Args:
        fit: what to draw.
        axes: two to four to draw on, one and as many as there are inputs; left out: a new figure.

    Raises:
        AnalysisError: there is no fit, or other axes are given.
    """
    usable(fit)
    measured, (left, sd, unit) = np.array(fit.data["L"]), leftovers(fit)
    fitted = fitted_values(fit)
    against = ("C", "D") if set(fit.law.inputs) == {"N", "D"} and "C" in fit.data else fit.law.inputs[:MOST]
    coloured = "N" if "N" in fit.data else fit.law.inputs[0]
    alone = coloured in against and len(against) == 1  # a colour would say what the axis says
    values = np.array(fit.data[coloured])
    with page(axes, [["fit"] * len(against), list(against)], 4.6, heights=(1.7, 1)) as sheet:
        levels = 10 ** np.round(np.log10(values), 2) if values.min() > 0 else values
        levels = values if len(np.unique(values)) <= style.MOST else levels
        shades = style.Shades(levels)
        colours = style.INK if alone else [shades(s) for s in levels]
        top, both = sheet["fit"], np.concatenate([measured, fitted])
        log = bool(both.min() > 0) and fit.setup.space == "log"
        style.span(top, "x", both, log=log, pad=0.03)
        style.span(top, "y", both, log=log, pad=0.03)
        same: Any = {"color": style.MUTED, "lw": style.line(0.7), "zorder": 1, "label": "measured = fitted"}
        top.plot(top.get_xlim(), top.get_xlim(), "-", **same)
        top.scatter(fitted, measured, c=colours, **style.dots(len(fitted)))
        name = style.target(fit)
        name = f"{name[0].lower()}{name[1:]}" if fit.unit else name
        short = "loss" if fit.unit else name  # its unit stands below the panel
        top.set(xlabel=f"Fitted {name}", ylabel="Measured" if sheet.narrow else f"Measured {short}")
        said = f"{style.typeset(fit.law.formula)}\n{len(measured)} runs, residual s.d. {sd:.2g}{unit}"
        sheet.head(top, said)
        far = outliers(fit, left)
        letter(top, {i: (fitted[i], measured[i]) for i in far}, far)
        for x in against:
            residual_panel(sheet[x], x, np.array(fit.data[x]), left, sd, colours)
            letter(sheet[x], {i: (fit.data[x][i], left[i]) for i in far}, far)
            sheet[x].set_xlabel(style.quantity(x, fit.convention))
        sheet[against[0]].set_ylabel(f"Residual{f' ({unit.strip()})' if unit else ''}")
        band = Patch(color=style.MUTED, alpha=0.3, lw=0, label=r"$\pm$ 1 s.d. of the residuals")
        handles, _ = top.get_legend_handles_labels()
        top.legend(handles=[*handles, band], loc="upper left")
        sheet.foot(sheet.filled(far_off(fit, left, far, unit)))
        if len(shades.levels) > 1 and not alone:
            label = style.label_of(coloured, values)
            sheet.explain(shades, style.quantity(coloured, fit.convention), label)
        return sheet.axes


def outliers(fit: Fit, left: np.ndarray) -> list[int]:
    """Rows of a fit whose residuals ``left`` (n,) are far off, the furthest first."""
    middle = float(np.median(left))
    off = np.abs(left - middle)
    least = max(FAR * 1.4826 * float(np.median(off)), ODD * float(np.std(left)))
    return [int(i) for i in np.argsort(-off, kind="stable")[:NAMED] if off[i] > least > 0]


def letter(axes: Axes, places: Mapping[int, tuple[float, float]], far: list[int]) -> None:
    """Letter the rows ``far`` at those of their ``places`` that are known, each on the first side that has
    room beside the other rows and the letters before, or on that with most."""
    size, reach = style.small(0.95), style.mark(0.7)
    how: Any = {"fontsize": size, "style": "italic", "color": style.ACCENT, "zorder": 6}
    how |= {"ha": "center", "va": "center", "textcoords": "offset points"}
    sides = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)]) * (reach + 0.35 * size)
    inch = axes.figure.dpi
    dots = {i: axes.transData.transform(places[i]) * 72 / inch for i in far if i in places}
    letters = list[np.ndarray]()
    for i, name in zip(far, ascii_lowercase, strict=False):
        if i in places:
            others = np.array([*(dot for k, dot in dots.items() if k != i), *letters]).reshape(-1, 2)
            at = dots[i] + sides
            room = np.linalg.norm(at[:, None] - others, axis=-1).min(1, initial=1.2 * size)
            best = int(np.argmax(room))
            letters.append(at[best])
            axes.annotate(name, places[i], sides[best], **how)


def far_off(fit: Fit, left: np.ndarray, far: list[int], unit: str) -> str:
    """What the letters stand for; empty where none is drawn."""
    named = [
        f"{name}: {style.words(str(fit.data['label'][i]))}, {left[i]:+.3g}{unit}"
        for name, i in zip(ascii_lowercase, far, strict=False)
    ]
    named = [text.replace(" ", HARD_SPACE) if len(text) < SHORT else text for text in named]
    return "far off:  " + ";  ".join(named) if named else ""


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
    axes.axhline(0, color=style.INK, lw=style.line(0.6), zorder=1)
    how = style.dots(len(x))
    axes.scatter(x, left, c=dots, **how | {"s": 0.7 * how["s"]})
    style.span(axes, "x", x, log=style.logs(x, name), name=name)
    style.span(axes, "y", [*left, -sd, sd], log=False, pad=0.1)
    axes.yaxis.set_major_locator(MaxNLocator(5))
