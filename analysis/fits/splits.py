"""Columns of few values that split a table: what a law through all of it leaves over follows them.

The residuals are regressed on a quadratic in the logs of the inputs, then on that and the values of a column:
an F test, and the share of squares that the values explain. Where no size has several of the values, runs of
one size count as one, as they may share noise. Columns that explain too little alone may do so together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import f as f_distribution

from analysis.errors import Argument
from analysis.fits.diagnostics import MAD
from analysis.results import Split
from analysis.tables.cells import factors, joined, same_cells, set_apart
from analysis.tables.expressions import quoted
from analysis.tables.where import literal

SHARE = 0.2  # of the squares of residuals that columns must explain
MORE = 0.01  # of the squares that a further column must explain
LEVEL = 1e-4  # of the test, over all columns
ROWS = 3  # of a value, to be tested
CROSSED = 0.25  # of the rows that share a size with other values, to be compared there
CLIPPED = 10.0  # robust standard deviations: beyond, a residual counts as if it were there


def splits(
    frame: Any, inputs: Mapping[str, np.ndarray], left: np.ndarray, used: Collection[str]
) -> tuple[Split, ...]:
    """Columns that split the rows, those that explain most first; where none does alone, several together.

    Args:
        frame: rows, with columns N, D where known.
        inputs: of the law, each (n,).
        left: residuals (n,); of a law that could not be fitted the logs of the target.
        used: columns that the fit takes account of.
    """
    surface = surface_of(list(inputs.values()))
    if len(left) < 2 * ROWS + surface.shape[1] or not np.ptp(left) > 0:
        return ()
    left = left - np.median(left)
    scale = CLIPPED * MAD * np.median(np.abs(left))
    left = np.clip(left, -scale, scale) if scale > 0 else left
    columns = [c for c in (*factors(frame), *set_apart(frame)) if c not in used]

    def split(*names: str) -> Split | None:
        return _split(frame, names, inputs, surface, left, LEVEL / len(columns))

    found = sorted(filter(None, map(split, columns)), key=lambda one: -one.share)
    alone = tuple(one for one in found if one.share >= SHARE)
    if alone or len(found) < 2:
        return alone
    whole = found[0]
    for one in found[1:]:
        both = split(*whole.columns, *one.columns)
        whole = both if both and both.share >= whole.share + MORE else whole
    return (whole,) if whole.share >= SHARE else ()


def surface_of(inputs: list[np.ndarray]) -> np.ndarray:
    """Columns 1, the logs of the inputs, their squares and products (n, k)."""
    logs = [np.log(v) for v in inputs if (v > 0).all() and np.ptp(v) > 0]
    logs = [v - v.mean() for v in logs]
    pairs = [a * b for i, a in enumerate(logs) for b in logs[i:]]
    return np.column_stack([np.ones(len(inputs[0])), *logs, *pairs])


def _split(
    frame: Any, columns: tuple[str, ...], inputs: Mapping[str, np.ndarray], surface: np.ndarray,
    left: np.ndarray, level: float,
) -> Split | None:  # fmt: skip
    """What the values of these columns explain; None where it may be chance, or they class the inputs."""
    codes, first = joined(frame, columns)
    counts = np.bincount(codes)
    kept = counts[codes] >= ROWS
    compared = [v[kept] for v in inputs.values()]
    if {"N", "D"} <= set(inputs):
        compared.append((inputs["N"] * inputs["D"])[kept])
    if len(np.unique(codes[kept])) < 2 or any(_classed(codes[kept], v) for v in compared):
        return None
    sizes = frame["N"] if "N" in frame.columns else next(iter(inputs.values()))
    size = pd.factorize(np.asarray(sizes))[0][kept]
    numeric = all(pd.api.types.is_numeric_dtype(frame[c].dtype) for c in columns)
    at = same_cells(frame)[kept] if numeric else size
    codes, surface, left = codes[kept], surface[kept], left[kept]
    if _crossed(at, codes) < CROSSED:
        if numeric or _named(size, codes):
            return None
        codes, surface, left = _means(size, codes, surface, left)
    share, p = _explained(surface, codes, left)
    if p > level:
        return None
    most = frame.iloc[first[int(np.argmax(counts))]]
    values = {c: literal(_plain(most[c])) for c in columns}
    return Split(columns, int((counts >= ROWS).sum()), share, values)


def _plain(value: Any) -> str | float | bool | None:
    """The value as a filter has it."""
    if pd.isna(value):
        return None
    return (
        bool(value)
        if isinstance(value, (bool, np.bool_))
        else value
        if isinstance(value, str)
        else float(value)
    )


def _means(
    size: np.ndarray, codes: np.ndarray, surface: np.ndarray, left: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row for each size and code."""
    pairs, group = np.unique(np.column_stack([size, codes]), axis=0, return_inverse=True)
    group = group.ravel()
    times = np.bincount(group)
    means = np.column_stack([np.bincount(group, v) / times for v in (*surface.T, left)])
    return pairs[:, 1], means[:, :-1], means[:, -1]


def _explained(surface: np.ndarray, codes: np.ndarray, left: np.ndarray) -> tuple[float, float]:
    """The share of the squares about a surface that the codes explain, and p of the F test."""
    dummies = (codes[:, None] == np.unique(codes)[1:]).astype(float)
    squares, ranks = [], []
    for design in (surface, np.column_stack([surface, dummies])):
        solution, _, rank, _ = np.linalg.lstsq(design, left, rcond=None)
        squares.append(float(np.sum((left - design @ solution) ** 2)))
        ranks.append(int(rank))
    more, degrees = ranks[1] - ranks[0], len(left) - ranks[1]
    if more < 1 or degrees < 1 or not squares[0] > 0:
        return 0.0, 1.0
    ratio = (squares[0] - squares[1]) / more / max(squares[1] / degrees, np.finfo(float).tiny)
    return 1 - squares[1] / squares[0], float(f_distribution.sf(ratio, more, degrees))


def _classed(codes: np.ndarray, v: np.ndarray) -> bool:
    """Whether values only say in which range an input lies, as classes of size do."""
    ends = sorted((v[codes == code].min(), v[codes == code].max()) for code in np.unique(codes))
    return all(high < low for (_, high), (low, _) in pairwise(ends))


def _crossed(cell: np.ndarray, codes: np.ndarray) -> float:
    """The share of rows that share a cell with another value."""
    values: Any = pd.Series(codes).groupby(cell).transform("nunique")
    return float((values > 1).mean())


def _named(size: np.ndarray, codes: np.ndarray) -> bool:
    """Whether most rows have a value that belongs to one size alone: it is a name for the size."""
    sizes: Any = pd.Series(size).groupby(codes).transform("nunique")
    return float((sizes == 1).mean()) > 0.5


def advice(split: Split) -> tuple[str | Argument, ...]:
    """What a reader must know of a split, and what to type."""
    names = ", ".join(f"`{c}`" for c in split.columns)
    one = len(split.columns) == 1
    where = " and ".join(f"{quoted(c)} == {value}" for c, value in split.most.items())
    groups = (", or give each coefficients of its own, ", Argument("groups", split.columns[0])) if one else ()
    return (
        f"{names} split{'s' if one else ''} this table: {'its' if one else 'their'} {split.values} values "
        f"explain {split.share:.0%} of what the law leaves over, so that one law does not describe them all; "
        "fit one of them, ",
        Argument("where", where),
        *groups,
    )
