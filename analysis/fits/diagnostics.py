"""What a reader of a fit must know: its residuals, what to beware of, other objectives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import some
from analysis.fits import identification
from analysis.fits.covariance import indifference
from analysis.fits.options import FitOptions
from analysis.fits.rows import RUNS, Rows
from analysis.results import Interval, Noise, Rival, SeedNoise
from analysis.solve.multistart import Solution, solve
from analysis.solve.newton import minimise
from analysis.solve.problem import Loss, Problem
from analysis.tables.checks import row_names
from analysis.tables.noise import seed_noise
from analysis.tables.table import Table, frame_of

TUNING = 1.345
LEAST_DELTA = 1e-6  # for noise-free tables
MAD = 1.4826
FEW = 0.2  # of the starts that agree: with fewer the optimum may not be the best one
SHUFFLES = 199  # of residuals between clusters
FAR = 10.0  # robust standard deviations of residuals, beyond which a row is no noise
LEAST_FAR = 0.003  # of a residual that is worth a note
MANY = 0.1  # of the rows; where more are far, it is the law or the noise that has heavy tails
SMALL = 0.2  # of the default delta, below which an objective is nearly that of absolute deviations


def residuals(problem: Problem, u: np.ndarray) -> np.ndarray:
    return problem.y - problem.model.fitted(u[None])[0]


def robust_sd(r: np.ndarray, problem: Problem) -> float:
    degrees = max(len(r) - int(problem.free.sum()), 1)
    return float(MAD * np.median(np.abs(r)) * np.sqrt(len(r) / degrees))


def tuned(problem: Problem, delta: float | None) -> Problem:
    """The problem with Huber's ``delta`` of log residuals; None: by the scale of its own."""
    if delta is not None:
        return replace(problem, loss=Loss(float(delta)))
    loss, ends = Loss(), None
    for _ in range(2):  # a bad run inflates the first scale, of least squares
        trial = replace(problem, loss=loss)
        solution = solve(trial, keep=8, start=ends)
        if not problem.law.terms:  # whose many starts take long: the few best again
            ends = solution.ends[np.argsort(solution.end_values, kind="stable")[:8]]
        loss = Loss(max(TUNING * robust_sd(residuals(trial, solution.u), problem), LEAST_DELTA))
    return replace(problem, loss=loss)


def noise(
    problem: Problem, solution: Solution, rows: Rows, table: pd.DataFrame | Table, where: str | None
) -> tuple[Noise, Any]:
    """Measure the scales of the residuals.

    Args:
        problem: the law on its rows.
        solution: its optimum.
        rows: the rows fitted, with their clusters.
        table: the table they are from, whose repeated seeds are measured too.
        where: the filter of its rows.

    Returns:
        The scales, and the residuals to keep (n,): in logs for a raw objective too, where losses and law are
        positive.
    """
    fitted = problem.model.fitted(solution.u[None])[0]
    r, values = problem.y - fitted, problem.loss.back(fitted)
    logs = problem.loss.raw and min(problem.target.min(), values.min()) > 0
    space = "log" if logs else problem.loss.space
    left = np.log(problem.target) - np.log(values) if logs else r
    degrees = max(len(r) - int(problem.free.sum()), 1)
    given = frame_of(table)
    repeated = bool({"seed", "seed_order"} & set(given.columns)) or (
        "role" in given.columns and bool((given["role"] == "noise").to_numpy().any())
    )
    seeds = (
        seed_noise(table, where) if repeated and set(RUNS) <= set(given.columns) and space == "log" else None
    )
    scales = Noise(
        sd=float(np.sqrt(left @ left / degrees)),
        robust_sd=robust_sd(left, problem),
        degrees=degrees,
        seeds=SeedNoise.from_dict(seeds) if seeds else None,
        clusters_alike_p=cluster_test(r, rows.cluster) if len(r) < 20_000 else None,
        space=space,
    )
    return scales, left


def beware(asked: FitOptions, problem: Problem, solution: Solution) -> list[str]:
    """What a reader of the fit must know of how it was had."""
    notes, count, ends = [], solution.tried, np.sort(solution.end_values[: solution.tried])
    second = float(ends[min(max(solution.agree, 1), count - 1)])
    near = solution.agree <= 1 or second <= solution.value + indifference(problem, solution)
    if solution.agree < FEW * count and near:
        notes.append(
            f"only {solution.agree} of {count} starts reached the best objective, {solution.value:.6g} (next "
            f"{_higher(second, solution.value)}): a better optimum may exist; narrow bounds, hold a "
            "parameter, or enlarge delta"
        )
    if solution.bound and not problem.law.terms:
        notes.append(
            f"at the edge of the domain: {', '.join(solution.bound)}; what is said of the other parameters "
            "supposes this; see whether wider bounds change it"
        )
    if sentence := identification.proportional(problem.inputs):
        notes.append(
            f"{sentence}: what is told apart rests on the form of the law; off that line nothing is known"
        )
    usual = TUNING * robust_sd(residuals(problem, solution.u), problem)
    if asked.delta is not None and asked.objective == "huber" and asked.delta < SMALL * usual:
        inside = float(np.mean(np.abs(residuals(problem, solution.u)) <= asked.delta))
        notes.append(
            f"delta {asked.delta:g} is far below the residuals ({inside:.0%} lie within it; default "
            f"{usual:.2g}): nearly absolute deviations; intervals but of method 'cluster' are too narrow"
        )
    for name, (low, high) in problem.bounds.items():
        ends = problem.law.domain(name.partition("[")[0])
        if low < ends[0] or high > ends[1]:
            notes.append(
                f"bounds {low:g} .. {high:g} of {name} replace its domain {ends[0]:g} .. {ends[1]:g}"
            )
    return notes


def _higher(second: float, best: float) -> str:
    """An objective beside the best one: its value, or where those print alike the difference."""
    alike = f"{second:.6g}" == f"{best:.6g}"
    return f"{second / best - 1:.0e} higher" if alike and best > 0 else f"{second:.6g}"


def outliers(problem: Problem, solution: Solution, rows: Rows) -> tuple[str, ...]:
    """A note of rows far from the law, as a slip in a cell leaves them."""
    r = residuals(problem, solution.u)
    far = np.flatnonzero(np.abs(r) > np.maximum(FAR * robust_sd(r, problem), LEAST_FAR))
    if not 0 < len(far) <= MANY * len(r):
        return ()
    furthest, names = far[np.argsort(-np.abs(r[far]))], row_names(rows.frame)
    shown = some(f"{names[i]} ({problem.loss.space} residual {r[i]:+.2g})" for i in furthest)
    return (f"more than {FAR:g} robust standard deviations from the law: {shown}; check their cells",)


def others(
    asked: FitOptions, problem: Problem, solution: Solution, bounds: Mapping[str, Interval]
) -> tuple[Rival, ...]:
    """Fit the other objectives from this optimum, and keep those under which a parameter leaves its interval.

    Args:
        asked: options of the fit.
        problem: the law on its rows.
        solution: its optimum.
        bounds: interval per parameter.
    """
    out = []
    middle = float(np.median(problem.target))
    unit = {"log": 1.0, "raw": middle, "log1p": middle / (1 + middle)}[problem.loss.space]  # of log residuals
    delta = TUNING * robust_sd(residuals(problem, solution.u), problem) / unit
    losses = {"huber": Loss(max(delta, LEAST_DELTA)), "log-ls": Loss(), "raw-ls": Loss(space="raw")}
    for kind, loss in losses.items():
        tuned = kind == "huber" and asked.delta is None
        if (kind == asked.objective and (kind != "huber" or tuned)) or (
            loss.space == "log" and problem.target.min() <= 0
        ):
            continue
        other = replace(problem, loss=loss)
        end = minimise(other, solution.u[None], steps=60)[0][0]
        x = other.parameters(other.shift(end, 1.0))
        params = {n: float(v) for n, v in zip(problem.names, x, strict=True)}
        outside = [n for n, v in params.items() if n not in problem.fixed
                   and not bounds[n][0] <= v <= bounds[n][1]]  # fmt: skip
        if outside:
            shown = loss.delta if np.isfinite(loss.delta) else None
            out.append(Rival(kind, shown, params, tuple(outside)))
    return tuple(out)


def cluster_test(r: np.ndarray, cluster: np.ndarray, seed: int = 0) -> float | None:
    """p of a permutation test that residuals of one cluster are no more alike than others: a diagnostic, no
    switch. None where no cluster has two rows, or all rows are one."""
    counts = np.bincount(cluster)
    if len(counts) < 2 or counts.max() < 2:
        return None
    rng = np.random.default_rng(seed)

    def between(x: np.ndarray) -> float:
        return float((np.bincount(cluster, x) ** 2 / counts).sum())

    r = r - r.mean()
    observed = between(r) * (1 - 1e-12)
    return (1 + sum(between(rng.permutation(r)) >= observed for _ in range(SHUFFLES))) / (1 + SHUFFLES)
