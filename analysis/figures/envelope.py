"""Optima of an estimator among all rows: the envelope of losses, and the best size against compute."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import style
from analysis.fits.summary import count
from analysis.optimal_size.estimate import Estimate


def loss_envelope(found: Estimate, unit: str | None = None) -> Figure:
    """Left: loss against compute of every row (curves, where rows are checkpoints of runs), coloured by size,
    and the optima. Right: N* of the optima, and their power law with its interval. ``unit``: of the losses,
    which an estimate does not know; None: ours."""
    c, n, loss = (np.array(found.data[x]) for x in "CNL")
    best = {key: np.array([p[key] for p in found.points]) for key in ("budget", "N", "loss")}
    size, compute = style.NAMES[found.convention]
    with style.look():
        figure = style.canvas(3.6)
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        shades = style.Shades(np.unique(n.round(-int(np.log10(n.min())) + 2)))
        runs = np.array(found.data["run"]) if "run" in found.data else None
        if runs is None:
            left.scatter(c, loss, s=7, c=shades.cmap(shades.norm(n)), lw=0, zorder=2)
        else:
            for run in np.unique(runs):
                rows = np.flatnonzero(runs == run)
                rows = rows[np.argsort(c[rows], kind="stable")]
                left.plot(c[rows], loss[rows], lw=0.9, color=shades(float(n[rows[0]])), alpha=0.8, zorder=2)
        dense = len(found.points) > 40
        mark = {"color": style.ACCENT, "ms": 2.2 if dense else 9, "mec": "white", "mew": 0 if dense else 0.6}
        sign = "." if dense else "*"
        left.plot(best["budget"], best["loss"], sign, zorder=4, label=f"optima ({found.kind})", **mark)
        style.log_x(left, c, style.power)
        style.log_loss(left, loss[loss <= np.quantile(loss, 0.98)])
        left.set(xlabel=compute, ylabel=style.loss(unit))
        left.set_title("Loss against compute")
        left.legend(loc="upper right", markerscale=2.5 if dense else 1)
        right.plot(best["budget"], best["N"], sign, zorder=4, **mark)
        right.set(xlabel=compute, ylabel=f"Best {size[0].lower()}{size[1:-2]} $N^*$")
        right.set_title("Best size")
        if found.usable:
            _line(right, found, best["budget"], best["N"])
        shades.explain(figure, [left, right], "N", count)
        return style.finish(figure)


def _line(axes: Axes, found: Estimate, budgets: np.ndarray, sizes: np.ndarray) -> None:
    grid = np.geomspace(budgets.min() / 1.3, budgets.max() * 1.3, 50)
    line, a = found.predict(grid).frame, found.params["a"]
    name = rf"$C^{{{a:.2f}}}$" if a is not None else "exponent not identified"
    axes.plot(grid, line["N"], color=style.INK, lw=1.2, label=name)
    axes.fill_between(grid, line["N_low"], line["N_high"], color=style.MUTED, alpha=0.25, lw=0)
    axes.set_yscale("log")
    ends = np.array([min(sizes.min(), line["N"].min()) / 1.4, max(sizes.max(), line["N"].max()) * 1.6])
    axes.set_ylim(*ends)
    style.log_x(axes, grid, style.power, pad=0.02)
    style.numbers(axes.yaxis, ends, count)
    axes.legend(loc="upper left", title=f"{found.level:.0%} interval" if found.replicates else None)
