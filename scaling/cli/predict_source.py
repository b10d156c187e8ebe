"""What ``predict`` and ``optimal`` rest on: a table that is fitted, a saved fit, or given parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analysis.fits.given import GivenLaw
from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.laws.lookup import find
from analysis.optimal_size.estimate import Estimate
from analysis.optimal_size.estimators import ESTIMATORS
from analysis.optimal_size.saved import read_saved, result
from scaling.cli.options import Fitting, Intervals, Reading, spelt
from scaling.cli.points import Predictor
from scaling.cli.tables import LAW, fit_table
from scaling.errors import Complaint, UserError


@dataclass(frozen=True)
class PredictionSource:
    """What is predicted from, as typed: ``sources`` of tables, a saved fit, or none at all."""

    sources: Sequence[Path]
    law: str | None
    reading: Reading
    fitting: Fitting
    intervals: Intervals

    def words(self, *, intervals: bool = True) -> list[str]:
        """The arguments and options, for the next command, with or without those of ``intervals``."""
        law = [] if self.law in (None, LAW) else ["--law", str(self.law)]
        more = self.intervals.typed() if intervals else []
        return [*map(str, self.sources), *law, *self.reading.typed(), *self.fitting.typed(), *more]

    @property
    def fits_a_table(self) -> bool:
        """Whether the sources are tables, not a saved fit."""
        return bool(self.sources) and (len(self.sources) > 1 or read_saved(self.sources[0]) is None)

    def plot(self) -> list[str]:
        """The command that draws the fit to a table."""
        words = self.words(intervals=False)
        return ["plot", *words, *([] if "--law" in words else ["--law", LAW])]

    def predictor(self) -> Predictor:
        """Fit, read or take what predicts.

        Raises:
            AnalysisError: the table cannot be read or fitted.
            UserError: the options do not go together, or the fit says nothing.
        """
        if not self.sources:
            return self._given()
        saved = read_saved(self.sources[0]) if len(self.sources) == 1 else None
        fitted = self._fitted() if saved is None else self._saved(saved)
        if not fitted.usable:
            status = fitted.status
            name = str(self.sources[0])
            raise UserError(Complaint(f"cannot predict: {status.message}", name, status.advice))
        return fitted

    def _fitted(self) -> Fit | Estimate:
        law = self.law if self.law in ESTIMATORS else find(self.law or LAW)
        options = self.fitting.arguments() | self.intervals.arguments()
        if isinstance(law, Law) and {*law.names} <= {*options.get("fixed", {})}:
            message = f"--fixed: gives all parameters of {law.name}: nothing is left to fit to a table"
            raise UserError(Complaint(message, hint="leave out the table, or hold fewer of them"))
        return fit_table(self.sources, law or LAW, self.reading.arguments(), **options)

    def _saved(self, data: Any) -> Fit | Estimate:
        source = str(self.sources[0])
        options = asdict(self.fitting) | {"level": None}
        self._refuse(
            {**asdict(self.reading), **options, **asdict(self.intervals)}, f"{source} is fitted already"
        )
        fitted = result(data)
        name = fitted.law.name if isinstance(fitted, Fit) else fitted.kind
        law = None if self.law in (None, name) else find(self.law or "")
        if isinstance(fitted, Fit) and fitted.law.function is None and not fitted.law.terms and law is None:
            hint = "give its file, --law file.py:NAME"
            raise UserError(Complaint(f"its law {name!r} is a function, which no JSON holds", source, hint))
        if law is not None and (isinstance(fitted, Estimate) or law.to_dict() != fitted.law.to_dict()):
            message = f"--law {self.law}: {source} is a fit of {name!r}"
            raise UserError(Complaint(message, hint="leave out --law, or give the table to fit another law"))
        return fitted if law is None else result(data, law)

    def _given(self) -> GivenLaw:
        if self.law in ESTIMATORS:
            raise UserError(Complaint(f"--law {self.law}: needs a table", hint="give one"))
        law, fixed = find(self.law or LAW), self.fitting.arguments().get("fixed", {})
        every = ", ".join(law.names)
        if not fixed:
            hint = f"give one, or all parameters of {law.name}, --fixed {law.names[0]}=... ({every})"
            raise UserError(Complaint("a table or a saved fit is missing", hint=hint))
        options = asdict(self.fitting) | {"fixed": None, "convention": None}
        self._refuse({**asdict(self.reading), **options, **asdict(self.intervals)}, "there is no table")
        if unknown := [name for name in fixed if name not in law.names]:
            message = f"--fixed {', '.join(unknown)}: no parameter of {law.name}"
            raise UserError(Complaint(message, hint=f"it has {every}"))
        if missing := [name for name in law.names if name not in fixed]:
            message = f"--fixed: {', '.join(missing)} of {law.name} not given"
            raise UserError(Complaint(message, hint=f"give all of {every}, or a table to fit the others to"))
        return GivenLaw(law, fixed, self.fitting.convention or "6nd")

    def _refuse(self, options: dict[str, Any], why: str) -> None:
        if given := dict.fromkeys(spelt(options)[::2]):
            raise UserError(*(Complaint(f"{name}: {why}", hint="leave it out") for name in given))


def allots(predictor: Predictor) -> bool:
    """Whether a best N and D at a compute can be claimed."""
    if isinstance(predictor, GivenLaw):
        return {*predictor.law.inputs} == {"N", "D"}
    return predictor.optimum is not None and predictor.optimum.a is not None


def reach(predictor: Predictor) -> str:
    """``--compute`` of the two decades from the end of the data."""
    largest = 1e21 if isinstance(predictor, GivenLaw) else max(predictor.data["C"])
    decade = math.floor(math.log10(largest))
    return f"1e{decade}:1e{decade + 2}"
