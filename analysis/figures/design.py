"""A design before it is trained: sizes against tokens, its budgets, what is held out and what is done."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.errors import AnalysisError
from analysis.figures import style
from analysis.fits.summary import count

NEEDED = ("params", "tokens", "flops", "role")
CHINCHILLA = 20.0  # tokens per parameter (Hoffmann et al., arXiv:2203.15556)
RAY = "D = 20 N"
MARKS = {  # role -> marker, size, its word in the legend
    "fit": ("o", 5.5, "fitted"),
    "tuning": ("D", 4.0, "tuning"),
    "noise": ("s", 8.5, "repeated"),
    "holdout": ("*", 13.0, "held out"),
}
LABELLED = 12  # budgets whose lines have a text


def design(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw N against D of every run of a design, full where it is done and hollow where it is not.

    Runs of one budget are joined, runs of the same cell (seeds) lie on each other; the dashed ray has 20
    tokens a parameter.

    Args:
        runs: a row for each, with ``params``, ``tokens``, ``flops``, ``role``; ``budget`` (FLOPs asked for)
            and ``done`` where they are known.
        ax: where to draw; None: in a figure of its own.

    Raises:
        AnalysisError: a column is missing, or there is no run.
    """
    missing = [name for name in NEEDED if name not in runs]
    if missing or not len(runs):
        what = f"no column {', '.join(missing)}" if missing else "no run"
        raise AnalysisError(f"figure of a design: {what}; give a row with {', '.join(NEEDED)} for each run")
    with style.look():
        axes = style.canvas(4.6, 6.4).add_subplot() if ax is None else ax
        rows: Any = runs
        shades = style.Shades(rows["flops"])
        style.log_x(axes, runs["tokens"], count, pad=0.1)
        style.log_y(axes, runs["params"], 1.5, 1.5)
        if not _budgets(axes, runs, shades) and isinstance(axes.figure, Figure):
            shades.explain(axes.figure, axes, "C (FLOPs)", style.power)
        _ray(axes)
        for role in reversed(MARKS):
            _points(axes, rows[rows["role"] == role], role, shades)
        axes.set(xlabel="Training tokens D", ylabel="Parameters N")
        axes.legend(handles=_legend(runs), loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=5)
        return axes


def _budgets(axes: Axes, runs: Any, shades: style.Shades) -> bool:
    """Join the fitted runs of each budget, and name it beside its smallest size; tell whether all colours are
    named so."""
    if "budget" not in runs:
        return False
    fitted = runs[(runs["role"] == "fit") & runs["budget"].notna()]
    groups: Any = fitted.sort_values("params").groupby("budget")
    for budget, rows in groups:
        if rows["params"].nunique() < 2:
            continue
        cells = rows.groupby("params")[["tokens", "flops"]].mean()
        axes.plot(cells["tokens"], cells.index, color=shades(cells["flops"].mean()), lw=0.9, zorder=2)
        if len(groups) <= LABELLED:
            at = (cells["tokens"].iloc[0], cells.index[0])
            axes.annotate(style.power(budget), at, (0, -7), textcoords="offset points", ha="center",
                          va="top", fontsize=7.5, color=shades(cells["flops"].mean()))  # fmt: skip
    return 0 < len(groups) <= LABELLED


def _ray(axes: Axes) -> None:
    """Draw the tokens of 20 a parameter, where they are inside the frame."""
    low, high = axes.get_ylim()
    left, right = axes.get_xlim()
    sizes = np.geomspace(max(low, left / CHINCHILLA), min(high, right / CHINCHILLA), 2)
    if sizes[0] < sizes[1]:
        axes.plot(CHINCHILLA * sizes, sizes, "--", color=style.MUTED, lw=0.9, zorder=1, label=RAY)


def _points(axes: Axes, runs: pd.DataFrame, role: str, shades: style.Shades) -> None:
    mark, size, _ = MARKS[role]
    for row in runs.to_dict("records"):
        colour = style.ACCENT if role == "holdout" else shades(row["flops"])
        face = colour if row.get("done") else "white"
        axes.plot(row["tokens"], row["params"], mark, ms=size, color=colour, mfc=face, mew=1.1,
                  zorder=4 if role == "holdout" else 3)  # fmt: skip


def _legend(runs: Any) -> list[Line2D]:
    handles = list[Line2D]()
    for role, (mark, size, word) in MARKS.items():
        of_role = runs[runs["role"] == role]
        if len(of_role):
            cells = len(of_role[["params", "tokens"]].drop_duplicates())
            where = f" at {cells} cell{'s' if cells > 1 else ''}" if cells < len(of_role) else ""
            text = f"{len(of_role)} {word}{where}"
            colour = style.ACCENT if role == "holdout" else style.INK
            handles.append(Line2D([], [], marker=mark, ms=size, color=colour, mfc="white", lw=0, label=text))
    if "done" in runs and runs["done"].any():
        done = f"full: done ({int(runs['done'].sum())})"
        handles.append(Line2D([], [], marker="o", ms=5.5, color=style.INK, lw=0, label=done))
    return [*handles, Line2D([], [], ls="--", lw=0.9, color=style.MUTED, label=RAY)]
