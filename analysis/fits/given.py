"""A law whose parameters are all given, such as published ones: it predicts without the runs behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits import prediction
from analysis.fits.allocation import best
from analysis.fits.prediction import Prediction, WholeRows
from analysis.fits.rate_curve import SIX
from analysis.fits.rates import Power
from analysis.laws.law import Law
from analysis.laws.lookup import require
from analysis.solve.problem import Loss, Problem
from analysis.tables.runs import CONVENTIONS

UNKNOWN = "parameters given, without the runs behind them: no interval, and extrapolation is not known"
MIDDLE = 1e9  # parameters: sizes are searched from there


@dataclass(frozen=True)
class GivenLaw:
    """Every parameter of a law, given by name or as a Law: ``GivenLaw("chinchilla", {"E": 1.69, ...})``.
    ``convention`` says what N is; C = 6 N D. Raises AnalysisError."""

    law: Law
    params: Mapping[str, float]
    convention: str = "6nd"

    def __post_init__(self) -> None:
        law = require(self.law)
        object.__setattr__(self, "law", law)
        if {*self.params} != {*law.names}:
            raise AnalysisError(f"law {law.name!r}: give all of {', '.join(law.names)}, and no other")
        problems = [
            f"{name} = {value!r}" for name, value in self.params.items() if not _possible(law, name, value)
        ]
        if problems:
            raise AnalysisError(
                f"law {law.name!r}: {', '.join(problems)} must be finite, and a coefficient not negative"
            )
        if self.convention not in CONVENTIONS or CONVENTIONS[self.convention][1] is None:
            known = [name for name, (_, per_token, _) in CONVENTIONS.items() if per_token]
            raise AnalysisError(
                f"convention {self.convention!r} takes C from the FLOPs of a table; without one choose from "
                f"{', '.join(known)}"
            )

    @property
    def cost(self) -> Power:
        """C = 6 N D."""
        return Power(SIX)

    @property
    def replicates(self) -> tuple[()]:
        """None: there are no runs to resample."""
        return ()

    def predict(self, rows: pd.DataFrame | Mapping[str, Any] | None = None, **inputs: Any) -> Prediction:
        """Loss at ``rows`` or inputs, as of :meth:`analysis.Fit.predict`; at C alone at the best N and D.
        Raises AnalysisError."""
        at = prediction.known(cast(Any, self), inputs if rows is None else rows)
        if set(at) == {"C"} and {"N", "D"} == set(self.law.inputs):
            at |= self._best(at["C"])
        at, _ = prediction.complete(cast(Any, self), at, self.cost)
        frame = pd.DataFrame({**at, "loss": self._value(at)})
        return Prediction(frame, np.nan, "none", "log", (UNKNOWN,))

    def optimal(self, flops: Any) -> pd.DataFrame:
        """Best N and D at ``flops`` = 6 N D, and the loss there. Raises AnalysisError."""
        if set(self.law.inputs) != {"N", "D"}:
            raise AnalysisError(
                f"law {self.law.name!r} has no optimal allocation; use one in N and D, as chinchilla"
            )
        found = self.predict(C=flops)
        frame = WholeRows(found.frame)
        frame.attrs.update(
            method=found.method, level=found.level, cost=self.cost.description, notes=found.notes
        )
        return frame

    def _value(self, at: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.broadcast_to(self.law.values(self.params, at), np.shape(next(iter(at.values()))))

    def _best(self, flops: np.ndarray) -> dict[str, np.ndarray]:
        problem = Problem(
            self.law, dict.fromkeys("ND", np.array([MIDDLE])), np.ones(1), Loss(), dict(self.params)
        )
        sizes = best(problem, problem.coordinates(self.params)[None], self.cost, flops)[0]
        if not np.isfinite(sizes).all():
            raise AnalysisError(
                f"law {self.law.name!r} with these parameters has no best size at C = {flops[0]:g}"
            )
        return {"N": sizes, "D": self.cost.tokens(sizes, flops)}


def _possible(law: Law, name: str, value: Any) -> bool:
    return not isinstance(value, bool) and bool(np.isfinite(value)) and (value >= 0 or not law.in_log(name))
