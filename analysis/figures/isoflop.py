"""IsoFLOP curves with their minima, the envelope of checkpoints, and the best size against compute."""

from __future__ import annotations

from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.optimal_size.estimate import Estimate
from analysis.optimal_size.isoflop import IsoFlop

LEAST = 3  # sizes below which a budget is no curve


def isoflop_curves(isoflop: IsoFlop, fit: Fit | None = None) -> Figure:
    """Left: loss against size per budget, parabola, minimum (a star; none if it is not interior). Right: N*
    against C with the power law through the minima, and the law's N* if ``fit`` has one."""
    shown = [m for m in isoflop.minima if len(m.sizes) >= LEAST] or list(isoflop.minima)
    size, compute = style.NAMES[isoflop.convention]
    with style.look():
        figure = style.canvas(3.6)
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        shades = style.Shades([m.budget for m in shown])
        for m in shown:
            colour = shades(m.budget)
            left.plot(m.sizes, m.losses, "o", ms=4, color=colour, mec="white", mew=0.3, zorder=3)
            if len(m.sizes) >= LEAST:
                grid = np.geomspace(m.sizes[0], m.sizes[-1], 100)
                left.plot(grid, m.curve(grid), "-", lw=1.2, color=colour, zorder=2)
        interior = [m for m in shown if m.N is not None]
        if interior:
            at, least = [m.N for m in interior], [m.loss for m in interior]
            left.plot(at, least, ms=10, label="minimum of the parabola", **style.STAR)
            left.legend(loc="upper right")
        style.log_x(left, np.concatenate([m.sizes for m in shown]), count)
        style.log_loss(left, np.concatenate([m.losses for m in shown]))
        low, high = left.get_ylim()
        left.set_ylim(low, high * (high / low) ** 0.12)  # room for the legend above the curves
        left.set(xlabel=size, ylabel=style.loss(isoflop.unit))
        left.set_title("Loss at equal compute")
        _sizes(right, isoflop, fit, shades)
        right.set_title("Best size")
        right.set(xlabel=compute, ylabel=f"Best {size[0].lower()}{size[1:-2]} $N^*$")
        shades.explain(figure, [left, right], "C (FLOPs)", style.power)
        return style.finish(figure)


def _sizes(axes: Axes, isoflop: IsoFlop, fit: Fit | None, shades: style.Shades) -> None:
    inside = isoflop.interior
    if not inside:
        axes.text(0.02, 0.9, fill(isoflop.message, 30), va="top", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    budgets, best = np.array([m.budget for m in inside]), np.array([m.N for m in inside])
    errors = np.array([m.se_log_N or 0.0 for m in inside])
    reach = np.stack([best - best * np.exp(-errors), best * np.exp(errors) - best])
    axes.errorbar(budgets, best, reach, fmt="none", ecolor=style.INK, elinewidth=0.8, capsize=2, zorder=3)
    axes.plot(budgets, best, ms=11, **style.STAR)
    grid = np.geomspace(budgets.min() / 1.3, budgets.max() * 1.3, 50)
    values = [best - reach[0], best + reach[1]]
    if isoflop.size is not None:
        se = f" ± {isoflop.size.se:.2f}" if isoflop.size.se is not None else ""
        values.append(isoflop.size.at(grid))
        label = rf"minima: $C^{{{isoflop.size.slope:.2f}}}${se}"
        axes.plot(grid, values[-1], color=style.INK, lw=1.2, label=label)
    if fit is not None and fit.usable and fit.optimum and fit.convention == isoflop.convention:
        best_of_law = fit.optimal(grid)["N"].to_numpy()
        a = fit.optimum.a
        name = rf"law: $C^{{{a:.2f}}}$" if a is not None else "law (exponent not identified)"
        axes.plot(grid, best_of_law, "--", color=style.INK, lw=1.2, label=name)
        values.append(best_of_law)
    style.log_x(axes, grid, style.power, pad=0.02)
    style.log_y(axes, np.concatenate(values), 1.15, 1.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left")


def loss_envelope(estimate: Estimate, unit: str | None = None) -> Figure:
    """Left: loss against compute of every row (curves, where rows are checkpoints of runs), coloured by size,
    and the optima. Right: N* of the optima, and their power law with its interval. ``unit``: of the losses;
    None: as the estimate has it."""
    c, n, loss = (np.array(estimate.data[x]) for x in "CNL")
    best = {key: np.array([p[key] for p in estimate.points]) for key in ("budget", "N", "loss")}
    size, compute = style.NAMES[estimate.convention]
    with style.look():
        figure = style.canvas(3.6)
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        shades = style.Shades(np.unique(n.round(-int(np.log10(n.min())) + 2)))
        runs = np.array(estimate.data["run"]) if "run" in estimate.data else None
        if runs is None:
            left.scatter(c, loss, s=7, c=shades.cmap(shades.norm(n)), lw=0, zorder=2)
        else:
            for run in np.unique(runs):
                rows = np.flatnonzero(runs == run)
                rows = rows[np.argsort(c[rows], kind="stable")]
                left.plot(c[rows], loss[rows], lw=0.9, color=shades(float(n[rows[0]])), alpha=0.8, zorder=2)
        dense = len(estimate.points) > 40
        mark = {"color": style.ACCENT, "ms": 2.2 if dense else 9, "mec": "white", "mew": 0 if dense else 0.6}
        sign = "." if dense else "*"
        left.plot(best["budget"], best["loss"], sign, zorder=4, label=f"optima ({estimate.kind})", **mark)
        style.log_x(left, c, style.power)
        style.log_loss(left, loss[loss <= np.quantile(loss, 0.98)])
        left.set(xlabel=compute, ylabel=style.loss(unit or estimate.unit))
        left.set_title("Loss against compute")
        left.legend(loc="upper right", markerscale=2.5 if dense else 1)
        right.plot(best["budget"], best["N"], sign, zorder=4, **mark)
        right.set(xlabel=compute, ylabel=f"Best {size[0].lower()}{size[1:-2]} $N^*$")
        right.set_title("Best size")
        if estimate.usable:
            _power_law(right, estimate, best["budget"], best["N"])
        shades.explain(figure, [left, right], "N", count)
        return style.finish(figure)


def _power_law(axes: Axes, estimate: Estimate, budgets: np.ndarray, sizes: np.ndarray) -> None:
    grid = np.geomspace(budgets.min() / 1.3, budgets.max() * 1.3, 50)
    line, a = estimate.predict(grid).frame, estimate.params["a"]
    name = rf"$C^{{{a:.2f}}}$" if a is not None else "exponent not identified"
    axes.plot(grid, line["N"], color=style.INK, lw=1.2, label=name)
    axes.fill_between(grid, line["N_low"], line["N_high"], color=style.MUTED, alpha=0.25, lw=0)
    style.log_x(axes, grid, style.power, pad=0.02)
    style.log_y(axes, [*sizes, *line["N"]], 1.4, 1.6)
    axes.legend(loc="upper left", title=f"{estimate.level:.0%} interval" if estimate.replicates else None)
