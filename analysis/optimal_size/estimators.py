"""Estimators: from a table straight to compute-optimal sizes, without a law of the loss.

- ``parabola``: the minimum of a parabola per budget (Hoffmann et al. 2022, arXiv:2203.15556, approach 2).
- ``interpolation`` in its place (Porian et al. 2024, arXiv:2406.19146).
- ``hull``: the lower convex hull of all rows (approach 1 as in McLeish et al. 2025, arXiv:2502.06857).
- ``envelope``: the lowest of all training curves at each compute (approach 1;
  :mod:`analysis.optimal_size.envelope`).

Each is a function from a selected table to a :data:`Sampler`, which finds the optima of any draw of its rows;
a bootstrap over clusters of rows calls that again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import Akima1DInterpolator
from scipy.spatial import ConvexHull, QhullError

from analysis.errors import AnalysisError
from analysis.fits.fitting import fit
from analysis.fits.options import LEAST
from analysis.fits.rows import filled
from analysis.fits.sharing import clustered
from analysis.laws.law import Law
from analysis.laws.shipped import LAWS
from analysis.optimal_size.envelope import BIAS as ENVELOPE_BIAS
from analysis.optimal_size.envelope import Curves, checkpoints
from analysis.optimal_size.estimate import Estimate, EstimateSetup, Optima, assembled, centre_of, enough
from analysis.optimal_size.isoflop import BIAS, Curve, lines, minimum, split
from analysis.tables.budgets import budgets
from analysis.tables.checks import row_names
from analysis.tables.expressions import nearest
from analysis.tables.loading import load
from analysis.tables.runs import select, stated
from analysis.tables.table import about
from analysis.tables.units import loss_unit

FINE = 25  # grid points between two sizes
LEAST_SPREAD = 1 / 3  # of the mean spacing of sizes: no minimum is known better than that
BIASES = {
    "parabola": BIAS,
    "interpolation": "the best of noisy runs is taken: minima follow the noise, losses there are too low",
    "hull": "the hull keeps the luckiest runs: losses on it are too low, and exponents move with the range "
    "of compute and with which checkpoints of a run are in the table",
    "envelope": ENVELOPE_BIAS,
}
# Indices of rows, also repeated -> logs of C, N, D, L at the optima (B, 4), and what is no optimum, why.
Sampler = Callable[[np.ndarray], tuple[np.ndarray, list[str]]]
LINEAR = ("C", "N", "D", "L")


def hull(frame: Any) -> Sampler:
    """Vertices of the lower convex hull of (log C, log L), up to the least loss."""
    logs = np.log(frame[list(LINEAR)].to_numpy(float))

    def optima(rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
        drawn = logs[rows]
        x = drawn[:, [0, 3]]
        try:
            polygon = ConvexHull(x)
        except (QhullError, ValueError):  # all on one line, or too few
            return drawn[:0], ["fewer than three rows, or all on one line: they have no hull"]
        on = np.unique(polygon.simplices[polygon.equations[:, 1] < 0])
        on = on[np.argsort(x[on, 0])]
        return drawn[on[: int(np.argmin(x[on, 1])) + 1]], []

    return optima


def parabola(frame: Any) -> Sampler:
    """Per budget, the minimum of the parabola (:func:`analysis.optimal_size.isoflop.minimum`), if it is
    interior."""
    return _per_budget(frame, _of_parabola)


def interpolation(frame: Any) -> Sampler:
    """Per budget, the least of Akima's interpolation of log L on log N, unless it is at an end."""
    return _per_budget(frame, _of_curve)


def _per_budget(frame: Any, least: Callable[[Curve], tuple[np.ndarray, str]]) -> Sampler:
    budget, logs = budgets(frame), np.log(frame[["N", "L", "D"]].to_numpy(float))

    def optima(rows: np.ndarray) -> tuple[np.ndarray, list[str]]:
        minima, refused = [], []
        for curve in split(budget[rows], logs[rows]):
            at, reason = least(curve)
            minima += [] if reason else [[np.log(curve[0]), *at]]
            refused += [f"budget {curve[0]:.3g}: no optimum, {reason}"] if reason else []
        return np.array(minima).reshape(-1, 4), refused

    return optima


def _of_parabola(curve: Curve) -> tuple[np.ndarray, str]:
    m = minimum(*curve)
    return np.log([m.N or 1.0, m.D or 1.0, m.loss or 1.0]), m.reason


def _of_curve(curve: Curve) -> tuple[np.ndarray, str]:
    _, _, x, y, d = curve
    if len(x) < 3:
        return np.empty(0), f"{len(x)} of the 3 sizes that interpolation needs"
    at = _least(x, y[None], d)[0]
    end = "smallest" if np.argmin(y) == 0 else "largest"
    return at, "" if np.isfinite(at[0]) else f"the {end} size is best"


def _least(x: np.ndarray, y: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Minima of curves through log losses ``y`` (R, m) at log sizes ``x``: logs of N, D, loss (R, 3), nan
    where at an end."""
    at = np.interp(np.arange(FINE * (len(x) - 1) + 1) / FINE, np.arange(len(x)), x)
    curve = Akima1DInterpolator(x, y.T)(at)
    k = np.argmin(curve, axis=0)
    minima = np.stack([at[k], np.interp(at[k], x, d), np.min(curve, axis=0)], axis=1)
    return np.where(((k > 0) & (k < len(at) - 1))[:, None], minima, np.nan)


SAMPLERS: dict[str, Callable[[Any], Sampler]] = {
    "parabola": parabola,
    "interpolation": interpolation,
    "hull": hull,
}
ESTIMATORS = (*SAMPLERS, "envelope")


def estimate(
    kind: str,
    table: pd.DataFrame,
    *,
    convention: str = "total",
    roles: Sequence[str] = ("fit",),
    where: str | None = None,
    cells: str | None = None,
    bootstrap: int = 500,
    level: float = 0.9,
    cluster: str | None = None,
    seed: int = 0,
    excluded: Sequence[Mapping[str, str]] = (),
    noise: float | None = None,
    curves: Curves | None = None,
) -> Estimate:
    """Estimate compute-optimal sizes without a law of the loss, with a bootstrap over clusters of rows.

    Args:
        kind: an estimator of ``ESTIMATORS``.
        table: runs; for the envelope checkpoints.
        convention: which columns or formulas N and C are, a name of ``CONVENTIONS``.
        roles: the roles to keep.
        where: filter (:mod:`analysis.tables.where`).
        cells: of several hyperparameters in a cell the best (``best``), or ``all`` rows; left out: as the
            table was loaded, else the best.
        bootstrap: replicates; with 0 there are no intervals, and nothing is claimed.
        level: of the intervals, between 0 and 1.
        cluster: the column of what shares noise; left out: trunk, else seed and size, else size; of an
            envelope the runs.
        seed: of the replicates.
        excluded: rows left out before, ``{row, reason}``, to be listed with ours.
        noise: for interpolation only: the standard deviation of a run's loss between seeds, in units of the
            loss. Replicates are then tables with such noise on every loss; optima are medians of their
            minima, and the regression weighs them by 1 / spread^2, as Porian et al. 2024 do.
        curves: for the envelope only: how curves are read.

    Raises:
        AnalysisError: for an unknown estimator, an option out of range or of another estimator, a missing
            column, or a table that fails its checks.
    """
    _check(kind, bootstrap, level, noise, curves)
    left = [dict(row) for row in excluded]
    if kind == "envelope":
        curves = curves or Curves()
        table, early = curves.read(table, cluster)
        left += early
    frame: Any
    frame, others = select(stated(table, cells), roles, convention=convention, where=where, cells=cells)
    column = cluster or ("run" if curves else None)
    if column is not None and column not in frame.columns:
        raise AnalysisError(f"column {column!r} is missing; name the column of what shares noise")
    frame, empty = filled(frame, [] if column is None else [column])
    index, by = clustered(frame, column)
    if not len(frame):
        optima = Optima(np.empty((0, 4)), ())
    elif noise is not None:
        optima = _noisy(frame, noise, bootstrap, seed)
    else:
        sampler = SAMPLERS[kind](frame) if curves is None else curves.sampler(frame)
        optima = _bootstrapped(sampler, index, by, bootstrap, seed)
        optima = optima if curves is None else replace(optima, doubt=curves.doubt(frame))
    columns = {"row": row_names(frame), "cluster": index, **{x: frame[x] for x in "NDCL"}}
    if curves is not None:
        columns["run"] = frame["run"].astype(str)
    setup = EstimateSetup("loss", cluster, loss_unit(frame), noise, curves, seed)
    return assembled(
        optima, level, bootstrap, setup, (*about(frame).notes, *optima.refused),
        kind=kind, convention=convention, excluded=(*left, *others, *empty), bias=BIASES[kind],
        data={name: tuple(np.asarray(column).tolist()) for name, column in columns.items()},
    )  # fmt: skip


def _check(kind: str, bootstrap: Any, level: Any, noise: Any, curves: Any) -> None:
    problems = []
    if kind not in ESTIMATORS:
        problems.append(_unknown(kind))
    if (
        isinstance(bootstrap, bool)
        or not isinstance(bootstrap, int)
        or not (bootstrap == 0 or bootstrap >= LEAST)
    ):
        problems.append(
            f"bootstrap = {bootstrap!r}: replicates must be 0 (no intervals), or {LEAST} and more"
        )
    if not (isinstance(level, (int, float)) and 0 < level < 1):
        problems.append(f"level = {level!r} must lie between 0 and 1; 0.9 is usual")
    if noise is not None and not (kind == "interpolation" and 0 < noise < np.inf and bootstrap):
        problems.append(
            f"noise = {noise!r} with estimator {kind!r} and bootstrap = {bootstrap!r}: it must be positive, "
            "goes with 'interpolation' and needs replicates (1000 is usual)"
        )
    if curves is not None and kind != "envelope":
        problems.append(f"curves with estimator {kind!r}: they go with 'envelope'; leave them out")
    if problems:
        raise AnalysisError(problems)


def _unknown(kind: Any) -> str:
    name = kind.name if isinstance(kind, Law) else kind
    what = f"is a law, for analysis.fit({name!r}, table)" if name in LAWS or name != kind else "is unknown"
    return f"estimator {name!r} {what}; choose one of {', '.join(ESTIMATORS)}"


def _bootstrapped(sampler: Sampler, index: np.ndarray, by: str, count: int, seed: int) -> Optima:
    """Optima of all rows, and lines through those of rows whose clusters are drawn with replacement."""
    logs, refused = sampler(np.arange(len(index)))
    groups, centre, rng = int(index.max()) + 1, centre_of(logs), np.random.default_rng(seed)
    parts = np.split(np.argsort(index, kind="stable"), np.cumsum(np.bincount(index))[:-1])
    draws = [np.empty((0, 6))]
    for _ in range(count if groups > 1 and enough(logs) else 0):
        again = sampler(np.concatenate([parts[g] for g in rng.integers(0, groups, groups)]))[0]
        draws += [lines(again[:, 0] - centre, again[None, :, 1:])] if enough(again) else []
    method = f"bootstrap over {groups} clusters by {by}, {len(draws) - 1} of {count} gave exponents"
    degrees = max(groups - 1, 1)
    return Optima(
        logs, refused, None, centre, np.concatenate(draws), f"{method}, t({degrees})/z", degrees
    )  # fmt: skip


def _noisy(frame: Any, noise: float, count: int, seed: int) -> Optima:
    """Interpolation of ``count`` tables with Gaussian ``noise`` on every loss: per budget the median minimum
    and its spread. Budgets whose minimum is interior in fewer than half of the tables are left out; the
    spread of others grows by the share that is not."""
    rng, logs, spread, draws, refused = np.random.default_rng(seed), [], [], [], []
    for curve in split(budgets(frame), np.log(frame[["N", "L", "D"]].to_numpy(float))):
        (budget, times, x, y, d), reason = curve, _of_curve(curve)[1]
        minima = np.empty((0, 3))
        if len(x) > 2:
            errors = noise / np.sqrt(times) * rng.normal(size=(count, len(y)))  # y are means of repeats
            noisy = np.maximum(np.exp(y) + errors, 1e-300)
            minima = _least(x, np.log(noisy), d)
        inside = np.isfinite(minima[:, 0])
        if not reason and inside.mean() < 0.5:
            reason = f"the least is interior in {inside.mean():.0%} of the noisy tables"
        if reason:
            refused.append(f"budget {budget:.3g}: no optimum, {reason}")
            continue
        logs.append([np.log(budget), *np.median(minima[inside], axis=0)])
        least = LEAST_SPREAD * (x[-1] - x[0]) / (len(x) - 1)
        spread.append(max(float(np.std(minima[inside, 0])), least) / inside.mean())
        draws.append(minima)
    at, weigh, many = np.array(logs).reshape(-1, 4), np.array(spread), np.empty((0, 6))
    if enough(at):
        many = lines(at[:, 0] - centre_of(at), np.stack(draws, axis=1), weigh)
    method = f"seed noise {noise:g} on every loss, optima weighted by their spread, "
    return Optima(
        at, refused, weigh, centre_of(at), many, f"{method}{len(many)} of {count} gave exponents"
    )  # fmt: skip


def of_file(
    kind: str,
    path: str | Path | Sequence[str | Path],
    reading: Mapping[str, Any] | None = None,
    **options: Any,
) -> Estimate:
    """:func:`estimate` of what :func:`analysis.load` reads; ``reading`` are its arguments.
    Takes the options of :func:`analysis.fit` also, as long as those of a law alone are not used. An envelope
    takes the curves of a folder that has them. Raises AnalysisError."""
    usual = signature(fit).parameters
    mine = set(signature(estimate).parameters)
    problems = []
    for name in (n for n in options if n not in mine):
        value = options[name]
        if name not in usual:
            problems.append(f"{name} = {value!r}: unknown option; {nearest(name, sorted(mine))}")
        elif value and value != usual[name].default:
            problems.append(f"{name} = {value!r}: an estimator has no law to apply it to; leave it out")
    if problems:
        raise AnalysisError(problems)
    options = {name: value for name, value in options.items() if name in mine}
    reading = {name: value for name, value in (reading or {}).items() if value is not None}
    of_one = isinstance(path, str | Path)
    if kind == "envelope" and of_one and (Path(path) / "curves.parquet").is_file():
        options["curves"] = Curves(run=reading.pop("run", None), skip=reading.pop("after", None))
        return estimate(kind, checkpoints(path, **reading), **options)
    if kind == "envelope":  # which lies along the curves of runs
        reading["cells"] = "all"
    return estimate(kind, load(path, **reading), **options)
