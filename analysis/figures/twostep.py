"""Accuracy in two steps: from loss, and the chain of both steps against compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from analysis.downstream import TwoStep
from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.figures.page import Given, page
from analysis.fits.cost import fitted
from analysis.links import INPUT

BEYOND = 0.35  # of the range of losses, drawn on the side of better runs


def accuracy_in_two_steps(
    two: TwoStep, held: pd.DataFrame | None = None, *, axes: Given | None = None
) -> np.ndarray:
    """Left: accuracy against loss, the link with its interval, dashed beyond the losses seen. Right: accuracy
    against compute with the chain at each size, and at the runs ``held`` (columns as for
    :meth:`TwoStep.predict`; measured ones also have the accuracy) predictions with intervals of a new run.
    ``axes``: two to draw on; left out: a new figure. Raises AnalysisError without a chain."""
    if not two.usable:
        raise AnalysisError(f"figure of two steps to {two.columns[1]!r}: {two.status.message}")
    data, predicted = two.link.data, None if held is None else two.predict(held).frame
    sizes = np.array(data["N"]) if "N" in data else np.ones(len(data["L"]))
    every = sizes if predicted is None or "N" not in predicted else [*sizes, *predicted["N"]]
    with page(axes, [["link", "chain"]], 3.4, widths=(1, 1.15)) as sheet:
        left, right = sheet.axes
        shades = style.Shades(every)
        colours = [shades(s) for s in sizes]
        _link(left, two, colours, predicted, held)
        if {"N", "D"} <= set(data) and {*"NDC"} <= set(two.loss.data):
            flops = _flops(two, pd.DataFrame({x: data[x] for x in "ND"}))
            right.scatter(flops, data["L"], c=colours, **style.dots(len(flops)))
            shown = [*flops, *([] if predicted is None else _flops(two, predicted))]
            _chain(right, two, shades)
            if predicted is not None:
                _predictions(right, two, predicted, held, shades)
            style.log_x(right, shown, style.power)
            right.set_xlabel(style.NAMES[two.loss.convention][1])
            right.legend(loc="upper left")
        ends = [panel.get_ylim() for panel in (left, right) if panel.has_data()]
        for panel in (left, right):  # panels compare
            panel.set_ylim(min(low for low, _ in ends), max(high for _, high in ends))
            panel.yaxis.set_major_locator(MaxNLocator(7))
            panel.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        right.tick_params(labelleft=sheet.narrow)
        if "N" in data:
            sheet.explain(shades, style.NAMES[two.loss.convention][0])
        return sheet.axes


def _link(axes: Axes, two: TwoStep, colours: list[Any], predicted: Any, held: Any) -> None:
    seen = np.array(two.link.data[INPUT])
    low = min(seen.min() - BEYOND * np.ptp(seen), np.inf if predicted is None else predicted["loss"].min())
    grid = np.linspace(low, seen.max() + 0.05 * np.ptp(seen), 120)
    drawn = two.link.predict({INPUT: grid}).frame
    inside = grid >= seen.min()
    axes.fill_between(
        grid, drawn["low"].clip(0, 1), drawn["high"].clip(0, 1), color=style.MUTED, alpha=0.25, lw=0
    )
    named = {"color": style.INK, "lw": style.line(1), "zorder": 2}
    axes.plot(grid[inside], drawn["loss"][inside], label=f"link, {two.link.level:.0%} interval", **named)
    axes.plot(grid[~inside], drawn["loss"][~inside].clip(0, 1), "--", **named)
    axes.scatter(seen, two.link.data["L"], c=colours, label="runs fitted", **style.dots(len(seen)))
    if _measured(two, held) and two.columns[0] in held:
        axes.scatter(held[two.columns[0]], held[two.columns[1]], label="runs held out", **style.outcome())
    axes.invert_xaxis()
    axes.set(xlabel="Loss (better to the right)", ylabel="Accuracy")
    axes.set_title("Step 2: accuracy from loss")
    axes.legend(loc="upper left")


def _chain(axes: Axes, two: TwoStep, shades: style.Shades) -> None:
    """The chain over the tokens of each size fitted."""
    if set(two.loss.law.inputs) != {"N", "D"}:
        return
    rows = pd.DataFrame({x: two.loss.data[x] for x in "ND"})
    for size, part in rows.groupby("N"):
        tokens = np.geomspace(part["D"].min(), part["D"].max(), 40)
        drawn = two.predict(N=size, D=tokens).frame
        how: Any = {"color": shades(float(str(size))), "lw": style.line(0.71), "alpha": 0.8, "zorder": 2}
        axes.plot(_flops(two, drawn), drawn["accuracy"], **how)
    axes.set_title("Both steps: accuracy from N and D")


def _flops(two: TwoStep, rows: Any) -> Any:
    """Compute of each row: its own, or what the fitted runs of such N and D cost."""
    if "C" in rows:
        return rows["C"]
    cost = fitted(*(np.array(two.loss.data[x]) for x in "NDC"))
    return cost.flops(rows["N"].to_numpy(), rows["D"].to_numpy())


def _predictions(axes: Axes, two: TwoStep, predicted: Any, held: Any, shades: style.Shades) -> None:
    flops = _flops(two, predicted)
    reach = [predicted["accuracy"] - predicted["new_low"], predicted["new_high"] - predicted["accuracy"]]
    ink = [shades(s) for s in predicted["N"]] if "N" in predicted else style.INK
    level = f"predicted, {two.loss.level:.0%} interval of a new run"
    axes.errorbar(
        flops,
        predicted["accuracy"],
        reach,
        fmt="none",
        ecolor=style.INK,
        elinewidth=style.line(0.86),
        capsize=style.mark(0.62),
    )
    axes.scatter(flops, predicted["accuracy"], marker="D", s=style.mark(1.06) ** 2, facecolor="white",
                 edgecolor=ink, linewidth=style.line(0.86), zorder=4, label=level)  # fmt: skip
    if _measured(two, held):
        axes.scatter(flops, held[two.columns[1]], label="measured", **style.outcome())


def _measured(two: TwoStep, held: Any) -> bool:
    return held is not None and two.columns[1] in held
