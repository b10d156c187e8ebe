"""Runs of two variants side by side. Variants share cells, seeds and orders of data, so that what luck they
have in common falls out of their differences: these come before any law."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.fits.sharing import clustered, joint
from analysis.results import Interval, Part
from analysis.tables.cells import near

# what runs of one cell have in common, the preferred first: a variant may change what a size costs, or is
SHAPES = (("params",), ("depth", "width"), ("width",), ("depth",))
AMOUNTS = {"flops": "C", "tokens": "D"}
DATA = ("unique_tokens", "context")  # that an axis may vary, in which case a pair has the same of it
SEEDS = ("seed", "seed_order")
PAIR = "pair"  # the column of pairs that a frame is given


@dataclass(frozen=True)
class Matched:
    """``frame``: the runs of two variants with a column ``PAIR``, the same for runs of one cell, seed and
    order of data; ``alike``: the columns that say so; ``count`` of pairs."""

    frame: Any
    alike: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Difference(Part):
    """Of log loss between ``pairs`` of runs, in ``clusters``: the ``mean``, what it changes by with ten times
    the compute (``slope``; None: all pairs have about the same), both with intervals at ``level``; ``sd`` of
    a pair about them. ``alike``: what the runs of a pair have in common. Negative: the variant is better."""

    pairs: int
    clusters: int
    alike: tuple[str, ...]
    level: float
    mean: float
    ends: Interval
    slope: float | None
    slope_ends: Interval | None
    sd: float

    @property
    def within(self) -> float:
        """The least x for which the interval lies inside +-x."""
        return max(map(abs, self.ends))


def match(frame: Any, column: str, reference: str, other: str) -> Matched:
    """Find the pairs of two variants, by the columns that give most of them.

    Args:
        frame: rows of runs that ended well, with N, D, C, L.
        column: the column of variants.
        reference: one variant.
        other: the other.
    """
    frame = frame[frame[column].isin([reference, other])]
    seeds = [x for x in SEEDS if x in frame.columns and frame[x].notna().all()]
    varied = [x for x in DATA if x in frame.columns and frame[x].notna().all() and frame[x].nunique() > 1]
    best = Matched(frame.assign(**{PAIR: np.arange(len(frame))}), (), 0)
    ways = product(SHAPES, ([], varied) if varied else ([],), AMOUNTS.items())
    for shape, data, (amount, letter) in ways:
        if not set(shape) <= set(frame.columns) or not frame[list(shape)].notna().all(axis=None):
            continue
        apart = frame.groupby([*shape, *data, *seeds]).ngroup().to_numpy()
        code = near(np.ones(len(frame)), frame[letter].to_numpy(float), apart)
        variants: Any = pd.Series(frame[column].to_numpy()).groupby(code).nunique()
        count = int((variants == 2).sum())
        if count > best.count:
            best = Matched(frame.assign(**{PAIR: code}), (*shape, amount, *data, *seeds), count)
    return best


def difference(matched: Matched, column: str, reference: str, other: str, level: float) -> Difference | None:
    """Compare the paired runs; None for fewer than two pairs.

    Args:
        matched: the runs, as :func:`match` gives them.
        column: the column of variants.
        reference: the variant that the other is compared with.
        other: the other.
        level: of the intervals.
    """
    if matched.count < 2:
        return None
    logs = np.log(matched.frame["L"].to_numpy(float))
    pairs = paired(matched, column, logs)
    gap = (pairs.y[other] - pairs.y[reference]).to_numpy()
    x, cluster = np.log10(pairs.compute), pairs.cluster
    trend = len(np.unique(x.round(2))) > 1 and len(gap) > 2
    design = np.column_stack([np.ones(len(gap)), x - x.mean()][: 1 + trend])
    estimate, errors, degrees, left = regression(design, gap, cluster)
    reach = stats.t.ppf(0.5 + level / 2, degrees) * errors
    ends = [Interval(float(b - r), float(b + r)) for b, r in zip(estimate, reach, strict=True)]
    return Difference(
        len(gap), len(np.unique(cluster)), matched.alike, level, float(estimate[0]), ends[0],
        float(estimate[1]) if trend else None, ends[1] if trend else None,
        float(np.sqrt(left @ left / max(len(gap) - design.shape[1], 1))),
    )  # fmt: skip


@dataclass(frozen=True)
class Pairs:
    """``y``: a row for each pair with runs of both variants, a column for each; ``compute`` (m,) and
    ``cluster`` (m,) of the pairs."""

    y: Any
    compute: np.ndarray
    cluster: np.ndarray


def paired(matched: Matched, column: str, values: np.ndarray) -> Pairs:
    """The mean of ``values``, one for each row, of each pair and variant."""
    frame = matched.frame
    cluster = joint(clustered(frame, None)[0], pd.factorize(frame[PAIR])[0])
    rows: Any = pd.DataFrame({"value": values, "compute": frame["C"].to_numpy(float), "cluster": cluster})
    rows = rows.assign(pair=frame[PAIR].to_numpy(), variant=frame[column].to_numpy())
    y = rows.groupby(["pair", "variant"])["value"].mean().unstack().dropna()
    whole = rows.groupby("pair").agg({"compute": "mean", "cluster": "first"}).loc[y.index]
    return Pairs(y, whole["compute"].to_numpy(float), whole["cluster"].to_numpy())


def regression(
    design: np.ndarray, y: np.ndarray, cluster: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Least squares whose standard errors are a jackknife's over clusters, or over rows where those say more:
    a few clusters whose residuals happen to cancel would else look precise.

    Args:
        design: the columns (n, k).
        y: responses (n,).
        cluster: index of each row's cluster (n,).

    Returns:
        Coefficients (k,), their standard errors (k,), degrees of freedom, residuals (n,).
    """
    estimate = np.linalg.lstsq(design, y, rcond=None)[0]
    rows = np.arange(len(y))
    by_rows = _jackknife(design, y, rows, estimate)
    count = len(np.unique(cluster))
    alone = count < 2 or count == len(y)
    variance = by_rows if alone else np.maximum(by_rows, _jackknife(design, y, cluster, estimate))
    degrees = len(y) - design.shape[1] if alone else count - 1
    return estimate, np.sqrt(variance), max(degrees, 1), y - design @ estimate


def _jackknife(design: np.ndarray, y: np.ndarray, cluster: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """The variance (k,) of ``estimate`` over clusters left out in turn; inf where one of them alone gives a
    coefficient."""
    groups, total = np.unique(cluster), np.zeros(len(estimate))
    for group in groups:
        kept = cluster != group
        if np.linalg.matrix_rank(design[kept]) < design.shape[1]:
            return np.full(len(estimate), np.inf)
        total += (np.linalg.lstsq(design[kept], y[kept], rcond=None)[0] - estimate) ** 2
    return total * (len(groups) - 1) / len(groups)
