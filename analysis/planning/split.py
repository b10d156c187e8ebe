"""Residuals of a fit split into noise of runs and misfit of the law."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from analysis.fits.result import Fit
from analysis.planning.field import BEND, Misfit, places, problem_of
from analysis.planning.prior import NoiseLevel, Prior

FLOOR = 0.0005  # noise of log loss, where residuals say no more
RANK = 1e-10  # of the largest singular value: below it a slope is none
SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the residuals' variance that may be misfit
SIZES = (0.5, 0.7, 1.0, 1.4, 2.0)  # times their standard deviation


def split_of(fit: Fit, prior: Prior, target: Mapping[str, float]) -> tuple[NoiseLevel, Misfit]:
    """Split the residuals of a fit into noise and misfit: the means of both variances under the restricted
    likelihood (Patterson and Thompson 1971, Biometrika 58, 545). Its maximum says "no misfit" of few runs,
    most often.

    Args:
        fit: to runs of which none was repeated.
        prior: the law at its optimum.
        target: inputs of the law where it holds; misfit grows with the distance from there.
    """
    inputs = {x: np.asarray(fit.data[x], float) for x in prior.law.inputs}
    problem, away = problem_of(prior, inputs), np.log10([target[x] for x in prior.law.inputs])
    unit = Misfit(1.0).covariance(places(inputs), away)
    across, sizes, _ = np.linalg.svd(problem.model.jacobian(problem.coordinates(prior.params)))
    free = across[:, int((sizes > RANK * sizes.max(initial=0.0)).sum()) :]  # no parameter moves these
    values, axes = np.linalg.eigh(free.T @ unit @ free)
    squares = (axes.T @ free.T @ np.asarray(fit.residuals)) ** 2
    share, size = (x.ravel() for x in np.meshgrid(SHARES, SIZES))
    left = size * float(np.sqrt(squares.mean()))
    noise = np.maximum(FLOOR, left * np.sqrt(1 - share)) ** 2
    bend = np.maximum(BEND, left * np.sqrt(share)) ** 2
    variance = bend[:, None] * np.maximum(values, 0.0) + noise[:, None]
    likelihood = -0.5 * (squares / variance + np.log(variance)).sum(axis=1)
    weight = np.exp(likelihood - likelihood.max())
    run, size_of_misfit = (float(np.sqrt(np.average(x, weights=weight))) for x in (noise, bend))
    return NoiseLevel(run), Misfit(size_of_misfit)
