"""What a run costs: C = D times FLOPs per token, which are a function of N.

- :class:`Power`, kappa N^gamma: 6 N D by convention, and wherever a table's compute is exactly a power.
- :class:`Known`: counted, by a function of N or from the shapes in the table (:mod:`analysis.fits.shapes`).
- :class:`Curve`: fitted to the compute of a table (:mod:`analysis.fits.rate_curve`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.errors import AnalysisError
from analysis.fits.rate_curve import Curve, curve_through
from analysis.fits.rates import Function, Known, Power, nearest_power, off
from analysis.results import Interval

BEYOND = 1e4  # times the table's range of sizes, within which an optimum is looked for
KNOTS = 241  # at which a function is kept
EXACT = 1e-4  # largest relative error of a power that is exact

Cost = Power | Known | Curve


def fitted(n: np.ndarray, d: np.ndarray, c: np.ndarray) -> Cost:
    """The cost of runs: a power where that is exact, else a curve."""
    power = nearest_power(n, d, c)
    return power if power.misfit < EXACT else curve_through(power, n, d, c) or power


def counted(
    rate: Function, n: np.ndarray, d: np.ndarray, c: np.ndarray, source: str = "as given by a function of N"
) -> Known:
    """Take FLOPs per token from a function of N, beside the table's runs.

    Args:
        rate: gives the FLOPs per token of sizes N (m,).
        n: sizes of the table's runs.
        d: their tokens.
        c: their FLOPs.
        source: how the values were counted.

    Raises:
        AnalysisError: the function takes no array, or its values do not rise, or leave out a size of the
            table.
    """
    ends = n.min(), n.max()
    size = np.union1d(ends, np.geomspace(ends[0] / BEYOND, ends[1] * BEYOND, KNOTS))
    try:
        value = np.broadcast_to(np.asarray(rate(size), float), size.shape)
    except (TypeError, ValueError) as error:
        raise AnalysisError(
            f"cost: the function does not take an array of N and give FLOPs per token of each ({error})"
        ) from error
    good = np.isfinite(value) & (value > 0)
    return tabulated(size[good], value[good], n, d, c, source)


def tabulated(
    size: np.ndarray,
    value: np.ndarray,
    n: np.ndarray,
    d: np.ndarray,
    c: np.ndarray,
    source: str,
    beyond: str = "",
) -> Known:
    """FLOPs per token ``value`` at models of rising ``size``, beside the table's runs ``n, d, c``.

    Args:
        size: numbers of parameters (m,), rising.
        value: FLOPs per token of each.
        n: sizes of the table's runs.
        d: their tokens.
        c: their FLOPs.
        source: how the values were counted.
        beyond: what they rest on beyond the sizes of the table, empty where on nothing else.

    Raises:
        AnalysisError: the values do not rise, or leave out a size of the table.
    """
    if len(size) < 2 or size[0] > n.min() or size[-1] < n.max():
        raise AnalysisError(
            f"cost: FLOPs per token must be finite and positive from N = {n.min():.3g} to {n.max():.3g}, the "
            "sizes of the table"
        )
    falls = np.flatnonzero(np.diff(value) <= 0)
    if len(falls):
        at = falls[0]
        raise AnalysisError(
            f"cost: FLOPs per token must rise with N, but are {value[at]:.4g} at N = {size[at]:.4g} and "
            f"{value[at + 1]:.4g} at {size[at + 1]:.4g}"
        )
    power, sizes = nearest_power(n, d, c), Interval(float(n.min()), float(n.max()))
    points = tuple(zip(size.tolist(), value.tolist(), strict=True))
    found = Known(power.kappa, power.gamma, 0.0, source, beyond, sizes, points)
    return replace(found, misfit=off(found, n, d, c))
