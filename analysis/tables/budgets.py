"""Which runs of a table share a budget of compute."""

from __future__ import annotations

from typing import Any

import numpy as np

SAME_BUDGET = 0.15  # width in log10 C of the runs that share a budget, where no column says


def budgets(frame: Any) -> np.ndarray:
    """A budget (FLOPs) per row of a selected table: its column ``budget``, else clusters of log10 C."""
    if "budget" in frame.columns and frame["budget"].notna().all():
        return frame["budget"].to_numpy(float)
    c = np.log10(frame["C"].to_numpy(float))
    order = np.argsort(c, kind="stable")
    out = np.empty(len(c))
    for rows in _split(c, order):
        out[rows] = float(f"{10.0 ** np.mean(c[rows]):.6g}")
    return out


def separate(frame: Any) -> bool:
    """Whether the compute of a selected table comes in budgets: a column says so, or groups of like compute
    are no wider than half the gaps between them, which those of checkpoints or of many grids are not."""
    if "budget" in frame.columns and frame["budget"].notna().all():
        return True
    c, budget = np.log10(frame["C"].to_numpy(float)), budgets(frame)
    ends = np.array([(c[budget == b].min(), c[budget == b].max()) for b in np.unique(budget)])
    if len(ends) < 2:
        return len(ends) == 1
    return bool(np.median(np.ptp(ends, axis=1)) <= 0.5 * np.median(ends[1:, 0] - ends[:-1, 1]))


def _split(c: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """Groups of sorted rows no wider than ``SAME_BUDGET``, split at the widest gaps."""
    done, todo = [], [order]
    while todo:
        rows = todo.pop()
        if len(rows) < 2 or c[rows[-1]] - c[rows[0]] <= SAME_BUDGET:
            done.append(rows)
            continue
        cut = int(np.argmax(np.diff(c[rows]))) + 1
        todo += [rows[:cut], rows[cut:]]
    return done
