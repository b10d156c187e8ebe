"""A fit's law before its largest budget was trained: fitted again to the runs below that, for back-tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits import identification
from analysis.fits.bootstrap import replicate
from analysis.fits.covariance import depends, powerless
from analysis.fits.diagnostics import robust_sd, tuned
from analysis.results import Intervals
from analysis.solve.multistart import Solution, solve
from analysis.solve.problem import Problem
from analysis.tables.budgets import budgets

if TYPE_CHECKING:
    from analysis.fits.result import Fit


@dataclass(frozen=True)
class Earlier:
    """The law of the fit ``whole`` on its rows ``early`` (n,): ``problem``, with a delta of its own, and its
    ``solution``. ``late`` (n,): rows at the largest ``budget``; ``far``: that over the largest early one."""

    whole: Fit
    early: np.ndarray
    late: np.ndarray
    budget: float
    far: float
    problem: Problem
    solution: Solution

    @classmethod
    def of(cls, fit: Fit, below: float | None = None) -> Earlier:
        """Fit the rows below a budget; left out: all but those of the largest.

        Raises:
            AnalysisError: compute is unknown, or too few rows are left to fit, or none of a group.
        """
        budget = budget_of(fit)
        largest = float(budget.max())
        early = budget < (largest if below is None else below)
        if not early.any():
            raise AnalysisError(
                "all runs share one budget" if below is None else f"no run lies below {below:g}"
            )
        problem = fit.problem.at(early)
        if bare := _without(problem):
            raise AnalysisError(f"no run of {fit.setup.groups} {', '.join(bare)} is left to fit")
        if reason := identification.shortage(problem):
            raise AnalysisError(reason)
        if fit.objective.kind == "huber" and fit.setup.delta is None:
            problem = tuned(problem, None)
        begin = None
        if not problem.law.terms and fit.usable:
            begin = problem.shift(fit.problem.shift(fit.problem.coordinates(fit.solution), 1.0), -1.0)[None]
        solution = solve(problem, start=begin)
        return cls(
            fit, early, budget == largest, largest, largest / float(budget[early].max()), problem, solution
        )

    @property
    def point(self) -> np.ndarray:
        """The optimum (1, P), plain coordinates."""
        return self.problem.shift(self.solution.u, 1.0)[None]

    @property
    def blind(self) -> bool:
        """Whether nothing shows that the early losses depend on the law's inputs."""
        gone = powerless(self.problem, self.solution)
        return gone or not depends(self.problem, self.solution)

    @cached_property
    def fit(self) -> Fit:
        """The early rows as a fit that predicts; its covariance is linear, and of its parameters nothing is
        claimed: whether it is settled is taken from the whole."""
        whole, problem, solution = self.whole, self.problem, self.solution
        data = {
            name: tuple(column[i] for i in np.flatnonzero(self.early)) for name, column in whole.data.items()
        }
        cluster = np.unique(data["cluster"], return_inverse=True)[1]
        drawn = replicate(problem, solution, cluster, "cluster", count=0)
        residual = problem.y - problem.model.fitted(solution.u[None])[0]
        degrees = max(len(residual) - int(problem.free.sum()), 1)
        sd = float(np.sqrt(residual @ residual / degrees))
        delta = float(problem.loss.delta) if np.isfinite(problem.loss.delta) else None
        point = dict(zip(problem.names, problem.parameters(self.point[0]).tolist(), strict=True))
        return replace(
            whole,
            solution=point | dict.fromkeys(solution.zero, 0.0),
            params=dict.fromkeys(problem.names),
            data={**data, "residual": tuple(residual.tolist()), "cluster": tuple(cluster.tolist())},
            intervals=Intervals(drawn.method, whole.level, drawn.degrees, {}, drawn.kind),
            noise=replace(whole.noise, sd=sd, robust_sd=robust_sd(residual, problem), degrees=degrees),
            objective=replace(whole.objective, delta=delta, value=solution.value, n=len(residual)),
            replicates=tuple(map(tuple, drawn.u.tolist())),
            others=(),
        )


def _without(problem: Problem) -> list[str]:
    """The groups that have no row."""
    seen = np.arange(len(problem.labels)) if problem.group is None else problem.group
    return [label for i, label in enumerate(problem.labels) if i not in seen]


def budget_of(fit: Fit) -> np.ndarray:
    """The budget of each row (n,), by its compute or what stands for it. Raises AnalysisError."""
    scale = scale_of(fit.data, fit.law.inputs)
    if scale is None or not len(scale):
        raise AnalysisError("neither compute nor N nor D of its runs is known" if len(fit.data["row"]) else
                            "no usable runs to fit")  # fmt: skip
    return budgets(pd.DataFrame({"C": scale}))


def scale_of(known: Mapping[str, Any], inputs: tuple[str, ...]) -> np.ndarray | None:
    """Of each row, C; where that is unknown the square of N or D, whichever the law has, as compute grows
    with it along a family; None without either."""
    for x, power in (("C", 1), *((x, 2) for x in "ND" if x in inputs)):
        if x in known:
            return np.asarray(known[x], float) ** power
    return None
