"""The cells of a sweep: what was swept in them, and the basin of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Argument, Complaint, plural
from analysis.hyperparameters import quadratic
from analysis.tables.cells import joined, near, tuned

TOKENS = "tokens"


def levelled(frame: Any, by: Sequence[str]) -> Any:
    """The rows with the mean tokens of their cell, where cells are told apart by tokens: batches of several
    sizes end a little apart."""
    if TOKENS not in by:
        return frame
    others = [x for x in by if x != TOKENS and not tuned(x)]
    tokens, (other, _) = frame[TOKENS].to_numpy(float), joined(frame, others)
    cell = near(other, tokens, np.zeros(len(frame), int))
    return frame.assign(**{TOKENS: (np.bincount(cell, tokens) / np.bincount(cell))[cell]})


def swept(
    frame: Any, columns: Mapping[str, str], by: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The columns that vary in some cell, and a note of those that do not. Raises AnalysisError for none."""
    values = {name: frame.groupby(list(by))[column].nunique() for name, column in columns.items()}
    varied = {name: column for name, column in columns.items() if (values[name] > 1).any()}
    held = [column for name, column in columns.items() if name not in varied]
    if not varied:
        raise AnalysisError(
            f"{', '.join(held)}: one value in every cell by {', '.join(by)}, so that there is nothing to "
            "tune; name columns that were swept (lr, batch), or coarser cells (by)"
        )
    return varied, tuple(f"{c} has one value in every cell: it is held, not tuned" for c in held)


def none_inside(cells: Any) -> Complaint:
    """Why there is no law: no cell has its optimum inside what was swept."""
    reasons = Counter(f"{row['verdict']}: {row['reason']}" for row in cells.to_dict("records"))
    shown = "; ".join(f"{n} {reason}" for reason, n in reasons.most_common(3))
    hint: Any = "sweep more values in each cell"
    if (cells["verdict"] == "edge").any():
        hint = "sweep wider there, or let optima at an end in, which are bounds: ", Argument("edges", True)
    return Complaint(f"none of {plural(len(cells), 'cell')} has an interior optimum ({shown})", hint=hint)


def basins_of(
    frame: Any, columns: Mapping[str, str], by: tuple[str, ...], method: str,
    window: float | None, span: float, tolerance: float,
) -> tuple[Any, pd.DataFrame, Any]:  # fmt: skip
    """Find the basin of each cell; the columns of all that is given and found as
    :class:`analysis.hyperparameters.basins.Basins` says.

    Args:
        frame: the runs, with L.
        columns: those that were swept, by ``lr`` and ``batch``.
        by: columns that tell cells apart.
        method: how an optimum is found.
        window: relative loss above the best up to which runs enter a quadratic.
        span: the share of a cell's runs that a local quadratic weighs.
        tolerance: relative excess loss of the factors.

    Returns:
        The cells, their runs, and the Hessian of each cell.
    """
    names, rows, runs, bends = tuple(columns), [], [], []
    for index, (key, part) in enumerate(frame.groupby(list(by), sort=True)):
        x, y = np.log(part[list(columns.values())].to_numpy(float)), np.log(part["L"].to_numpy(float))
        basin = quadratic.find(x, y, names, method, window, span)
        factor = basin.factor(tolerance)
        row = dict(zip(by, key, strict=True)) | {
            "cell": str(index), "runs": len(y), "used": int(basin.used.sum()), "verdict": basin.verdict,
            "reason": basin.reason, "loss": basin.loss, "best": float(np.exp(y.min())), "noise": basin.noise,
        }  # fmt: skip
        for i, name in enumerate(names):
            row |= {name: float(np.exp(basin.at[i])), f"{name}_se": float(np.sqrt(basin.covariance[i, i])),
                    f"{name}_factor": float(factor[i]), f"{name}_from": float(np.exp(x[:, i].min())),
                    f"{name}_to": float(np.exp(x[:, i].max()))}  # fmt: skip
        rows.append(row)
        bends.append(basin.hessian.tolist())
        tuned = {name: np.exp(x[:, i]) for i, name in enumerate(names)}
        runs.append(pd.DataFrame({"cell": index, **tuned, "loss": np.exp(y), "used": basin.used}))
    return pd.DataFrame(rows), pd.concat(runs, ignore_index=True), _tuples(bends)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
