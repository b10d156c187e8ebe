"""IsoFLOP curves with their minima, the envelope of checkpoints, and the best size against compute."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures import style
from analysis.figures.lines import BAND, at_best, identified, law_line
from analysis.figures.page import Given, page
from analysis.fits.prediction import INSIDE
from analysis.fits.result import Fit
from analysis.fits.summary import count, uncertain
from analysis.optimal_size.estimate import Estimate
from analysis.optimal_size.isoflop import IsoFlop, Minimum
from analysis.tables.budgets import budgets, separate
from analysis.tables.runs import select
from analysis.tables.table import Table

LEAST = 4  # sizes of a budget that a parabola does not run through whatever they are
CURVES = 2  # budgets of so many sizes that make a figure
PARTS = [["curves", "sizes"]]


def no_isoflop(table: pd.DataFrame | Table, isoflop: IsoFlop) -> str:
    """Why a table has no isoFLOP curves to draw; empty where it has."""
    frame, _ = select(table, convention=isoflop.convention)
    if not len(frame):
        return isoflop.message
    if not separate(frame):
        return "no isoFLOP curves: compute comes in no budgets (checkpoints, or many grids)"
    whole = sum(len(m.sizes) >= LEAST for m in isoflop.minima)
    return "" if whole >= CURVES else f"no isoFLOP curves: {whole} budgets have {LEAST} sizes or more"


def isoflop_curves(
    isoflop: IsoFlop,
    fit: Fit | None = None,
    table: pd.DataFrame | Table | None = None,
    *,
    axes: Given | None = None,
) -> np.ndarray:
    """Left: loss against size per budget, parabola, minimum (a star; none if it is not interior). Right, of
    two minima or more: N* against C with the power law through the minima, and the law's N* if ``fit`` has
    one.

    Args:
        isoflop: minima of a table.
        fit: its law.
        table: the runs, whose repeated seeds are drawn beside their mean.
        axes: two to draw on; left out: a new figure.

    Returns:
        The axes drawn on (2,), or (1,) of a new figure with less than two minima.
    """
    shown = [m for m in isoflop.minima if len(m.sizes) >= LEAST] or list(isoflop.minima)
    size, compute = style.NAMES[isoflop.convention]
    both = axes is not None or len(isoflop.interior) > 1
    layout, height = (PARTS, 3.6) if both else ([["curves"]], 3.9)
    with page(axes, layout, height, widths=(1.35, 1) if both else None) as sheet:
        left, shades = sheet["curves"], style.Shades([m.budget for m in shown])
        runs = None if table is None else select(table, convention=isoflop.convention)[0]
        _curves(left, shown, shades, runs, 0.0 if sheet.narrow else 0.14)
        if left.get_legend_handles_labels()[0]:
            sheet.legend(left, "upper right")
        left.set(xlabel=size, ylabel=style.loss(isoflop.unit))
        left.set_title("Loss at equal compute")
        if both:
            _sizes(sheet["sizes"], isoflop, fit, 1.15 if sheet.narrow else 2.2)
            if isoflop.interior:
                sheet.legend(sheet["sizes"], "upper left")
            sheet["sizes"].set_title("Best size")
            sheet["sizes"].set(xlabel=compute, ylabel=f"Best {size[0].lower()}{size[1:-4]} $N^*$")
        sheet.explain(shades, "$C$ (FLOPs)", style.power)
        return sheet.axes


def _curves(axes: Axes, shown: Sequence[Minimum], shades: style.Shades, runs: Any, room: float) -> None:
    """Draw the budgets; ``room`` for a legend above them, as a share of the span in logs."""
    seeds = 0
    for m in shown:
        colour = shades(m.budget)
        if runs is not None and m.n > len(m.sizes):
            rows = runs[np.isclose(budgets(runs), m.budget)]
            axes.plot(
                rows["N"], rows["L"], "o", ms=style.mark(0.55), color=colour, alpha=0.5, mew=0, zorder=2
            )
            seeds += m.n - len(m.sizes)
        axes.plot(
            m.sizes,
            m.losses,
            "o",
            ms=style.mark(0.85),
            color=colour,
            mec="white",
            mew=style.line(0.2),
            zorder=3,
        )
        if len(m.sizes) >= LEAST:
            grid = np.geomspace(m.sizes[0], m.sizes[-1], 100)
            axes.plot(grid, m.curve(grid), "-", lw=style.line(0.85), color=colour, zorder=2)
    if seeds:
        axes.plot([], [], "o", ms=style.mark(0.55), color=style.MUTED, mew=0, label="single runs")
    interior = [m for m in shown if m.N is not None]
    if interior:
        at, least = (np.array([getattr(m, name) for m in interior], float) for name in ("N", "loss"))
        axes.plot(at, least, label="minimum of the parabola", **style.star())
    style.log_x(axes, np.concatenate([m.sizes for m in shown]), count)
    style.log_loss(axes, np.concatenate([[*m.losses, m.loss or m.losses[0]] for m in shown]))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** room)


def _sizes(axes: Axes, isoflop: IsoFlop, fit: Fit | None, above: float) -> None:
    """Draw the best sizes; the axis reaches ``above`` times the largest."""
    inside = isoflop.interior
    if not inside:
        axes.text(0.02, 0.9, fill(isoflop.message, 30), va="top", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    at, best = np.array([m.budget for m in inside]), np.array([m.N for m in inside])
    errors = np.array([m.se_log_N or 0.0 for m in inside])
    reach = np.stack([best - best * np.exp(-errors), best * np.exp(errors) - best])
    how: Any = {"ecolor": style.INK, "elinewidth": style.line(0.6), "capsize": style.mark(0.4), "zorder": 3}
    axes.errorbar(at, best, reach, fmt="none", **how)
    axes.plot(at, best, label=r"minima $\pm$ 1 s.e.", **style.star(2.2))
    grid = np.geomspace(at.min() / 1.3, at.max() * 1.3, 50)
    values = [best - reach[0], best + reach[1]]
    if isoflop.size is not None:
        slope, se = f"{isoflop.size.slope:.2f}", ""
        if isoflop.size.se is not None:
            slope, error = uncertain(isoflop.size.slope, isoflop.size.se)
            se = rf" $\pm$ {error} (s.e.)"
        values.append(isoflop.size.at(grid))
        label = rf"$N^* \propto C^{{{slope}}}$"
        beyond = np.zeros(len(grid), bool)
        law_line(axes, grid, values[-1], beyond, True, label + se, color=style.ACCENT)
    drawn = at_best(fit, grid) if fit is not None and fit.convention == isoflop.convention else None
    if fit is not None and drawn is not None:
        a = fit.optimum.a if fit.optimum else None
        name = f"law ({fit.level:.0%} band)" + ("" if a is None else rf": $C^{{{a:.2f}}}$")
        beyond = (drawn["extrapolation"] > INSIDE).to_numpy()
        law_line(axes, grid, drawn["N"], beyond, identified(fit, "N"), name)
        axes.fill_between(grid, drawn["N_low"], drawn["N_high"], color=style.INK, alpha=BAND, lw=0)
        values.append(drawn["N"].to_numpy())
    style.log_x(axes, grid, style.power, pad=0.02)
    style.log_y(axes, np.concatenate(values), 1.15, above)


def loss_envelope(estimate: Estimate, unit: str | None = None, *, axes: Given | None = None) -> np.ndarray:
    """Left: loss against compute of every row (curves, where rows are checkpoints of runs), coloured by size,
    and the optima. Right: N* of the optima, and their power law with its interval.

    Args:
        estimate: what to draw.
        unit: of the losses; left out: as the estimate has it.
        axes: two to draw on; left out: a new figure.
    """
    c, n, loss = (np.array(estimate.data[x]) for x in "CNL")
    best = {key: np.array([p[key] for p in estimate.points]) for key in ("budget", "N", "loss")}
    size, compute = style.NAMES[estimate.convention]
    with page(axes, PARTS, 3.6, widths=(1.35, 1)) as sheet:
        left, right = sheet.axes
        shades = style.Shades(np.unique(n.round(-int(np.log10(n.min())) + 2)))
        if "run" in estimate.data:
            runs = np.array(estimate.data["run"])
            for run in np.unique(runs):
                rows = np.flatnonzero(runs == run)
                rows = rows[np.argsort(c[rows], kind="stable")]
                how: Any = {"lw": style.line(0.65), "color": shades(float(n[rows[0]])), "alpha": 0.8}
                left.plot(c[rows], loss[rows], zorder=2, **how)
        else:
            left.scatter(c, loss, c=shades.cmap(shades.norm(n)), **style.dots(len(c)))
        dense = len(estimate.points) > 40
        mark = style.star(1.9) | ({"marker": ".", "ms": style.mark(0.6), "mew": 0} if dense else {})
        left.plot(best["budget"], best["loss"], label=f"optima ({estimate.kind})", **mark)
        style.log_x(left, c, style.power)
        style.log_loss(left, loss[loss <= np.quantile(loss, 0.98)])
        left.set(xlabel=compute, ylabel=style.loss(unit or estimate.unit))
        left.set_title("Loss against compute")
        left.legend(loc="upper right", markerscale=2.5 if dense else 1)
        right.plot(best["budget"], best["N"], **mark)
        right.set(xlabel=compute, ylabel=f"Best {size[0].lower()}{size[1:-4]} $N^*$")
        right.set_title("Best size")
        if estimate.usable:
            _power_law(right, estimate, best["budget"], best["N"])
        sheet.explain(shades, size)
        return sheet.axes


def _power_law(axes: Axes, estimate: Estimate, budgets: np.ndarray, sizes: np.ndarray) -> None:
    grid = np.geomspace(budgets.min() / 1.3, budgets.max() * 1.3, 50)
    line, a = estimate.predict(grid).frame, estimate.params["a"]
    name = "power law" if a is None else rf"$N^* \propto C^{{{a:.2f}}}$"
    beyond = (grid < budgets.min()) | (grid > budgets.max())
    law_line(axes, grid, line["N"], beyond, a is not None, name)
    axes.fill_between(grid, line["N_low"], line["N_high"], color=style.INK, alpha=BAND, lw=0)
    style.log_x(axes, grid, style.power, pad=0.02)
    style.log_y(axes, [*sizes, *line["N"]], 1.4, 1.6)
    axes.legend(loc="upper left", title=f"{estimate.level:.0%} interval" if estimate.replicates else None)
