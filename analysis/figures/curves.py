"""Loss curves under schedules: measured and as a curve law has them, what is left, and the rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.lines import Line2D

from analysis.errors import AnalysisError, some
from analysis.figures import style
from analysis.figures.page import Given, Page, page
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.laws.curve import CurveLaw, checked

POINTS = 200  # of the law's line on a curve


def curves_and_law(
    law: CurveLaw,
    fitted: Fit,
    table: pd.DataFrame,
    schedules: Mapping[str, Any],
    *,
    curve: str = "curve",
    loss: str = "loss",
    heldout: Sequence[str] = (),
    loss_name: str | None = None,
    axes: Given | None = None,
) -> np.ndarray:
    """Draw curves under schedules and their law: three panels over updates, a colour for each curve.

    Measured dots and the law's line; residuals in percent; the learning rates.

    Args:
        law: the curve law that was fitted.
        fitted: its fit.
        table: measured rows with columns ``curve``, step and ``loss``.
        schedules: the learning rates of each curve, one an update, by its name.
        curve: the column that names the curve.
        loss: the column of losses.
        heldout: curves that the fit has not seen, drawn dashed.
        loss_name: label of the loss; left out: with the table's unit.
        axes: three to draw on; left out: a new figure.

    Raises:
        AnalysisError: for a curve without a schedule, or a fit without a law to draw.
    """
    names = list(dict.fromkeys(table[curve].astype(str)))
    unknown = [name for name in (*names, *heldout) if name not in schedules]
    if unknown or not fitted.usable:
        raise AnalysisError(f"figure of curves: {some(unknown)} have no schedule" if unknown else
                            f"figure of {law.name!r}: {fitted.status.message}")  # fmt: skip
    rates = dict(zip(names, checked({name: schedules[name] for name in names}), strict=True))
    lines = _lines(law, fitted, table, rates, curve)
    palette = sns.color_palette("colorblind", len(names))
    with page(axes, [["loss"], ["left"], ["rate"]], 6.4, heights=(2.2, 1, 1)) as sheet:
        seen, handles = [], []
        for name, colour in zip(names, palette, strict=True):
            rows = cast(Any, table[table[curve].astype(str) == name]).sort_values("step")
            step, measured = rows["step"].to_numpy(int), rows[loss].to_numpy(float)
            line, drawn, at_steps = lines[name]
            how: dict[str, Any] = {"color": colour, "ls": (0, (4, 1.5)) if name in heldout else "-"}
            sheet["loss"].plot(line, drawn, lw=style.line(0.86), zorder=3, **how)
            thin = np.unique(np.linspace(0, len(step) - 1, 60).astype(int))
            sheet["loss"].plot(
                step[thin], measured[thin], "o", ms=style.mark(0.5), color=colour, alpha=0.45, mew=0, zorder=2
            )
            sheet["left"].plot(step, 100 * (measured / at_steps - 1), lw=style.line(0.57), **how)
            sheet["rate"].plot(np.arange(1, len(rates[name]) + 1), rates[name], lw=style.line(0.79), **how)
            seen.append(measured)
            handles.append(
                Line2D(
                    [], [], lw=style.line(1), label=name + (" (held out)" if name in heldout else ""), **how
                )
            )
        _finish(sheet, np.concatenate(seen), loss_name or style.loss(style.stated(table)))
        dot = Line2D([], [], marker="o", ms=style.mark(0.62), lw=0, color=style.MUTED, label="measured")
        sheet["loss"].legend(handles=[*handles, dot], loc="upper right", ncols=2)
        return sheet.axes


def _lines(
    law: CurveLaw, fitted: Fit, table: Any, rates: Mapping[str, np.ndarray], curve: str
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Per curve: steps of a line, the law there, and at the measured steps in order."""
    places, steps, groups, sizes = [], [], [], []
    column, labels = fitted.setup.groups, list(fitted.setup.labels)
    for i, name in enumerate(rates):
        rows = table[table[curve].astype(str) == name].sort_values("step")
        step = rows["step"].to_numpy(int)
        line = np.unique(np.linspace(step[0], step[-1], POINTS).astype(int))
        steps += [line, step]
        sizes += [len(line), len(step)]
        places.append(np.full(len(line) + len(step), i))
        groups.append(np.full(len(places[-1]), labels.index(str(rows[column].iloc[0])) if column else 0))
    at = np.concatenate(places).astype(float), np.concatenate(steps).astype(float)
    problem = replace(fitted, law=law.on(rates, at)).problem
    params = np.array([[fitted.solution[name] for name in problem.names]])
    values = problem.values(params, {"curve": at[0], "step": at[1]}, np.concatenate(groups))[0]
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return {name: (steps[2 * i], parts[2 * i], parts[2 * i + 1]) for i, name in enumerate(rates)}


def _finish(sheet: Page, losses: np.ndarray, loss_name: str) -> None:
    style.log_loss(sheet["loss"], losses, pad=0.04)
    sheet["loss"].set_ylabel(loss_name)
    sheet["left"].axhline(0, color=style.INK, lw=style.line(0.6), zorder=1)
    sheet["left"].set_ylabel("Residual (%)")
    rate = sheet["rate"]
    rate.set(xlabel="Updates", ylabel="Learning rate")
    rate.set_ylim(bottom=0)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    last = max(panel.get_xlim()[1] for panel in sheet.axes)
    for panel in sheet.axes:
        panel.set_xlim(0, last)
        panel.xaxis.set_major_formatter(lambda v, _: count(v) if v else "0")
        panel.tick_params(labelbottom=panel is rate)
