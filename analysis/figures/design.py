"""A design before it is trained: sizes against tokens, its budgets, what is held out and what is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from analysis.errors import AnalysisError, plural
from analysis.figures import style
from analysis.figures.page import page
from analysis.fits.summary import count

NEEDED = ("params", "tokens", "flops", "role")
CHINCHILLA = 20.0  # tokens per parameter (Hoffmann et al., arXiv:2203.15556)
RAY = "$D = 20 N$"
MARKS = {  # role -> marker, size, its word in the legend
    "fit": ("o", 5.5, "fitted"),
    "tuning": ("D", 4.0, "tuning"),
    "trunk": ("v", 4.5, "branched from"),
    "noise": ("s", 8.5, "repeated"),
    "holdout": ("*", 13.0, "held out"),
}
USUAL = 4.8  # points, of the marks of our own settings
LABELLED = 12  # budgets whose lines have a text
HALO = [withStroke(linewidth=2.5, foreground="white")]  # of text over lines
PALE = 0.3  # of a colour that is mixed with white


def design(runs: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw N against D of every cell of a design: full where all its runs are done, pale where they are
    planned, hollow where results may decide otherwise.

    Runs of one budget are joined; the dashed ray has 20 tokens a parameter.

    Args:
        runs: a row for each, with ``params``, ``tokens``, ``flops``, ``role``; ``budget`` (FLOPs asked for)
            ``done`` and ``foreseen`` where they are known.
        ax: where to draw; left out: a new figure.

    Raises:
        AnalysisError: a column is missing, or there is no run.
    """
    missing = [name for name in NEEDED if name not in runs]
    if missing or not len(runs):
        what = f"no column {', '.join(missing)}" if missing else "no run"
        raise AnalysisError(f"figure of a design: {what}; give a row with {', '.join(NEEDED)} for each run")
    with page(ax, [["design"]], 4.6, width=6.4) as sheet:
        axes = sheet["design"]
        rows: Any = runs
        shades = style.Shades(rows["flops"])
        style.log_x(axes, runs["tokens"], count, pad=0.1)
        style.log_y(axes, runs["params"], 1.5, 1.5)
        named = _budgets(axes, runs, shades)
        if not named:
            sheet.explain(shades, "$C$ (FLOPs)", style.power)
        has_ray = _ray(axes)
        for role in reversed(MARKS):
            _points(axes, rows[rows["role"] == role], role, shades)
        axes.set(xlabel="Training tokens $D$", ylabel="Parameters $N$ (total)")
        axes.legend(
            handles=_legend(runs, has_ray, named),
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
            ncols=2 if sheet.narrow else 5,
        )
        return axes


def _budgets(axes: Axes, runs: Any, shades: style.Shades) -> bool:
    """Join the fitted runs of each budget, where each has several sizes, and write it beside its smallest;
    tell whether all colours are named so."""
    if "budget" not in runs:
        return False
    fitted = runs[(runs["role"] == "fit") & runs["budget"].notna()]
    groups: Any = fitted.sort_values("params").groupby("budget")
    if not len(groups) or groups["params"].nunique().min() < 2:
        return False
    for budget, rows in groups:
        cells = rows.groupby("params")[["tokens", "flops"]].mean()
        colour = shades(cells["flops"].mean())
        axes.plot(cells["tokens"], cells.index, color=colour, lw=style.line(0.65), zorder=2)
        if len(groups) <= LABELLED:
            at = (cells["tokens"].iloc[0], cells.index[0])
            axes.annotate(style.power(budget), at, (0, -7), textcoords="offset points", ha="center",
                          va="top", fontsize=style.small(), color=colour, path_effects=HALO)  # fmt: skip
    return len(groups) <= LABELLED


def _ray(axes: Axes) -> bool:
    """Draw the tokens of 20 a parameter, and tell whether any of them are inside the frame."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    sizes = np.geomspace(max(low, left / CHINCHILLA), min(high, right / CHINCHILLA), 2)
    if inside := bool(sizes[0] < sizes[1]):
        axes.plot(
            CHINCHILLA * sizes, sizes, "--", color=style.MUTED, lw=style.line(0.65), zorder=1, label=RAY
        )
    return inside


def _points(axes: Axes, runs: Any, role: str, shades: style.Shades) -> None:
    """Draw the cells of one role."""
    mark, size = MARKS[role][0], MARKS[role][1] * style.mark(1) / USUAL
    states = {name: runs.get(name, False) for name in ("done", "foreseen")}
    cells = (
        runs.assign(**states)
        .groupby(["tokens", "params"], as_index=False)
        .agg({"flops": "mean", "done": "all", "foreseen": "all"})
    )
    colours = [style.ACCENT if role == "holdout" else shades(flops) for flops in cells["flops"]]
    states = list(zip(colours, cells["done"], cells["foreseen"], strict=True))
    axes.scatter(
        cells["tokens"], cells["params"], size**2, marker=mark, linewidths=style.line(0.8),
        facecolors=[_fill(*state) for state in states],
        edgecolors=["white" if done else colour for colour, done, _ in states],
        zorder=4 if role == "holdout" else 3,
    )  # fmt: skip


def _fill(colour: Any, done: bool, foreseen: bool) -> Any:
    """The colour inside a mark."""
    if done or foreseen:
        return colour if done else "white"
    return tuple(1 - PALE * (1 - part) for part in to_rgb(colour))


def _legend(runs: Any, has_ray: bool, has_budgets: bool) -> list[Line2D]:
    handles = list[Line2D]()
    for role, (mark, size, word) in MARKS.items():
        of_role = runs[runs["role"] == role]
        if len(of_role):
            cells = len(of_role[["params", "tokens"]].drop_duplicates())
            where = f" at {plural(cells, 'cell')}" if cells < len(of_role) else ""
            text = f"{len(of_role)} {word}{where}"
            colour = style.ACCENT if role == "holdout" else style.INK
            ms = size * style.mark(1) / USUAL
            inside = _fill(colour, False, False)
            handles.append(Line2D([], [], marker=mark, ms=ms, color=colour, mfc=inside, lw=0, label=text))
    states = {"done": ("full: done", style.INK), "foreseen": ("hollow: foreseen", "white")}
    for column, (word, inside) in states.items():
        if column in runs and (number := int(runs[column].sum())):
            label, ms = f"{word} ({number})", style.mark(1.15)
            handles.append(Line2D([], [], marker="o", ms=ms, color=style.INK, mfc=inside, lw=0, label=label))
    lw = style.line(0.65)
    handles += [Line2D([], [], lw=lw, color=style.INK, label="budget (FLOPs)")] * has_budgets
    return handles + [Line2D([], [], ls="--", lw=lw, color=style.MUTED, label=RAY)] * has_ray
