"""Losses of several kinds in one column: each N and D has as many, far apart, and each kind is smooth.

That is what a table of several evaluation sets looks like, stacked one below the other. No law of N and D
goes through such a column; a constant may fit it as well as any.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import some
from analysis.fits.splits import surface_of
from analysis.solve.problem import Problem

MOST = 8  # losses of one cell, more of which are repeats
FILLED = 0.8  # of the rows that are in cells of one number of losses
APART = 4.0  # times as far from one another as each kind from a surface; seeds come to 2.5


def stacked(problem: Problem, frame: Any) -> tuple[str, str] | None:
    """What several kinds of losses in one column are, and what to do; None where there are none, or groups
    tell them apart.

    Args:
        problem: the law on its rows.
        frame: the rows (n,), with columns N, D where known.
    """
    if problem.group is not None:
        return None
    inputs, left = problem.inputs, problem.y
    known = [frame[x].to_numpy(float) for x in "ND" if x in frame.columns and x not in inputs]
    cell = np.unique(np.column_stack([*inputs.values(), *known]), axis=0, return_inverse=True)[1].ravel()
    counts = np.bincount(cell)
    number = int(np.bincount(counts[counts > 1]).argmax()) if (counts > 1).any() else 0
    rows = np.flatnonzero(counts[cell] == number)
    if not 2 <= number <= MOST or len(rows) < FILLED * len(cell):
        return None
    rows = rows[np.lexsort((left[rows], cell[rows]))].reshape(-1, number)  # of each cell, in rising order
    shape = surface_of([v[rows[:, 0]] for v in inputs.values()])
    if len(rows) < 2 * shape.shape[1]:
        return None
    losses = left[rows]
    smooth = shape @ np.linalg.lstsq(shape, losses, rcond=None)[0]
    degrees = number * (len(rows) - shape.shape[1])
    strays = float(np.sqrt(((losses - smooth) ** 2).sum() / degrees))
    apart = float(np.sqrt(losses.var(axis=1, ddof=1).mean()))
    if not apart > APART * strays:
        return None
    at, unit = " and ".join(inputs), ("{:.2g}" if problem.loss.raw else "{:.2%}").format
    why = (
        f"each {at} has {number} values of the loss {unit(apart)} apart, while those of one kind stray "
        f"{unit(strays)} from a smooth surface: the table stacks several kinds of losses, as of evaluation "
        "sets, corpora or settings"
    )
    if names := _naming(frame, rows):
        column = names[0]
        return why, (
            f"{some(map(repr, names))} says which is which: fit one of them (where), or give each "
            f"coefficients of its own (groups={column!r})"
        )
    return why, "add a column that says which is which, and fit one of them (where, groups), or their mean"


def _naming(frame: Any, rows: np.ndarray) -> list[str]:
    """Columns whose values tell the losses of every cell apart, the same ones in each."""
    names = []
    for column in map(str, frame.columns):
        codes = pd.factorize(frame[column].astype(str))[0][rows]
        if len(np.unique(codes)) == rows.shape[1] and (np.sort(codes, axis=1) == np.unique(codes)).all():
            names.append(column)
    return names
