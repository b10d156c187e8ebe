"""Profiles: the objective with one parameter held, everything else solved again; and the bounds it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from analysis.fits.bootstrap import _draw
from analysis.fits.covariance import linear, noise_square, usable
from analysis.fits.edges import crossings, smoothed
from analysis.fits.summary import number
from analysis.solve.multistart import Solution, minimise
from analysis.solve.problem import Problem
from analysis.solve.starts import linear_start

POINTS = 33
PARTS = "not connected: some values between are worse"
WIDEST = 12.0  # standard errors to either side where a profile ends
FARTHEST = 60.0  # from the optimum, of a logarithm


@dataclass(frozen=True)
class Profile:
    """``objective`` over ``values`` of ``name``; ``low, high``: the outermost points where it has risen by
    ``threshold`` (None: it has not at that end of ``values``, and the parameter is open to that side).
    ``calibration`` in words; ``connected``: all values between the bounds are
    within the threshold."""

    name: str
    values: tuple[float, ...]
    objective: tuple[float, ...]
    best: float
    threshold: float
    low: float | None
    high: float | None
    level: float
    calibration: str
    connected: bool = True

    def __str__(self) -> str:
        low, high = ("open" if end is None else number(end) for end in (self.low, self.high))
        at = self.values[int(np.argmin(self.objective))]
        return (
            f"profile of {self.name}: least {self.best:.6g} at {number(at)}, {self.level:.0%} interval "
            f"[{low}, {high}] by {self.calibration}" + ("" if self.connected else f"; {PARTS}")
        )


def profile(
    problem: Problem,
    solution: Solution,
    name: str,
    *,
    level: float = 0.9,
    cluster: np.ndarray | None = None,
    simulations: int = 0,
    seed: int = 0,
) -> Profile:
    """Profile the objective over one free parameter, everything else solved again.

    A Huber objective is no likelihood and clusters share noise: with simulations the threshold is the
    ``level`` quantile of what the objective falls when the parameter is freed from the value that made the
    data. Without, it is that of t^2 times the robust noise square.

    Args:
        problem: the law on its rows.
        solution: its optimum.
        name: the parameter, by its full name.
        level: of the interval, between 0 and 1.
        cluster: index of each row's cluster (n,); left out: every row is one of its own.
        simulations: how many wild simulations calibrate the threshold; 0: none.
        seed: of the simulations.
    """
    i = problem.names.index(name)
    plain = problem.shift(solution.u, 1.0)
    pinned = replace(problem, fixed={**problem.fixed, name: float(problem.parameters(plain)[i])})
    degrees = max(len(problem.target) - int(problem.free.sum()), 1)
    threshold = 0.5 * float(stats.t.ppf(0.5 + level / 2, degrees)) ** 2 * noise_square(problem, solution.u)
    words = f"t({degrees})^2 x robust noise square"
    start = pinned.shift(plain, -1.0)
    if simulations:
        rows = np.arange(len(problem.target)) if cluster is None else cluster
        draw = _draw(problem, solution.u, rows, "wild-cluster", simulations, np.random.default_rng(seed))
        free = minimise(problem, np.repeat(solution.u[None], simulations, 0), draw=draw, steps=100)[1]
        held = minimise(pinned, np.repeat(start[None], simulations, 0), draw=draw, steps=100)[1]
        threshold = float(np.quantile(np.maximum(held - free, 0.0), level))
        words = f"{simulations} wild simulations, {int(rows.max()) + 1} clusters"
    at = _grid(problem, solution, i, plain[i])
    starts = np.repeat(start[None], len(at), 0)
    starts[:, i] = at
    anew = linear_start(pinned, pinned.parameters(pinned.shift(starts, 1.0)), pinned.y, pinned.w)
    both = [starts, np.array([pinned.coordinates(dict(zip(pinned.names, x, strict=True))) for x in anew])]
    both[1][:, i] = at
    ends, heights = (np.array(x) for x in zip(*(minimise(pinned, s)[:2] for s in both), strict=True))
    least = np.argmin(heights, axis=0)
    _, values = smoothed(pinned, i, at, ends[least, np.arange(len(at))], heights.min(0))
    best = min(solution.value, float(values.min()))
    natural = np.exp(at) if problem.in_log[i] else at
    low, high, whole = crossings(at, values - best - threshold)
    bounds = [None if x is None else float(np.exp(x) if problem.in_log[i] else x) for x in (low, high)]
    return Profile(
        name, tuple(natural.tolist()), tuple(values.tolist()), best, threshold, *bounds, level=level,
        calibration=words, connected=whole,
    )  # fmt: skip


def _grid(problem: Problem, solution: Solution, i: int, centre: float) -> np.ndarray:
    """Coordinates dense near the optimum and wide away from it, within the domain. The standard error is that
    of the parameter itself, not of its centred coordinate."""
    bread = linear(problem, solution.u)[3]
    free = np.flatnonzero(usable(problem, solution.u))
    unit = np.eye(len(problem.names))[free]
    gradient = (problem.shift(unit, 1.0) - problem.shift(np.zeros_like(unit), 1.0))[:, i]
    se = float(np.sqrt(max(gradient @ bread @ gradient, 0.0) * noise_square(problem, solution.u)))
    t = np.linspace(-1, 1, POINTS)
    low, high = problem._ends(problem.names[i], problem.base[i])
    if problem.law.terms and problem.in_log[i]:
        low, high = -50.0, 700.0
    step, most = WIDEST * (se if 0 < se < 1e3 else 1.0), FARTHEST
    if not (problem.law.terms or problem.in_log[i]):  # in units of its own
        step, most = min(WIDEST * se if 0 < se < np.inf else np.inf, high - low), np.inf
        step = step if np.isfinite(step) else WIDEST * max(abs(centre), 1.0)
    return np.unique(
        np.clip(centre + step * t * np.abs(t), max(low, centre - most), min(high, centre + most))
    )
