"""Where a law is asked: one run, or the best run of a compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.errors import AnalysisError, Complaint
from analysis.fits import allocation
from analysis.fits.allocation import best
from analysis.fits.rates import Rate
from analysis.laws.law import Law
from analysis.planning.field import problem_of
from analysis.planning.information import Quantity
from analysis.planning.prior import Prior
from analysis.solve.problem import Problem


@dataclass(frozen=True)
class Target:
    """Where the law will be asked: at ``inputs`` by name, of one run; of compute C alone at the N and D that
    are best for it. ``label`` names it."""

    inputs: dict[str, float]
    label: str

    @classmethod
    def at_compute(cls, flops: float) -> Target:
        """Ask for the best run of a compute. Raises AnalysisError where it is not positive and finite."""
        if not 0 < flops < np.inf:
            message = f"target: compute = {flops:g}: must be positive and finite"
            raise AnalysisError(Complaint(message, hint="such as 1e20"))
        return cls({"C": float(flops)}, f"C = {flops:.4g}")

    @property
    def alone(self) -> bool:
        """Whether only compute is given."""
        return set(self.inputs) == {"C"}

    @property
    def compute(self) -> float | None:
        return self.inputs.get("C")

    def known_to(self, law: Law) -> bool:
        """Whether a law can be asked there: it has its inputs, or a best run of the compute."""
        return {*law.inputs} <= {*self.inputs} or (self.alone and {*law.inputs} == {"N", "D"})

    def input(self, law: Law, name: str) -> float:
        """One input of a law there. Raises AnalysisError where it is not given."""
        if name not in self.inputs:
            message = (
                f"target {self.label}: law {law.name!r} needs {name}, and {', '.join(self.inputs)} are given"
            )
            raise AnalysisError(Complaint(message, hint=f"give {', '.join(law.inputs)}, by these names"))
        return self.inputs[name]


def size_name(compute: float) -> str:
    """How N* at a compute is named."""
    return f"N*(C = {compute:.4g})"


def optimum_of(problem: Problem, price: Rate, flops: float, *, size: bool = False) -> Quantity:
    """The logs of N*, D* and the loss there at a compute, of plain coordinates (R, P) -> (R, 3); of N* alone
    with ``size``."""
    c = np.array([flops])

    def quantity(u: np.ndarray) -> np.ndarray:
        n = best(problem, u, price, c)
        if size:
            return np.log(n)
        d = price.tokens(n, c)
        y = allocation.values(problem, u, {"N": n, "D": d})
        return np.log(np.concatenate([n, d, y], axis=1))

    return quantity


def place_of(prior: Prior, target: Target, price: Any) -> dict[str, float]:
    """The inputs of the law at a target: given, or of compute alone the best N and D. Raises AnalysisError
    where there are none."""
    law = prior.law
    if not target.alone or law.inputs == ("C",):
        return {x: target.input(law, x) for x in law.inputs}
    if price is None or set(law.inputs) != {"N", "D"}:
        message = f"target {target.label}: law {law.name!r} has no best N and D at a compute"
        raise AnalysisError(
            Complaint(message, hint="give the inputs of a run, such as params=7e9,tokens=1.4e11")
        )
    c = np.array([target.compute])
    problem = problem_of(prior, {"N": np.array([1e3, 1e12]), "D": np.array([1e3, 1e13])})
    with np.errstate(all="ignore"):  # a term of the prior may have vanished
        n = best(problem, problem.shift(problem.coordinates(prior.params), 1.0)[None], price, c)[0]
    if not np.isfinite(n).all():
        raise AnalysisError(
            Complaint(f"target {target.label}: no best size there", hint="ask for another compute")
        )
    return {"N": float(n[0]), "D": float(price.tokens(n, c)[0])}
