"""What noise explains of an objective: its square, a rise, a law where a constant does as well."""

from __future__ import annotations

import numpy as np
from scipy import stats

from analysis.solve.multistart import Solution
from analysis.solve.problem import Problem


def noise_square(problem: Problem, u: np.ndarray) -> float:
    """The robust variance of residuals on the scale of the objective: psi'psi / d.f. / share inside delta."""
    r = problem.y - problem.model.fitted(u[None])[0]
    psi = problem.loss.psi(r)
    degrees = max(len(r) - int(problem.free.sum()), 1)
    inside = max(float(np.mean(np.abs(r) <= problem.loss.delta)), 1 / len(r))
    return float(problem.w @ psi**2 / degrees / inside)


def depends(problem: Problem, solution: Solution, level: float = 0.95) -> bool:
    """Whether the law fits better than a constant does, beyond what its free parameters take from noise (an F
    test). True of laws without an offset, whose exponents may well be 0, and of groups."""
    law, held = problem.law, {*problem.fixed}
    if problem.group is not None or law.offset is None or {law.offset, *law.exponents} & held:
        return True
    y, w, loss = problem.y, problem.w, problem.loss
    centre = float(np.median(y))
    for _ in range(50):  # reweighted means: Huber's estimate of location
        r = y - centre
        weight = w * np.minimum(1.0, loss.delta / np.maximum(np.abs(r), 1e-300))
        centre = float(weight @ y / weight.sum())
    psi = loss.psi(y - centre)
    value = float((w * psi * (y - centre - 0.5 * psi)).sum())
    taken, left = max(int(problem.free.sum()) - 1, 1), max(len(y) - int(problem.free.sum()), 1)
    limit = 0.5 * taken * float(stats.f.ppf(level, taken, left))
    return value - solution.value > limit * noise_square(problem, solution.u)


def indifference(problem: Problem, solution: Solution, level: float = 0.95) -> float:
    """The rise of the objective that noise explains: half a chi2(1) at ``level``, times the noise square."""
    return 0.5 * float(stats.chi2.ppf(level, 1)) * noise_square(problem, solution.u)
