"""Replicates of a fit that respect clusters: runs of one trunk or size share noise.

Many clusters: they are drawn with replacement (pairs cluster bootstrap, percentile). Fewer than ``MANY``:
that is too wide and yet misses (Cameron, Gelbach & Miller 2008), so the clusters' residuals, adjusted for
leverage as a jackknife does (CR3; Bell & McCaffrey 2002), are multiplied by Webb's six-point weights.
Deviations are stretched by t(G - 1) / z. In ``benchmarks/coverage.py``, nominal 90 %, 2,000 tables in each of
12 cells (6 x 5, 8 x 8 and Chinchilla's 240 runs; noise independent, heavy-tailed, by size, by trunk), for
alpha, beta, E, a, and law and new run at 10x compute, the default covers 88 to 96 %, at a median 1.0
(Chinchilla) to 1.9 times the oracle's width. A parameter that 6 clusters identify in few tables is covered
less in those (docs/reference/fitting.md).

Every method gives draws of the coordinates, so that parameters, derived quantities and predictions have their
intervals in one way. The analytic ones (cr3, cr2) draw from their normal distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.stats import qmc

from analysis.fits.covariance import (
    adjusted,
    hessian,
    root,
    sandwich,
    satterthwaite,
    usable,
    whitened,
)  # fmt: skip
from analysis.fits.edges import restart
from analysis.fits.resolve import solved
from analysis.results import Starts
from analysis.solve.multistart import LARGE, Draw, Solution, on_edge
from analysis.solve.problem import Problem

METHODS = {
    "auto": "cluster with 30 clusters or more, else wild-cluster; without replicates cr2",
    "cluster": "pairs cluster bootstrap",
    "wild-cluster": "wild cluster bootstrap, Webb weights, CR3 residuals",
    "case": "case bootstrap of single runs",
    "cr3": "CR3 cluster sandwich",
    "cr2": "CR2 cluster sandwich, smallest Satterthwaite degrees of freedom",
}
ANALYTIC = ("cr3", "cr2")
RESAMPLED = ("cluster", "wild-cluster", "case")
ALONE = "case"  # assumes independent runs
EDGED, INSTEAD = "wild-cluster", 199  # and how many replicates of it, of an estimate on an edge
MANY = 30
FEW = 8  # clusters, below which interval widths are unreliable
CHECKED = 6  # replicates that are solved again from many starts
STRAIGHT = 0.3  # standard deviation of a coordinate, beyond which a straight line leaves a curved valley,
SHARE = 0.1  # in units of at least this share of the domain of a parameter that is no logarithm or exponent
FARTHEST = 50.0  # from the optimum, of a logarithm that is drawn
LOG2 = 8
LINEAR = 2 * 2**LOG2  # draws of an analytic covariance
WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])


@dataclass(frozen=True)
class Replicates:
    """``u`` (R, P) plain coordinates; ``kind`` of ``METHODS`` and ``method`` in words; ``degrees`` of
    freedom;
    ``check``: how many of the replicates that were solved again from many starts had found the same
    optimum."""

    u: np.ndarray
    kind: str
    method: str
    degrees: int
    check: Starts
    notes: tuple[str, ...] = ()

    @property
    def clustered(self) -> bool:
        return self.kind != ALONE


def replicate(
    problem: Problem,
    solution: Solution,
    cluster: np.ndarray,
    by: str,
    *,
    method: str = "auto",
    count: int = 500,
    seed: int = 0,
    check: int = CHECKED,
    pair: np.ndarray | None = None,
) -> Replicates:
    """Draw replicates of an optimum by a bootstrap, or from an analytic covariance.

    Args:
        problem: the law on its rows.
        solution: its optimum.
        cluster: index of each row's cluster (n,).
        by: what clusters are, in words, as ``size``.
        method: one of ``METHODS``.
        count: number of replicates R; an analytic method, and ``auto`` with 0, takes what it needs.
        seed: of the draws.
        check: how many of the replicates are solved again from many starts.
        pair: index of each row's pair (n,), where runs of several groups share noise.
    """
    n, groups = len(problem.target), int(cluster.max()) + 1
    kind = method
    if method == "auto":
        kind = "cr2" if not count else "cluster" if fewest(problem, cluster) >= MANY else "wild-cluster"
    notes = []
    if kind in ANALYTIC and on_edge(problem, solution.u).any():
        notes.append(
            f"an estimate lies on the edge of its domain, where {kind} says nothing: {EDGED} instead"
        )
        kind, count = EDGED, count or INSTEAD
    rng, alone = np.random.default_rng(seed), kind == ALONE
    degrees = max((n - int(problem.free.sum())) if alone else groups - 1, 1)
    units = f"{n} runs" if alone else f"{groups} clusters by {by}"
    agree = checked = 0
    if kind in ANALYTIC:
        if kind == "cr2":
            lowest = satterthwaite(problem, solution.u, cluster).min()
            degrees = int(np.clip(np.nan_to_num(lowest, nan=1.0), 1, n))  # of losses whose squares vanish
        ends = _linearised(problem, solution.u, cluster, kind, rng)
        words = f"{METHODS[kind]}, {units}, t({degrees})"
    else:
        times = None
        if kind == "cluster":
            times = rng.multinomial(groups, np.full(groups, 1 / groups), size=count)
        draw = _draw(problem, solution.u, cluster, kind, count, rng, times)
        begin = None
        if times is not None and n > LARGE:
            begin = _one_step(problem, solution.u, cluster, times)
        ends, agree, checked = solved(problem, solution, count, draw, check, begin)
        words = f"{METHODS[kind]} ({count} replicates, {units}), percentile, t({degrees})/z"
        words += ", all replicates from many starts" * (agree < checked and n <= LARGE)
        if kind == EDGED != method:
            least = (
                hessian(problem, solution.u) if pair is None else sandwich(problem, solution.u, pair, "cr2")
            )
            ends = _no_narrower(problem, solution.u, ends, least, rng)
            words += f", no narrower than independent {'runs' if pair is None else 'pairs of runs'}"
    few = (
        f"{groups} clusters by {by}: with fewer than {FEW}, interval widths are unreliable, and what is "
        "barely identified often has too narrow an interval"
    )
    notes += [few] if groups < FEW and not alone else []
    return Replicates(problem.shift(ends, 1.0), kind, words, degrees, Starts(checked, agree), tuple(notes))


def fewest(problem: Problem, cluster: np.ndarray) -> int:
    """The number of clusters; where groups have parameters of their own, that of the group with fewest."""
    if problem.group is None or not problem.own:
        return int(cluster.max()) + 1
    return min(len(np.unique(cluster[problem.group == g])) for g in range(len(problem.labels)))


def _draw(
    problem: Problem,
    u: np.ndarray,
    cluster: np.ndarray,
    kind: str,
    count: int,
    rng: np.random.Generator,
    times: np.ndarray | None = None,
) -> Draw:
    """Responses and weights of replicates, made from small tables of counts or signs when asked for; of
    clusters drawn ``times`` (R, G)."""
    n, groups = len(problem.target), int(cluster.max()) + 1
    y, w = problem.y, problem.w
    if times is not None:  # take, and not [:, cluster], whose rows would not lie together in memory
        return lambda which: (y, np.take(times[which], cluster, axis=1) * w)
    state = int(rng.integers(2**63))
    if kind == "case":

        def rows(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            picks = (np.random.default_rng([state, r]).integers(0, n, n) for r in which)
            return y, np.array([np.bincount(p, minlength=n) for p in picks]) * w

        return rows
    fitted, left = problem.model.fitted(u[None])[0], adjusted(problem, u, cluster)
    signs = WEBB[rng.integers(0, 6, size=(count, groups))]
    return lambda which: (fitted + np.take(signs[which], cluster, axis=1) * left, w)


def _one_step(problem: Problem, u: np.ndarray, cluster: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Where clusters drawn ``times`` (R, G) send the optimum, to first order: from sums over clusters, so
    that replicates of a large table go through its rows once."""
    half, parts, scores = whitened(problem, u, cluster)
    size, start = len(half), restart(problem, u)
    curve = (times @ parts.reshape(len(parts), -1)).reshape(-1, size, size)
    steps = np.linalg.solve(curve + 1e-9 * np.eye(size), (times @ scores)[:, :, None])[:, :, 0] @ half
    begin = np.repeat(start[None], len(times), axis=0)
    begin[:, usable(problem, u)] += steps
    return np.clip(begin, *problem.limits)


def _no_narrower(
    problem: Problem, u: np.ndarray, ends: np.ndarray, least: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Draws spread at least by ``least``, the covariance (P, P) of independent runs, in every direction: a
    few clusters whose residuals happen to cancel would else look precise (Angrist & Pischke 2009, section
    8.2.3: take the larger)."""
    free = usable(problem, u)
    units = _units(problem, u, np.sqrt(np.maximum(np.diag(least), 0.0)), free)
    size, along = np.linalg.eigh(least / np.outer(units, units))
    straight = (size > 1e-14 * size.max(initial=0.0)) & (size < STRAIGHT**2)  # a flat valley bends
    along, length = along[:, straight], np.sqrt(size[straight])
    seen = ((ends - u)[:, free] / units) @ (along / length)
    eigen, vectors = np.linalg.eigh(seen.T @ seen / len(seen))
    lacking = (vectors * np.sqrt(np.maximum(1 - eigen, 0.0))) @ vectors.T @ (along * length).T
    out = ends.copy()  # what is at a bound in the optimum need not be so in a replicate: it stays as it is
    out[:, free] += rng.standard_normal((len(ends), len(lacking))) @ lacking * units
    low, high = problem.box
    out[:, free] = np.clip(out[:, free], low[free], high[free])
    return out


def _units(problem: Problem, u: np.ndarray, sd: np.ndarray, free: np.ndarray) -> np.ndarray:
    """What the standard deviations ``sd`` of the ``free`` coordinates are compared with: 1 of logarithms and
    exponents; of a formula's other parameters their size or a share of their domain, where that is more.
    Without a domain they enter linearly, and bend no valley by themselves."""
    width = (problem.box[1] - problem.box[0])[free]
    wide = np.where(np.isfinite(width), SHARE * width, 2 * sd / STRAIGHT)
    plain = ~problem.in_log[free] & (not problem.law.terms)
    return np.where(plain, np.maximum(np.maximum(np.abs(u[free]), wide), 1.0), 1.0)


def _linearised(
    problem: Problem, u: np.ndarray, cluster: np.ndarray, kind: str, rng: np.random.Generator
) -> np.ndarray:
    """Draws from the normal distribution of the linearised fit."""
    spread = sandwich(problem, u, cluster, kind)
    draws = np.repeat(u[None], LINEAR, axis=0)
    draws[:, usable(problem, u)] += _normal(rng, len(spread)) @ root(spread)
    return _kept(problem, u, draws)


def _normal(rng: np.random.Generator, size: int) -> np.ndarray:
    """Standard normal draws (LINEAR, size), even (Sobol points), with exact mean and covariance."""
    points = qmc.Sobol(size, scramble=False)
    shifted = (points.random_base2(LOG2) + rng.random(size)) % 1.0
    z = stats.norm.ppf(np.clip(shifted, 1e-9, 1 - 1e-9))
    z = np.concatenate([z, -z])
    eigen, vectors = np.linalg.eigh(z.T @ z / len(z))
    return z @ (vectors / np.sqrt(eigen)) @ vectors.T


def _kept(problem: Problem, u: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Draws within the domains, and logarithms within ``FARTHEST``."""
    low, high = problem.box
    free, far = usable(problem, u), np.where(problem.in_log, FARTHEST, np.inf)
    out = np.repeat(u[None], len(draws), axis=0)
    out[:, free] = np.clip(draws, np.maximum(low, u - far), np.minimum(high, u + far))[:, free]
    return out
