"""A fit as a frozen result: parameters with verdicts and intervals, predictions, text, JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from analysis.codec import parsed
from analysis.errors import AnalysisError, Argument
from analysis.fits import allocation as derived
from analysis.fits import claims, frontier, newrun, reread
from analysis.fits.allocation import Optimum
from analysis.fits.cost import Cost, counted
from analysis.fits.options import SPACES
from analysis.fits.prediction import Prediction, check_level
from analysis.fits.rates import Function, Rate
from analysis.laws import lookup
from analysis.laws.law import Law
from analysis.results import (  # noqa: F401 - of inherited fields, for the reference
    Estimated,
    FitSetup,
    Interval,
    Intervals,
    Noise,
    Objective,
    Rival,
    Split,
    Starts,
    Status,
    Verdict,
)
from analysis.solve.problem import Loss, Problem
from analysis.tables.units import NOT_STATED

if TYPE_CHECKING:
    from analysis.fits.earlier import Earlier
    from analysis.fits.extrapolation import Extrapolation
    from analysis.fits.profile import Profile
    from analysis.solve.multistart import Solution

CODES = (
    *("ok", "partly_identified", "none_identified", "at_bound", "several_optima"),
    *("not_converged", "not_identified"),
)


@dataclass(frozen=True)
class Fit(Estimated):
    """What a table says about a law.

    ``params``: value where the verdict in ``identified`` is ``yes``, else None. ``solution``: every parameter
    at the optimum (empty if nothing is identified); predictions use it, claims should not.
    ``identified``: per parameter and for a, b (N* ~ C^a, D* ~ C^b) ``{verdict, reason[, bound]}``.
    ``data``: the rows fitted, as columns row, label, cluster, the inputs, N, D, C where known, L, residual
    (log L - log law; where ``setup.space`` is raw without logs, where it is log1p of 1 + L).
    ``noise``: standard deviations of the residuals (``sd_log``, with ``degrees``; ``robust_sd_log``) and of
    repeated seeds (``seeds``); ``clusters_alike_p`` of the permutation test that clusters share noise.
    ``replicates``: coordinates (logs of coefficients, exponents). ``others``: parameters under objectives
    that disagree by more than the interval. ``setup``: columns and bounds asked for.
    """

    law: Law
    objective: Objective
    starts: Starts
    optimum: Optimum | None
    fixed: dict[str, float]
    noise: Noise
    setup: FitSetup
    others: tuple[Rival, ...] = ()
    splits: tuple[Split, ...] = ()

    SCHEMA: ClassVar = 2
    WHAT: ClassVar = "fit"
    AGAIN: ClassVar = "fit the table again with this version"

    @property
    def residuals(self) -> np.ndarray:
        """log loss - log law, one per fitted row."""
        return np.array(self.data["residual"])

    @property
    def unit(self) -> str | None:
        """The unit of the loss, which may be not stated; None where another column was fitted."""
        return (self.setup.unit or NOT_STATED) if self.setup.target == "loss" else None

    @cached_property
    def problem(self) -> Problem:
        """The numerical problem that was solved, again."""
        kind, delta = self.objective.kind, self.objective.delta
        group = np.array(self.data["group"], int) if "group" in self.data else None
        return Problem(
            self.law, {x: np.array(self.data[x]) for x in self.law.inputs}, np.array(self.data["L"]),
            Loss(np.inf if delta is None else delta, SPACES[kind]), self.fixed,
            np.array(self.data["weight"]) if "weight" in self.data else None, self.setup.bounds,
            group, self.setup.labels, self.setup.own,
        )  # fmt: skip

    @cached_property
    def draws(self) -> np.ndarray:
        """The replicates (R, P), plain coordinates."""
        return np.array(self.replicates)

    @cached_property
    def point(self) -> np.ndarray:
        """The optimum (1, P), plain coordinates."""
        return self.problem.shift(self.problem.coordinates(self.solution), 1.0)[None]

    @cached_property
    def solved(self) -> Solution:
        """The optimum as the solver gives it, in the coordinates of ``problem``: found again from
        ``solution``, so that other weights, losses or laws can begin there."""
        from analysis.solve.multistart import solve

        return solve(self.problem, start=self.problem.coordinates(self.solution)[None])

    @property
    @np.errstate(all="ignore")
    def cov(self) -> pd.DataFrame:
        """Covariance of the parameters over the replicates, in their own units. Raises AnalysisError."""
        self.need("give a covariance")
        names = list(self.solution)
        return pd.DataFrame(np.cov(self.problem.parameters(self.draws).T, ddof=0), names, names)

    def ci(self, level: float | None = None) -> pd.DataFrame:
        """Per parameter and for a, b: estimate, low, high, verdict, reason; what is not identified is nan,
        what is one-sided has its bound only. Another ``level`` than the fit's comes from the replicates."""
        check_level(level)
        ends = self.intervals.params
        if level is not None and level != self.level and self.usable:
            ends = claims.at_level(self, level)
        values = {**(self.optimum.exponents if self.optimum else {}), **self.params}
        return claims.table(self.identified, values, ends)

    def estimates(self) -> dict[str, tuple[float, Interval]]:
        """Value and interval of every parameter and of a, b, whether identified or not; empty where nothing
        could be fitted. Claims rest on :meth:`ci`, which leaves out what is not identified."""
        return claims.estimates(self) if self.usable else {}

    def exponents(self, u: np.ndarray, rate: Rate) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """a, b and log G at draws ``u`` (R, P), at the largest compute of the data."""
        return derived.best_exponents(self.problem, u, rate, max(self.data["C"]))

    @np.errstate(all="ignore")
    def predict(
        self,
        rows: pd.DataFrame | Mapping[str, Any] | None = None,
        *,
        level: float | None = None,
        cost: Cost | Function | None = None,
        **inputs: Any,
    ) -> Prediction:
        """Predict the loss of runs, with intervals of the law and of a new run.

        At C alone, N and D are those that are best for it; at C and one of them, the other is what C leaves.
        Beyond the data a new run is forecast as :mod:`analysis.fits.extrapolation` says: by a refit
        that weighs large runs more (``forecast``), with an interval that holds the discrepancy between law
        and world.

        Args:
            rows: a table of runs, or a mapping of the law's inputs (m,) by name, with the column of groups
                where the fit has them; left out: the keyword ``inputs``.
            level: of the intervals, between 0 and 1; left out: that of the fit.
            cost: what N and D cost, where one of them follows from C: a function or a cost, as of
                :class:`analysis.fits.options.FitOptions`. Left out: the fit's own.
            **inputs: the same by keyword, as ``predict(N=1e9, D=2e10)``.

        Raises:
            AnalysisError: the fit is not usable, an input is missing, not a number or not positive, a group
                was not fitted, or the level or cost is invalid.
        """
        return newrun.predicted(self, inputs if rows is None else rows, level, cost)

    @np.errstate(all="ignore")
    def band(
        self,
        rows: pd.DataFrame | Mapping[str, Any] | None = None,
        *,
        level: float | None = None,
        cost: Cost | Function | None = None,
        **inputs: Any,
    ) -> Prediction:
        """Give the confidence band of the law alone: ``loss, low, high, se_log`` of :meth:`predict`,
        without a new run. Arguments and errors are the same."""
        return newrun.predicted(self, inputs if rows is None else rows, level, cost, new_run=False)

    def forecast(self) -> Extrapolation:
        """Refit the law with weights that grow with scale, for forecasts of runs beyond the data, as
        :meth:`predict` makes them.

        Raises:
            AnalysisError: the fit is not usable, or not of log loss.
        """
        return self._extrapolation

    @cached_property
    def earlier(self) -> Earlier:
        """The law fitted to the rows below the largest budget alone. Raises AnalysisError where that leaves
        too little."""
        from analysis.fits.earlier import Earlier

        return Earlier.of(self)

    @cached_property
    def _extrapolation(self) -> Extrapolation:
        from analysis.fits.extrapolation import Extrapolation

        return Extrapolation.of(self)

    def optimal(
        self,
        flops: float | np.ndarray,
        *,
        level: float | None = None,
        group: str | None = None,
        cost: Cost | Function | None = None,
    ) -> pd.DataFrame:
        """Find the compute-optimal N* and D* at given compute, and the loss there, with intervals.

        Args:
            flops: compute C, one or (m,).
            level: of the intervals, between 0 and 1; left out: that of the fit.
            group: label of the group asked about, where the fit has groups.
            cost: what N and D cost: a function that gives the FLOPs per token of sizes N (m,), or a cost.
                Left out: that of the fit (``fit.cost``).

        Returns:
            A frame with the columns of :class:`analysis.fits.prediction.Prediction` asked at C: C; N, N_low,
            N_high; D, D_low, D_high; a, b (local exponents); loss, low, high, new_low, new_high, se_log;
            extrapolation, beyond; unidentified. Its ``attrs`` have method, level, cost (in words) and notes.

        Raises:
            AnalysisError: the fit is not usable, its law has no optimal allocation or lost a term to a
                coefficient of 0, compute is not finite and positive, or the level, group or cost is invalid.
        """
        return frontier.optimal(self, flops, level=level, group=group, cost=cost)

    @property
    def cost(self) -> Cost:
        """What N and D cost in the table. Raises AnalysisError for a law without an optimal allocation."""
        if self.optimum is None:
            raise AnalysisError(
                f"law {self.law.name!r} has no optimal allocation; use one in N and D, as chinchilla"
            )
        return self.optimum.cost

    def price(self, given: Cost | Function | None) -> Cost | None:
        """The cost to ask at; None for a law without one. Raises AnalysisError."""
        if given is None:
            return self.optimum.cost if self.optimum else None
        if isinstance(given, Cost):
            return given
        n, d, c = (np.array(self.data[x]) for x in "NDC")
        return counted(given, n, d, c)

    @np.errstate(all="ignore")
    def profile(
        self, name: str, *, level: float | None = None, simulations: int = 199, seed: int = 0
    ) -> Profile:
        """Profile the objective over a free parameter, everything else solved again.

        Args:
            name: the parameter.
            level: of the interval, between 0 and 1; left out: that of the fit.
            simulations: how many calibrate the threshold; 0: the robust noise square does.
            seed: of the simulations.

        Raises:
            AnalysisError: the fit is not usable, or ``name`` is none of its free parameters.
        """
        from analysis.fits.profile import profile

        self.need("be profiled")
        at = list(self.problem.names).index(name) if name in self.problem.names else None
        if at is None or not self.problem.free[at]:
            raise AnalysisError(f"profile of {name!r}: choose a free parameter of {', '.join(self.solution)}")
        return profile(
            self.problem, self.solved, name, level=self.level if level is None else level,
            cluster=np.array(self.data["cluster"]), simulations=simulations, seed=seed,
        )  # fmt: skip

    def need(self, what: str) -> None:
        """Raises AnalysisError for a fit that is not usable, which then cannot do ``what``."""
        if not self.usable:
            raise AnalysisError(f"fit of {self.law.name!r} cannot {what}: {self.status.message}")

    def summary(self, *, dim: bool = False, spell: Callable[[Argument], str] = str) -> str:
        """The fit as text; ``dim`` what is not identified, for a terminal; ``spell`` writes arguments."""
        from analysis.fits.summary import fit_text

        return fit_text(self, dim=dim, spell=spell)

    def to_latex(self) -> str:
        """The fit as a table in LaTeX (booktabs): parameters, intervals, verdicts; a caption with formula,
        residuals, method, and why what is not identified is not."""
        from analysis.fits.latex import fit_latex

        return fit_latex(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], law: Law | None = None) -> Fit:
        """Read what ``to_dict`` wrote; ``law`` as of :meth:`from_json`. Raises AnalysisError."""
        if law is not None and law.to_dict() != data["law"]:
            raise AnalysisError(f"fit: law {law.name!r} is not the one fitted, {data['law']['formula']}")
        fit = super().from_dict(reread.completed(data), law=lambda written: law or lookup.from_dict(written))
        reread.check_law(fit)
        return fit

    @classmethod
    def from_json(cls, text: str, law: Law | None = None) -> Fit:
        """The fit that ``to_json`` wrote; a ``law`` by function that we do not ship is given again, or the
        fit can be read but not predict. Raises AnalysisError on another schema, broken text, or a law
        that does not give the residuals kept."""
        return cls.from_dict(parsed(text, cls), law)
