"""Training curves: loss against tokens seen, one line per run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.errors import AnalysisError
from analysis.figures.style import (
    ACCENT,
    INK,
    NAMES,
    Shades,
    canvas,
    finish,
    log_loss,
    log_x,
    look,
    loss,
    stated,
)
from analysis.fits.summary import count
from analysis.tables.runs import select
from analysis.tables.table import Table

SMOOTH = 60  # points a smoothed curve keeps


def training_curves(
    curves: pd.DataFrame, table: pd.DataFrame | Table, *, convention: str = "total"
) -> Figure:
    """``curves``: run_id, tokens, train/loss and eval/loss (either may be empty in a row). Training loss
    averaged over equal steps in log tokens, evaluated loss at the end as a dot; held-out runs in another
    colour. Raises AnalysisError."""
    missing = [c for c in ("run_id", "tokens", "train/loss") if c not in curves.columns]
    if missing:
        raise AnalysisError(f"curves: columns {', '.join(missing)} are missing; collect the results again")
    runs: Any = select(table, ("fit", "holdout"), convention=convention)[0]
    points: Any = curves
    with look():
        figure = canvas(3.8)
        axes = figure.add_subplot()
        shades = Shades(runs.loc[runs["role"] == "fit", "N"])
        seen, ends = [], []
        for run in runs.sort_values("N", ascending=False).itertuples():
            rows = points[points["run_id"] == run.run_id]
            x, y = smoothed(rows["tokens"].to_numpy(float), rows["train/loss"].to_numpy(float))
            if not len(x):
                continue
            held = run.role == "holdout"
            colour = ACCENT if held else shades(run.N)
            axes.plot(x, y, color=colour, lw=1.3 if held else 0.9, alpha=0.85, zorder=3 if held else 2)
            axes.plot(run.D, run.L, "o", ms=4, color=colour, mec="white", mew=0.5, zorder=4)
            seen.append((x, y))
            ends.append((run.D, run.L))
        if not seen:
            raise AnalysisError(
                "curves: no row belongs to a finished run of the table; collect the results again"
            )
        x = np.concatenate([s[0] for s in seen] + [[e[0] for e in ends]])
        y = np.concatenate([s[1] for s in seen] + [[e[1] for e in ends]])
        log_x(axes, x, count, pad=0.02)
        log_loss(axes, y)
        axes.set(xlabel="Tokens seen", ylabel=loss(stated(table)))
        handles = [
            Line2D([], [], color=INK, lw=0.9, label="training loss, averaged"),
            Line2D([], [], color=INK, marker="o", ms=4, lw=0, label="evaluated loss at the end"),
        ]
        if (runs["role"] == "holdout").any():
            handles.append(Line2D([], [], color=ACCENT, lw=1.3, label="held-out run"))
        axes.legend(handles=handles, loc="upper right")
        shades.explain(figure, axes, NAMES[convention][0])
        return finish(figure)


def smoothed(tokens: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over equal steps in log tokens; rows that are not finite are left out."""
    good = np.isfinite(tokens) & np.isfinite(loss) & (tokens > 0)
    tokens, loss = tokens[good], loss[good]
    if len(tokens) < 2:
        return tokens, loss
    edges = np.geomspace(tokens.min(), tokens.max() * 1.0001, SMOOTH + 1)
    which = np.digitize(tokens, edges)
    bins = np.unique(which)
    x = np.array([np.exp(np.log(tokens[which == b]).mean()) for b in bins])
    return x, np.array([loss[which == b].mean() for b in bins])
