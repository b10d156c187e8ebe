"""Residuals of a fit split into noise of runs, noise that runs of a cluster share, and misfit of the law."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import cholesky, eigh, solve_triangular

from analysis.fits.result import Fit
from analysis.planning.field import BEND, Misfit, places, problem_of
from analysis.planning.prior import NoiseLevel, Prior

FLOOR = 0.0005  # noise of log loss, where residuals say no more
RANK = 1e-10  # of the largest singular value: below it a slope is none
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of a size squared: misfit at the target; the rest is noise
SHARED = (0.0, 0.25, 0.5, 0.75, 0.9)  # of the noise's variance, where clusters have several runs
SIZES = (0.5, 0.7, 1.0, 1.4, 2.0)  # times the standard deviation of residuals
MOST = 400  # runs, those nearest to the target: time grows with their cube


def split_of(fit: Fit, prior: Prior, target: Mapping[str, float]) -> tuple[NoiseLevel, Misfit]:
    """Split the residuals of a fit (:func:`split`), of at most ``MOST`` runs.

    Args:
        fit: to runs of which none was repeated.
        prior: the law at its optimum.
        target: inputs of the law where it holds; misfit grows with the distance from there.
    """
    inputs = {x: np.asarray(fit.data[x], float) for x in prior.law.inputs}
    problem, away = problem_of(prior, inputs), np.log10([target[x] for x in prior.law.inputs])
    at = places(inputs)
    near = np.argsort(np.linalg.norm(at - away, axis=1), kind="stable")[:MOST]
    slopes = problem.model.jacobian(problem.coordinates(prior.params))[near]
    unit = Misfit(1.0).covariance(at[near], away)
    return split(slopes, unit, np.asarray(fit.residuals)[near], np.array(fit.data["cluster"])[near])


def split(
    slopes: np.ndarray,
    unit: np.ndarray,
    residuals: np.ndarray,
    cluster: np.ndarray,
    *,
    left: float | None = None,
    scale: float = 1.0,
    floor: float = FLOOR,
) -> tuple[NoiseLevel, Misfit]:
    """Split residuals into noise and misfit: the means of their variances under the restricted likelihood
    (Patterson and Thompson 1971, Biometrika 58, 545). Its maximum says "no misfit" of few runs, most often.

    Args:
        slopes: of the runs (n, P), in any coordinates.
        unit: covariance (n, n) of a misfit of size 1.
        residuals: (n,), of log loss or of the loss itself.
        cluster: index of what shares noise (n,).
        left: the standard deviation of residuals; left out: by the degrees of freedom of these slopes.
        scale: of the losses; 1 for log losses.
        floor: of noise, times ``scale``.
    """
    across, singular, _ = np.linalg.svd(slopes)
    free = across[:, int((singular > RANK * singular.max(initial=0.0)).sum()) :]  # no parameter moves these
    seen, bends = free.T @ residuals, free.T @ unit @ free
    left = float(np.sqrt(np.mean(seen**2))) if left is None else left
    share, size = (x.ravel() for x in np.meshgrid(SHARES, SIZES))
    noise = np.maximum(floor * scale, size * left * np.sqrt(1 - share)) ** 2
    bend = np.maximum(BEND * scale, size * left * np.sqrt(share)) ** 2
    alone = len(np.unique(cluster)) == len(cluster)
    alike, likelihood, runs = cluster[:, None] == cluster[None], [], []
    for part in SHARED[:1] if alone else SHARED:
        root = cholesky(free.T @ ((1 - part) * np.eye(len(cluster)) + part * alike) @ free, lower=True)
        half = solve_triangular(root, bends, lower=True)
        values, axes = eigh(solve_triangular(root, half.T, lower=True))
        squares = (axes.T @ solve_triangular(root, seen, lower=True)) ** 2
        variance = bend[:, None] * np.maximum(values, 0.0) + noise[:, None]
        fits = (squares / variance + np.log(variance)).sum(axis=1)
        likelihood.append(-0.5 * fits - np.log(np.diag(root)).sum())
        runs.append((1 - part) * noise)
    weight = np.exp(np.array(likelihood) - np.max(likelihood))
    total = np.broadcast_to(noise, weight.shape)
    parts = np.array(runs), total - runs, np.broadcast_to(bend, weight.shape)
    run, shared, misfit = (float(np.sqrt(np.average(x, weights=weight))) for x in parts)
    return NoiseLevel(run, shared), Misfit(misfit)
