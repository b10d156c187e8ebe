"""From draws to intervals: of parameters and derived quantities, of a law, of a new run."""

from __future__ import annotations

import numpy as np
from scipy import stats

from analysis.fits import edges
from analysis.results import Interval
from analysis.solve.multistart import on_edge
from analysis.solve.problem import FLOOR, Problem

NORMAL = 1.6449  # standard deviations of a normal distribution in half of its central 90 %


def of_parameters(
    problem: Problem, u: np.ndarray, draws: np.ndarray, cluster: np.ndarray, *, level: float, degrees: int
) -> dict[str, Interval]:
    """Give the interval of every parameter: from replicates, and of one on the edge of its domain by profile.

    Args:
        problem: the law on its rows.
        u: the optimum (P,), centred.
        draws: its replicates (R, P), plain coordinates.
        cluster: index of each row's cluster (n,).
        level: of the intervals, between 0 and 1.
        degrees: degrees of freedom of Student's t.

    Returns:
        Intervals in the parameters' own units, by full name.
    """
    point, many, out = problem.parameters(problem.shift(u, 1.0)), problem.parameters(draws), {}
    for i, name in enumerate(problem.names):
        log = bool(problem.in_log[i] or (point[i] > 0 and problem.positive[i]))
        low, high = interval(float(point[i]), many[:, i], level, degrees, log=log)
        if not problem.law.terms and problem.free[i]:  # the law may not be defined at the stretched ends
            ends = problem.ends(name, problem.base[i])
            low, high = max(low, ends[0]), min(high, ends[1])
        elif problem.law.terms.get(problem.base[i]) == {} and low < FLOOR * problem.smallest:
            low = 0.0
        out[name] = Interval(low, high)
    if on_edge(problem, u).any():
        out |= edges.bounds(problem, u, cluster, level=level, degrees=degrees)
    return out


def interval(
    estimate: float, replicates: np.ndarray, level: float, degrees: int, *, log: bool = True
) -> Interval:
    """Give the percentile interval about an estimate, deviations stretched by t(degrees)/z.

    Args:
        estimate: the value.
        replicates: of it (R,).
        level: of the interval, between 0 and 1.
        degrees: degrees of freedom of Student's t.
        log: whether deviations are taken in logs, for what is positive.
    """
    low, high = intervals(np.array([estimate]), replicates[:, None], level, degrees, log=log)
    return Interval(float(low[0]), float(high[0]))


def intervals(
    estimates: np.ndarray, replicates: np.ndarray, level: float, degrees: int, *, log: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Give percentile intervals about many estimates, deviations stretched by t(degrees)/z.

    Args:
        estimates: the values (m,).
        replicates: of them (R, m).
        level: of the intervals, between 0 and 1.
        degrees: degrees of freedom of Student's t.
        log: whether deviations are taken in logs; of an estimate of 0 the interval then begins at 0.

    Returns:
        Lower and upper bounds, (m,) each.
    """
    tail = 0.5 * (1 - level)
    stretch = float(stats.t.ppf(1 - tail, degrees) / stats.norm.ppf(1 - tail))
    if not log:
        low, high = np.quantile(replicates - estimates, [tail, 1 - tail], axis=0) * stretch
        return estimates + np.minimum(low, 0.0), estimates + np.maximum(high, 0.0)
    zero = estimates <= 0
    centre = np.where(zero, 1.0, estimates)
    with np.errstate(divide="ignore", over="ignore", under="ignore"):
        deviations = np.log(np.maximum(replicates, 1e-300)) - np.log(centre)
        low, high = np.quantile(deviations, [tail, 1 - tail], axis=0) * stretch
        low, high = (
            centre * np.exp(np.maximum(np.minimum(low, 0), -700)),
            centre * np.exp(np.minimum(np.maximum(high, 0), 700)),
        )
    return np.where(zero, 0.0, low), np.where(zero, np.quantile(replicates, 1 - tail, axis=0), high)


def new_run(
    estimates: np.ndarray, replicates: np.ndarray, sd: float | np.ndarray, level: float, degrees: int, *,
    log: bool = True,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Give bounds of a new run's value, which varies about its law.

    Args:
        estimates: the law (m,).
        replicates: of it (R, m).
        sd: standard deviation of a run about its law, of the log where ``log``: one or (m,).
        level: of the intervals, between 0 and 1.
        degrees: degrees of freedom of Student's t.
        log: whether deviations are taken in logs.

    Returns:
        Lower and upper bounds, (m,) each.
    """
    with np.errstate(all="ignore"):
        deviations = np.log(replicates) - np.log(estimates) if log else replicates - estimates
    law = np.sqrt(np.mean(deviations**2, axis=0))
    reach = stats.t.ppf(0.5 + level / 2, degrees) * np.hypot(law, sd)
    if log:
        return estimates * np.exp(-reach), estimates * np.exp(reach)
    return estimates - reach, estimates + reach
