"""The line of a law: solid where it was fitted, dashed beyond, dotted where it is not identified."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.fits.prediction import INSIDE
from analysis.fits.result import Fit

BAND, NEW = 0.16, 0.07  # opacity of the law's band, and of what a new run may add to it
DASHED, DOTTED = (0, (4, 1.6)), (0, (1, 1.4))
WEAK = (
    "none_identified",
    "not_identified",
    "not_converged",
    "several_optima",
)  # of a status: the law is not identified
APART = 1e-3  # relative: a forecast that differs from the law by less has no line of its own


def identified(fit: Fit, quantity: str = "loss") -> bool:
    """Whether a line of ``quantity`` may be solid: the ``loss`` at given N and D; that at the ``best`` N and
    D, unless their exponents are not identified at all; N or D there, where its exponent is identified."""
    if fit.status.code in WEAK:
        return False
    match quantity:
        case "N" | "D":
            return fit.identified["a" if quantity == "N" else "b"].verdict == "yes"
        case "best":
            return all(fit.identified[x].verdict != "no" for x in ("a", "b"))
        case _:
            return True


def at_best(fit: Fit | None, c: np.ndarray) -> pd.DataFrame | None:
    """The law at its best N and D of compute ``c`` (m,), rising; None where it has none."""
    if fit is None or not fit.usable or not fit.optimum:
        return None
    try:
        return fit.optimal(c)
    except AnalysisError:  # a coefficient is 0
        return None


def frontier(axes: Axes, fit: Fit, best: pd.DataFrame, quantity: str = "loss") -> None:
    """Draw the loss, or N, at the best N and D of ``best`` (as of :func:`at_best`), with bands."""
    c, sides = best["C"].to_numpy(), "" if quantity == "loss" else f"{quantity}_"
    ends = best[f"{sides}low"], best[f"{sides}high"]
    axes.fill_between(
        c, *ends, color=style.INK, alpha=BAND, lw=0, label=f"{fit.level:.0%} confidence band of the law"
    )
    beyond = best["extrapolation"].to_numpy() > INSIDE
    if quantity == "loss" and beyond[-1]:
        last = np.arange(len(c)) >= np.flatnonzero(~beyond).max(initial=-1)
        _new_run(axes, fit, best.loc[last])
    claimed = identified(fit, "best" if quantity == "loss" else quantity)
    law_line(
        axes, c, best[quantity], beyond, claimed, f"{fit.law.name} law, compute-optimal", lw=style.line(1.15)
    )


def _new_run(axes: Axes, fit: Fit, best: pd.DataFrame) -> None:
    """Where a new run beyond the data is forecast to fall."""
    axes.fill_between(best["C"], best["new_low"], best["new_high"], color=style.INK, alpha=NEW, lw=0,
                      label=f"{fit.level:.0%} interval of a new run")  # fmt: skip
    if "forecast" in best and (abs(best["forecast"] / best["loss"] - 1) > APART).any():
        axes.plot(best["C"], best["forecast"], "-.", color=style.INK, lw=style.line(0.7), label="forecast")


def law_line(
    axes: Axes, x: Any, y: Any, beyond: np.ndarray, claimed: bool, label: str | None = None, **how: Any
) -> None:
    """Draw the line of a law.

    Args:
        axes: where to draw.
        x: places (m,), rising.
        y: values (m,).
        beyond: (m,) whether a place lies beyond the data, in any input.
        claimed: whether the law is identified.
        label: of the line in a legend; left out: it has none.
        **how: of the line, as matplotlib names it.
    """
    x, y, named = np.asarray(x, float), np.asarray(y, float), set[str]()
    how = {"color": style.INK, "lw": style.line(1), "zorder": 2} | how
    cuts = [0, *(np.flatnonzero(np.diff(beyond)) + 1), len(x)]
    for first, last in sorted(pairwise(cuts), key=lambda part: beyond[part[0]]):
        far = bool(beyond[first])
        there = slice(max(first - far, 0), last + far)  # what is dashed begins where the rest ends
        kind: Any = DASHED if far else "-" if claimed else DOTTED
        text = "beyond the fitted runs" if far else f"{label}{'' if claimed else ', not identified'}"
        axes.plot(x[there], y[there], ls=kind, label=None if label is None or text in named else text, **how)
        named.add(text)
