"""Which runs share noise, and how large the noise of repeated seeds is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.tables.cells import repeats
from analysis.tables.levels import levels
from analysis.tables.runs import select
from analysis.tables.table import Table


def clusters(frame: Any) -> tuple[np.ndarray, str]:
    """Cluster index per row and what it is by: trunk where runs share one, else seed and size, else size.
    Runs of one cluster share noise (the same trunk, initialisation or batch order); where every run is a
    trunk of its own, as under cosine, trunks say nothing of that."""
    if "trunk_id" in frame.columns and frame["trunk_id"].notna().all():
        trunk = pd.factorize(frame["trunk_id"])[0]
        if "params" not in frame.columns or trunk.max(initial=-1) + 1 < len(frame):
            return trunk, "trunk"
    size = levels(frame["params"].to_numpy(float))
    if "seed" in frame.columns and frame["seed"].notna().all():
        return frame.groupby([size, frame["seed"].to_numpy()]).ngroup().to_numpy(), "seed and size"
    return pd.factorize(size)[0], "size"


def seed_noise(table: pd.DataFrame | Table, where: str | None = None) -> dict[str, Any] | None:
    """Pooled standard deviation of log loss over runs of one cell that differ only by seed, or None.

    A cell is size, tokens and all that was chosen (variant, learning rate, batch, context, ...); it counts
    when one of its runs has role ``noise``, or its fitted runs say that their seeds differ. ``apart``: the
    same over runs that differ by the seed of the initial weights alone (``init``) and by that of the order of
    data alone (``order``), where there are some of both; beside them ``evaluation``, the median of
    ``loss_se_eval`` over the loss. ``where``: the filter of the rows.
    """
    frame: Any = select(table, ("fit", "noise"), where=where, cells="all")[0]
    frame, cell = repeats(frame), ["cell"]
    pooled = _pooled(frame, cell)
    if pooled is None or not {"seed", "seed_order"} <= set(frame.columns):
        return pooled
    frame = frame.drop_duplicates([*cell, "seed", "seed_order"])  # a run trained twice differs by neither
    init, order = _pooled(frame, [*cell, "seed_order"]), _pooled(frame, [*cell, "seed"])
    if not (init and order):
        return pooled
    relative = (
        frame["loss_se_eval"] / frame["L"] if "loss_se_eval" in frame.columns else pd.Series(dtype=float)
    )
    evaluation = {"evaluation": float(relative.median())} if relative.notna().any() else {}
    return pooled | {"apart": {"init": init, "order": order}} | evaluation


def _pooled(frame: Any, by: list[str]) -> dict[str, Any] | None:
    """Pooled standard deviation of log loss within groups of rows that agree in the columns ``by``."""
    logs = np.log(frame["L"]).groupby([frame[name] for name in by])
    size, squares = logs.size(), logs.var(ddof=0)
    size, squares = size[size > 1], squares[size > 1]
    degrees = int((size - 1).sum())
    if not degrees:
        return None
    sd = float(np.sqrt((squares * size).sum() / degrees))
    return {"sd_log": sd, "degrees": degrees, "cells": len(size)}
