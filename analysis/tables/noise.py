"""Which runs share noise, and how large the noise of repeated seeds is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from analysis.tables.cells import repeats
from analysis.tables.levels import levels
from analysis.tables.runs import select
from analysis.tables.table import Table

SEEDS = ("seed", "seed_order")
ROUNDING = 1e-9  # relative: eigenvalues that are none


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
    """Standard deviation of log loss between runs of one cell that differ only by seed, pooled over cells, or
    None; ``where``: the filter of the rows.

    A cell is size, tokens and all that was chosen (variant, learning rate, batch, context, ...); it counts
    when one of its runs has role ``noise``, or its fitted runs say that their seeds differ. See
    :func:`noise_between`.
    """
    return noise_between(repeated(table, where))


def repeated(table: pd.DataFrame | Table, where: str | None = None) -> pd.DataFrame:
    """The rows that say how much seeds do, with the index of their ``cell``."""
    return repeats(select(table, ("fit", "noise"), where=where, cells="all")[0])


def noise_between(frame: Any) -> dict[str, Any] | None:
    """Standard deviation of log loss between the runs of each ``cell``, pooled, or None.

    ``apart``: the same over runs that differ by the seed of the initial weights alone (``init``) and by that
    of the order of data alone (``order``), where there are some of both; beside them ``evaluation``, the
    median of ``loss_se_eval`` over the loss. Where runs share one of the two they differ by less than runs of
    other seeds do, and :func:`_between` makes up for it.
    """
    pooled = _pooled(frame, ["cell"])
    if pooled is None or not {*SEEDS} <= set(frame.columns):
        return pooled
    # a run trained twice differs by neither
    frame = frame.dropna(subset=[*SEEDS]).drop_duplicates(["cell", *SEEDS])
    init, order = _pooled(frame, ["cell", "seed_order"]), _pooled(frame, ["cell", "seed"])
    if init or order:
        pooled = _between(frame)
    if not (init and order):
        return pooled
    relative = (
        frame["loss_se_eval"] / frame["L"] if "loss_se_eval" in frame.columns else pd.Series(dtype=float)
    )
    evaluation = {"evaluation": float(relative.median())} if relative.notna().any() else {}
    return pooled | {"apart": {"init": init, "order": order}} | evaluation


def _between(frame: Any) -> dict[str, Any]:
    """Standard deviation of log loss between runs that share neither seed, of cells whose runs share some.

    A log loss is its cell's plus an effect of each of its seeds. The variances of both are estimated as
    MINQUE does at equal ones, without bias (Rao 1971, J. Multivariate Analysis 1, 257), and summed;
    ``degrees`` are Satterthwaite's, to the nearest whole. A seed that never differs adds nothing.
    """
    cells = [_Cell.of(rows) for _, rows in frame.groupby("cell") if len(rows) > 1]
    expected = np.sum([np.einsum("iab,jba->ij", one.forms, one.alike) for one in cells], axis=0)
    inverse = np.linalg.pinv(expected, rcond=ROUNDING, hermitian=True)
    squares = np.sum([one.forms @ one.logs @ one.logs for one in cells], axis=0)
    weights, parts = inverse.sum(axis=0), np.maximum(inverse @ squares, 0.0)
    parts = parts if parts.any() else np.ones(2)
    products = [np.tensordot(weights, one.forms, 1) @ np.tensordot(parts, one.alike, 1) for one in cells]
    degrees = sum(map(np.trace, products)) ** 2 / sum(np.trace(one @ one) for one in products)
    sd = float(np.sqrt(weights @ squares))
    return {"sd_log": sd, "degrees": max(round(float(degrees)), 1), "cells": len(cells)}


@dataclass(frozen=True)
class _Cell:
    """Of n runs: log losses over that of the first (n,), which of them are ``alike`` in each seed (2, n, n),
    and the quadratic ``forms`` (2, n, n) of log losses that say most of the two variances where these are
    equal."""

    logs: np.ndarray
    alike: np.ndarray
    forms: np.ndarray

    @classmethod
    def of(cls, rows: Any) -> Self:
        seeds = [rows[name].to_numpy() for name in SEEDS]
        alike = np.array([np.equal.outer(seed, seed) for seed in seeds], float)
        centre = np.eye(len(rows)) - 1 / len(rows)
        inverse = np.linalg.pinv(centre @ alike.sum(axis=0) @ centre, rcond=ROUNDING, hermitian=True)
        losses = rows["L"].to_numpy(float)
        return cls(np.log(losses / losses[0]), alike, inverse @ alike @ inverse)


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
