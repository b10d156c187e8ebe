"""Hyperparameters: basins with their optima, the laws through optima, and the critical batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes

from analysis.figures import style
from analysis.figures.page import Given, multiples, page
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.hyperparameters.basins import Basins
from analysis.hyperparameters.criticalbatch import CRITICAL, CriticalBatch
from analysis.hyperparameters.optima import SHORT

COUNTED = ("params", "tokens", "batch", "batch_tokens", CRITICAL)
SHOWN = 0.04  # relative loss above the best, up to which runs are drawn
NAMES = {"lr": "Learning rate", "batch": "Batch", CRITICAL: "Critical batch", "params": "Parameters $N$",
         "batch_tokens": "Batch $B$ (tokens)",
         "tokens": "Training tokens $D$", "target_loss": "Loss reached"}  # fmt: skip
LETTERS = {"lr": r"\eta^*", "batch": "B^*", CRITICAL: r"B_\mathrm{crit}"}


def basins_over(basins: Basins, tuned: str = "lr", *, axes: Given | None = None) -> np.ndarray:
    """A panel per cell: loss above the best run against ``tuned`` (lr or batch), runs coloured by the other,
    the quadratic with the other at its best, the optimum with its standard error. Panels without an optimum
    say why; one at the end of the sweep is hollow. ``axes``: one for each cell; left out: a new figure."""
    basins._law(tuned)
    other = next((name for name in basins.columns if name != tuned), None)
    cells = [f"cell {k}" for k in range(len(basins.cells))]
    with multiples(axes, cells, 1.35) as sheet:
        shades = style.Shades(basins.runs[other].to_numpy()) if other else None
        lowest = 100 * np.nanmin((basins.cells["loss"] / basins.cells["best"]).to_numpy(float) - 1)
        for k, (panel, (i, cell)) in enumerate(zip(sheet.axes, basins.cells.iterrows(), strict=True)):
            _cell(panel, basins, int(str(i)), cell, tuned, shades, other)
            style.log_x(panel, basins.runs[tuned].to_numpy(), style.power)
            panel.xaxis.set_major_locator(ticker.LogLocator())
            panel.set_ylim(min(-6 * SHOWN, 1.3 * lowest), 100 * SHOWN)
            panel.tick_params(labelbottom=k >= len(cells) - sheet.across, labelleft=k % sheet.across == 0)
        sheet.frame(NAMES[tuned], "Loss above the best run (%)")
        sheet.title("Cells: " + ", ".join(NAMES.get(name, style.words(name)) for name in basins.by))
        if shades is not None and other is not None:
            sheet.explain(shades, NAMES[other], _form(other))
        return sheet.axes


def _cell(
    axes: Axes, basins: Basins, i: int, cell: Any, tuned: str, shades: style.Shades | None, other: str | None
) -> None:
    runs = basins.runs[basins.runs["cell"] == i]
    above = 100 * (runs["loss"] / cell["best"] - 1)
    near = (above <= 100 * SHOWN).to_numpy()
    colours: Any = [shades(v) for v in runs[other][near]] if shades is not None and other else style.INK
    axes.scatter(runs[tuned][near], above[near], s=style.mark(0.62) ** 2, c=colours, linewidth=0, zorder=2)
    title = ", ".join(f"{count(cell[x]) if not isinstance(cell[x], str) else cell[x]}" for x in basins.by)
    axes.set_title(title, fontsize=style.small(1), pad=3)
    if np.isfinite(cell["loss"]):
        x, se = cell[tuned], cell[f"{tuned}_se"]
        level = 100 * (cell["loss"] / cell["best"] - 1)
        at = list(basins.columns).index(tuned)
        if np.isfinite(basins.hessians[i]).all():
            bend = 1 / np.linalg.inv(np.array(basins.hessians[i]))[at, at]
            reach = np.geomspace(cell[f"{tuned}_from"], cell[f"{tuned}_to"], 200)
            curve = cell["loss"] * np.exp(0.5 * bend * np.log(reach / x) ** 2) / cell["best"] - 1
            axes.plot(reach, 100 * curve, color=style.INK, lw=style.line(0.71), zorder=3)
        if np.isfinite(se):
            axes.plot(
                [x * np.exp(-se), x * np.exp(se)], [level] * 2, color=style.ACCENT, lw=style.line(1), zorder=4
            )
        inside = cell["verdict"] == "interior"
        face = style.ACCENT if inside else "white"
        axes.plot(
            x,
            level,
            "*",
            ms=style.mark(1.67),
            color=face,
            mec="white" if inside else style.ACCENT,
            mew=style.line(0.43),
            zorder=5,
        )
    if cell["verdict"] != "interior":
        how: Any = {"ha": "center", "va": "top", "fontsize": style.small(), "color": style.ACCENT,
                    "bbox": {"facecolor": "white", "alpha": 0.8, "lw": 0, "pad": 1}, "zorder": 6}  # fmt: skip
        axes.text(0.5, 0.93, cell["verdict"], transform=axes.transAxes, **how)


def hyperparameter_laws(basins: Basins, *, axes: Given | None = None) -> np.ndarray:
    """Optima against each input of their laws, the other inputs moved to their median along the law; bars are
    standard errors of the first stage, the line and band the law with its interval. Optima at the end of a
    sweep are hollow; those without a value are not drawn. ``axes``: one for each input of each law; left out:
    a new figure."""
    panels = [(name, law, x) for name, law in basins.laws.items() for x in law.law.inputs]
    layout, width = [[f"{name} over {x}" for name, _, x in panels]], None if len(panels) > 1 else 4.0
    with page(axes, layout, 2.9, width=width) as sheet:
        inside = (basins.cells["verdict"] == "interior").to_numpy()
        for panel, (name, law, x) in zip(sheet.axes, panels, strict=True):
            _against(panel, basins.cells, name, law, x, inside)
        return sheet.axes


def _against(axes: Axes, cells: Any, name: str, law: Fit, x: str, inside: np.ndarray) -> None:
    known = cells[name].notna().to_numpy(bool)
    middle = {o: np.exp(np.nanmedian(np.log(cells[o].to_numpy(float)))) for o in law.law.inputs if o != x}
    at, y = cells[x].to_numpy(float), cells[name].to_numpy(float)
    values, corner = [y[known]], "best"
    if law.usable:
        y = y * np.prod([(cells[o] / v) ** law.solution[f"e_{o}"] for o, v in middle.items()], axis=0)
        line = np.geomspace(at.min() / 1.15, at.max() * 1.15, 60)
        drawn = law.predict({x: line, **{o: np.full(60, v) for o, v in middle.items()}})
        axes.fill_between(line, drawn["low"], drawn["high"], color=style.MUTED, alpha=0.25, lw=0, zorder=1)
        power = -law.solution[f"e_{x}"]
        corner = "lower right" if power > 0 else "lower left"
        label = rf"${SHORT.get(x, 'x')}^{{{power:.2f}}}$, {law.level:.0%}"
        axes.plot(line, drawn["loss"], color=style.INK, lw=style.line(0.86), zorder=2, label=label)
        values += [drawn["low"], drawn["high"], y[known]]
    se = cells.get(f"{name}_se", pd.Series(np.nan, cells.index)).fillna(0).to_numpy(float)
    bars = np.stack([y - y * np.exp(-se), y * np.exp(se) - y])
    for chosen, face, what in (
        (known & inside, style.ACCENT, None),
        (known & ~inside, "white", "end of the sweep"),
    ):
        if chosen.any():
            how: Any = {"ms": style.mark(0.94), "mew": style.line(0.57), "elinewidth": style.line(0.57)}
            axes.errorbar(at[chosen], y[chosen], bars[:, chosen], fmt="o", color=style.ACCENT, mfc=face,
                          zorder=3, label=what, **how)  # fmt: skip
    style.log_x(axes, at, _form(x))
    if at.max() < 3 * at.min():
        style.plain(axes.xaxis, *axes.get_xlim())
    style.log_y(axes, np.concatenate(values), 1.2, 1.3, _form(name))
    held = ", ".join(f"${SHORT.get(o, o)}$ = {_form(o)(v)}" for o, v in middle.items())
    axes.set(xlabel=NAMES.get(x, x), ylabel=f"Best {NAMES[name].lower()} ${LETTERS[name]}$")
    if name == CRITICAL:
        axes.set_ylabel(f"Critical batch ${LETTERS[name]}$")
    axes.set_title(f"at {held}" if held else "")
    axes.legend(loc=corner)


def critical_batch(batches: CriticalBatch, *, axes: Given | None = None) -> np.ndarray:
    """Steps against examples that reach each loss, with its hyperbola (McCandlish et al. 2018, eq. 2.11) and
    its corner at the critical batch, twice the least of both; right: the critical batch along its law.
    ``axes``: two to draw on, one without a law; left out: a new figure."""
    law, cells = batches.law, batches.cells
    sequence = len(batches.by) == 1 and pd.api.types.is_numeric_dtype(cells[batches.by[0]])
    keys = cells[batches.by[0]].to_numpy(float) if sequence else np.arange(1.0, len(cells) + 1)
    layout = [["steps"]] if law is None else [["steps", "law"]]
    with page(axes, layout, 3.4, widths=None if law is None else (1.3, 1)) as sheet:
        shades = style.Shades(keys)
        _hyperbolas(sheet["steps"], batches, [shades(key) for key in keys])
        if law is not None:
            _against(sheet["law"], cells, CRITICAL, law, law.law.inputs[0], np.ones(len(cells), bool))
        if len(keys) > 1 and sequence:
            name = batches.by[0]
            sheet.explain(shades, NAMES.get(name, name), _form(name))
        return sheet.axes


def _hyperbolas(axes: Axes, batches: CriticalBatch, colours: list[Any]) -> None:
    steps, examples = [], []
    for cell, fit, colour in zip(batches.cells.to_dict("records"), batches.fits, colours, strict=True):
        b, s = np.array(fit.data["B"]), np.array(fit.data["L"])
        steps, examples = [*steps, *s], [*examples, *(b * s)]
        axes.plot(
            b * s, s, "o", ms=style.mark(0.83), color=colour, mec="white", mew=style.line(0.21), zorder=3
        )
        if fit.usable:
            grid = np.geomspace(b.min() / 3, b.max() * 3, 200)
            curve = fit.law.values(fit.solution, {"B": grid})
            axes.plot(grid * curve, curve, lw=style.line(0.79), color=colour, zorder=2)
        if cell["verdict"] == "yes":
            axes.plot(2 * cell["Emin"], 2 * cell["Smin"], **style.star(1.9))
    axes.plot([], [], label=r"$B = B_\mathrm{crit}$", **style.star(1.9))
    axes.legend(loc="upper left")
    style.log_x(axes, examples, style.power)
    style.log_y(axes, steps, 1.5, 1.8)
    axes.set(xlabel="Examples $E = B S$, in units of the batch", ylabel="Steps $S$")


def _form(column: str) -> Any:
    return count if column in COUNTED else "{:g}".format
