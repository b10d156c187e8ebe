"""Which rows of a fit share noise: their clusters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from analysis.tables.checks import positive
from analysis.tables.noise import clusters
from analysis.tables.table import about, tell

# of the steps of a single curve. In 120 simulated curves of 24 to 400 losses, noise independent or correlated
# over up to 6 % of the curve, 90 % intervals cover .89 to .98; of 12 to 24 blocks .84 to .99
BLOCKS = 8


def clustered(frame: Any, column: str | None) -> tuple[np.ndarray, str]:
    """Cluster index per row (n,) and what it is by: ``column``, without empty cells; left out: trunk, else
    seed and size, else size, and where that is one cluster, or unknown, the run."""
    if column is not None:
        return pd.factorize(frame[column])[0], column
    if "params" in frame.columns:
        sizes = np.asarray(pd.to_numeric(frame["params"], errors="coerce"), float)
        frame = frame.assign(params=sizes) if positive(sizes).all() else frame.drop(columns="params")
    by_trunk = "trunk_id" in frame.columns and frame["trunk_id"].notna().all()
    if len(frame) and (by_trunk or "params" in frame.columns):
        index, by = clusters(frame)
        return (index, by) if index.any() else (np.arange(len(frame)), f"run (all of one {by})")
    if (run := about(frame).run) is not None:  # rows are checkpoints
        return pd.factorize(frame[run])[0], run
    return np.arange(len(frame)), "run"


def along_curves(frame: Any, group: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Cluster index per row (n,) of training curves, and what it is by: the curve, and where no group (n,)
    has two of them, blocks of the steps of each, which a note says."""
    curve, part = pd.factorize(frame["curve"])[0], np.zeros(len(frame), int) if group is None else group
    several: Any = pd.Series(curve).groupby(part).nunique() > 1
    if several.any():
        return curve, "curve"
    position = frame.groupby(part)["step"].rank(method="first").to_numpy(int) - 1
    count = np.bincount(part)[part] if len(part) else part
    blocks = np.clip(count // 2, 1, BLOCKS)
    whose = "a single curve" if group is None else "a single curve in each group"
    note = (
        f"{whose}: intervals are by {blocks.max(initial=1)} blocks of its steps, and hold for this curve "
        "alone; another seed or schedule may lie outside; fit several curves to say more"
    )
    tell(frame, remarks=(*about(frame).remarks, note))
    return pd.factorize(part * BLOCKS + position * blocks // np.maximum(count, 1))[0], "block of steps"


def joint(cluster: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """Cluster index per row (n,), clusters that have a pair in common made one."""
    begin = int(cluster.max(initial=-1)) + 1  # of the pairs, which are nodes of the graph beside the clusters
    nodes = begin + int(pair.max(initial=-1)) + 1
    edges = coo_array((np.ones(len(pair)), (cluster, begin + pair)), shape=(nodes, nodes))
    return connected_components(edges, directed=False)[1][cluster]
