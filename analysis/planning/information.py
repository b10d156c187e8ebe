"""Runs that are planned, with a law at its prior on them: what they would say of it, linearised there.

Shapes: n runs, P free coordinates of the law (logs of coefficients, exponents), Q quantities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Complaint
from analysis.fits.identification import shortage
from analysis.fits.options import FitOptions
from analysis.fits.rows import prepare
from analysis.planning.estimates import Estimates
from analysis.planning.prior import Prior
from analysis.solve.problem import Loss, Problem

STEP = 1e-4  # of a coordinate, over which slopes of derived quantities are taken

Quantity = Callable[[np.ndarray], np.ndarray]  # of plain coordinates (R, P), (R, Q)


def slopes(problem: Problem, u: np.ndarray, quantity: Quantity) -> np.ndarray:
    """Slopes (Q, P) of a quantity at coordinates ``u`` (P,), centred, by central differences."""
    steps = STEP * np.where(problem.in_log, 1.0, np.maximum(np.abs(u), 1e-3))
    both = np.concatenate([u + np.diag(steps), u - np.diag(steps)])
    up, down = np.split(np.asarray(quantity(problem.shift(both, 1.0)), float), 2)
    return ((up - down) / (2 * steps[:, None])).T


@dataclass(frozen=True)
class Information:
    """Runs that are planned, and what they would say of ``prior``. ``frame`` has the runs with columns N, D,
    C; ``problem`` the law on them, their losses those of the prior; ``u`` its coordinates (P,), centred;
    ``cluster`` (n,) what shares noise, ``by`` in words."""

    prior: Prior
    frame: pd.DataFrame
    problem: Problem
    u: np.ndarray
    cluster: np.ndarray
    by: str

    @classmethod
    def of(cls, prior: Prior, runs: pd.DataFrame, *, convention: str = "total") -> Information:
        """Linearise ``prior`` at runs.

        Args:
            prior: the law with its values and noise.
            runs: columns of the law's inputs (``params``, ``tokens``, ``flops`` ...), and ``trunk_id``,
                ``seed`` where runs share noise by them. No losses are needed.
            convention: which N and C, a name of ``analysis.tables.runs.CONVENTIONS``.

        Raises:
            AnalysisError: a column is missing, no run is left, or the prior is no loss at some run.
        """
        asked = FitOptions(convention=convention, cells="all").checked(prior.law)
        rows = prepare(prior.law, runs.drop(columns="role", errors="ignore").assign(loss=1.0), asked)
        if not len(rows.target):
            raise AnalysisError(Complaint("no run to plan with", hint="give params, tokens and flops"))
        losses = prior.losses(rows.inputs)
        if not (np.isfinite(losses) & (losses > 0)).all():
            message = f"prior of {prior.law.name!r}: gives a loss of {losses.min():g} at a run"
            raise AnalysisError(Complaint(message, hint="give values that were fitted near these sizes"))
        problem = Problem(prior.law, rows.inputs, losses, Loss())
        u = problem.coordinates(prior.params)
        return cls(prior, rows.frame.assign(L=losses), problem, u, rows.cluster, rows.by)

    @cached_property
    def jacobian(self) -> np.ndarray:
        """Slopes (n, P) of log losses."""
        return self.problem.model.jacobian(self.u)

    @cached_property
    def shortage(self) -> str:
        """Why so few runs can say nothing of the law; empty where they may."""
        return shortage(self.problem)

    @cached_property
    def estimates(self) -> Estimates:
        return Estimates(self.jacobian, self.cluster, self.prior.noise)

    @property
    def clusters(self) -> int:
        return self.estimates.clusters

    @property
    def condition(self) -> float:
        return self.estimates.condition

    @property
    def confounded(self) -> tuple[str, ...]:
        """The parameters that the direction least seen is made of, most of it first."""
        weakest = self.estimates.weakest
        order = np.argsort(-weakest)
        return tuple(self.problem.names[i] for i in order if weakest[i] > 0.3 * weakest.max())

    def slopes(self, quantity: Quantity) -> np.ndarray:
        """Slopes (Q, P) of a quantity."""
        return slopes(self.problem, self.u, quantity)

    def value(self, quantity: Quantity) -> np.ndarray:
        """(Q,) the quantity at the prior."""
        return np.asarray(quantity(self.problem.shift(self.u, 1.0)[None]), float)[0]
