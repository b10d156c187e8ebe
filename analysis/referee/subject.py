"""What is tested: a law on a table, its fit, what that claims, and how far another fit moves the claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.comparison import Comparison, compare
from analysis.errors import AnalysisError
from analysis.fits import allocation
from analysis.fits.covariance import adjusted, linear, usable
from analysis.fits.fitting import fit
from analysis.fits.options import FitOptions
from analysis.fits.resolve import solved
from analysis.fits.result import Fit
from analysis.fits.rows import Rows, prepare
from analysis.fits.summary import count, number
from analysis.laws.law import Law
from analysis.laws.shipped import LAWS
from analysis.referee.outcome import Outcome
from analysis.results import Interval
from analysis.solve.problem import Problem

AHEAD = 10.0  # times the largest compute, where forecasts are compared unless a compute is asked for
QUICK = ("kaplan",)  # rivals beside the sums of powers
CHECKED = 8  # fits of a batch that are solved again from many starts


@dataclass(frozen=True)
class Shift:
    """How far a fit moved the claim ``name``, from ``value`` to ``to``: ``size`` as a share of the distance
    to the end of its interval, so that above 1 it lies outside; ``beyond`` as a share of what noise alone
    moves it by, where that is known."""

    size: float
    name: str
    value: float
    to: float
    beyond: float = np.inf

    @property
    def matters(self) -> bool:
        """Whether the claim leaves its interval, by more than noise explains."""
        return min(self.size, self.beyond) > 1

    @property
    def text(self) -> str:
        moved = f"{self.name} from {number(self.value)} to {number(self.to)}, {self.size:.2g} of what its "
        moved += "interval allows"
        return moved + (f", {self.beyond:.2g} of what noise explains" if np.isfinite(self.beyond) else "")


STILL = Shift(0.0, "", np.nan, np.nan)
SURE = 0.95  # that noise alone does not move any claim further
STEP = 0.01  # of the influence of a cluster, along which claims are linearised


@dataclass(frozen=True)
class Subject:
    """A ``law`` on a ``table``, with ``options`` of :func:`analysis.fit`, and the ``compute`` that the law is
    to be used at, where that is known; ``curves``: logged rows of the runs, where there are some. Fits are
    made when a test first asks."""

    law: Law
    table: pd.DataFrame
    options: Mapping[str, Any] = field(default_factory=dict)
    compute: float | None = None
    curves: pd.DataFrame | None = None

    @cached_property
    def asked(self) -> FitOptions:
        return FitOptions(**self.options)

    @cached_property
    def rows(self) -> Rows:
        """The rows fitted, in the order of the fit, with all their columns."""
        return prepare(self.law, self.table, self.asked.checked(self.law))

    @property
    def frame(self) -> Any:
        return self.rows.frame

    @cached_property
    def fitted(self) -> Fit:
        """The fit, whatever it is worth."""
        return fit(self.law, self.table, **self.options)

    @property
    def fit(self) -> Fit:
        """The fit. Raises AnalysisError where nothing could be fitted."""
        if not self.fitted.usable:
            raise AnalysisError(f"there is no fit: {self.fitted.status.message}")
        return self.fitted

    @cached_property
    def flops(self) -> np.ndarray:
        """The compute (n,) of the rows fitted. Raises AnalysisError where it is not known."""
        if "C" not in self.frame.columns:
            raise AnalysisError("the compute of the runs is not known")
        return self.frame["C"].to_numpy(float)

    @property
    def largest(self) -> float:
        """The largest compute fitted. Raises AnalysisError where it is not known."""
        return float(self.flops.max())

    @cached_property
    def ahead(self) -> dict[str, Any]:
        """Inputs (1,) of the run of least loss, taken to the compute asked for, else ``AHEAD`` times the
        largest one; with the label of its group."""
        best = int(np.argmin(self.rows.target))
        known = self.compute is not None or "C" in self.frame.columns
        times = (self.compute or AHEAD * self.largest) / float(self.flops[best]) if known else AHEAD
        inputs = self.rows.inputs
        power = {"N": 0.5, "D": 0.5, "C": 1.0}
        at = {x: v[[best]] * times ** power.get(x, 0.0) for x, v in inputs.items()}
        if self.rows.group is not None:
            at[str(self.asked.groups)] = np.array([self.rows.labels[int(self.rows.group[best])]])
        return at

    @cached_property
    def forecast(self) -> str:
        """What the forecast is of, in words."""
        at = ", ".join(f"{x} = {count(float(v[0]))}" for x, v in self.ahead.items() if x in self.law.inputs)
        return f"the law at {at}"

    @cached_property
    def claims(self) -> dict[str, tuple[float, Interval]]:
        """Value and interval of all that is identified, and of the law where it is used; a coefficient of a
        power follows its exponent and is no claim of its own."""
        verdicts, terms = self.fit.identified, self.law.terms
        own = {
            n
            for n, base in zip(self.fit.problem.names, self.fit.problem.base, strict=True)
            if terms.get(base)
        }
        kept = {
            name: known
            for name, known in self.fit.estimates().items()
            if verdicts[name].verdict == "yes" and verdicts[name].code != "fixed" and name not in own
        }
        row = self.fit.predict(self.ahead).frame.iloc[0]
        ends = Interval(float(row["low"]), float(row["high"]))
        return {**kept, self.forecast: (float(row["loss"]), ends)}

    @cached_property
    def compared(self) -> tuple[Comparison, ...]:
        """The law against each of its rivals, on runs held out. Raises AnalysisError where none can be."""
        options = {name: v for name, v in self.options.items() if name not in ("bootstrap", "method")}
        rivals, out, lost = _rivals(self.fit.law), [], []
        for rival in rivals:
            try:
                out.append(compare([self.law, rival], self.table, bootstrap=0, **options))
            except AnalysisError as error:
                lost.extend(error.problems)
        if not out:
            inputs = ", ".join(self.law.inputs)
            raise AnalysisError(lost or [f"no other law of {inputs} is shipped to compare with"])
        return tuple(out)

    def shift(self, values: Mapping[str, float], only: str | None = None) -> Shift:
        """The claim, of all or ``only`` one, that other ``values`` by name move furthest."""
        moved = [
            Shift(_share(values[name], *claim), name, claim[0], values[name])
            for name, claim in self.claims.items()
            if name in values and only in (None, name)
        ]
        return max(moved, key=lambda one: one.size, default=STILL)

    def of(self, coordinates: np.ndarray) -> list[dict[str, float]]:
        """The values that are claimed, at coordinates (R, P) of the fit's problem."""
        problem = self.fit.problem
        params = problem.parameters(coordinates)
        out = [dict(zip(problem.names, map(float, row), strict=True)) for row in params]
        if self.fit.optimum is not None:
            pair = allocation.best_exponents(problem, coordinates, self.fit.cost, self.largest)[:2]
            for i, values in enumerate(out):
                values |= {name: float(of[i]) for name, of in zip("ab", pair, strict=True)}
        group = int(self.rows.group[int(np.argmin(self.rows.target))]) if self.rows.group is not None else 0
        inputs = {x: self.ahead[x] for x in self.law.inputs}
        losses = allocation.values(problem, coordinates, inputs, group)[:, 0]
        for values, loss in zip(out, losses, strict=True):
            values[self.forecast] = float(loss)
        return out

    def weighed(self, weights: np.ndarray, check: int = CHECKED) -> np.ndarray:
        """Optima (R, P), centred, under other weights (R, n) of the rows; ``check`` of many starts."""
        problem = self.fit.problem

        def draw(which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return problem.y, weights[which]

        return solved(problem, self.fit.solved, len(weights), draw, check)[0]

    def without(self, rows: np.ndarray, check: int = CHECKED) -> list[Shift]:
        """What leaving rows out (R, n) moves most, each time."""
        ends = self.weighed(np.where(rows, 0.0, self.fit.problem.w), check)
        return [self.shift(values) for values in self.of(self.fit.problem.shift(ends, 1.0))]

    def against(self, other: Problem, u: np.ndarray, tries: int = 1) -> Shift:
        """What another ``problem`` of the same law and rows, with its optimum ``u`` (P,), moves most, against
        what noise moves it by: the two fits share their noise, so that of their difference is taken, by
        clusters, linearised at both optima; over all claims, and as many ``tries``."""
        problem, index = self.fit.problem, self.rows.cluster
        apart = influence(other, u, index) - influence(problem, self.fit.solved.u, index)
        values, *steps = self.of(problem.shift(np.concatenate([u[None], u + STEP * apart]), 1.0))
        tail = 0.5 * (1 - SURE) / (tries * len(self.claims))
        reach = float(stats.t.ppf(1 - tail, max(len(apart) - 1, 1)))
        shifts = []
        for name in self.claims:
            moved = self.shift(values, name)
            error = np.sqrt(sum((step[name] - values[name]) ** 2 for step in steps)) / STEP
            far = abs(moved.to - moved.value) / max(reach * float(error), 1e-300)
            shifts.append(replace(moved, beyond=far))
        return max(shifts, key=lambda one: min(one.size, one.beyond), default=STILL)


@dataclass(frozen=True)
class Test:
    """A question to a subject, and how it is answered. Where the table lacks what the answer needs, ``ask``
    raises AnalysisError, or says that it could not look."""

    title: str
    ask: Callable[[Subject], Outcome]


def _rivals(law: Law) -> list[Law]:
    """Laws of the same inputs that are fitted in no time; else sums of powers of some of them."""
    quick = [one for one in LAWS.values() if one.name != law.name and (one.terms or one.name in QUICK)]
    same = [one for one in quick if set(one.inputs) == set(law.inputs)]
    return same or [one for one in quick if len(one.inputs) > 1 and set(one.inputs) < set(law.inputs)]


def influence(problem: Problem, u: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """(G, P) how far the noise of each cluster moved the optimum ``u`` (P,), to first order."""
    jacobian, _, working, bread = linear(problem, u)
    rows = (jacobian * (working * adjusted(problem, u, cluster))[:, None]) @ bread
    out = np.zeros((int(cluster.max()) + 1, len(u)))
    moved = np.zeros((len(out), rows.shape[1]))
    np.add.at(moved, cluster, rows)
    out[:, usable(problem, u)] = moved
    return out


def _share(new: float, value: float, ends: Interval) -> float:
    """The distance of ``new`` from a value over that of the end of its interval on the same side."""
    if not np.isfinite([new, value, *ends]).all():
        return 0.0
    if min(new, value, *ends) > 0:  # as intervals are of what is positive
        new, value = float(np.log(new)), float(np.log(value))
        ends = Interval(*map(float, np.log(ends)))
    moved, room = new - value, (ends.high - value if new > value else value - ends.low)
    return abs(moved) / room if room > 0 else 0.0 if abs(moved) < 1e-12 * abs(value) else np.inf
