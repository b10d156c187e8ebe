"""What an estimator says of a table, as a frozen result: power laws N*, D*, L* of C through its optima."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits.intervals import interval, intervals
from analysis.fits.prediction import FAR, Prediction, check_level, claims
from analysis.fits.summary import count, left_out, parameters
from analysis.results import Exponents, Interval, Intervals, Result, Status, Verdict
from analysis.tables.runs import CONVENTIONS
from analysis.tables.units import NOT_STATED, of_unit

LINES = {"N": ("k_N", "a", 1.0), "D": ("k_D", "b", 1.0), "loss": ("k_L", "c", -1.0)}  # sign of the exponent
Ends = dict[str, Interval]


@dataclass(frozen=True)
class Estimate(Result):
    """N* = k_N (C/C0)^a, D* = k_D (C/C0)^b, L* = k_L (C/C0)^-c, each by a regression of its own through
    ``points``. C0, in ``setup``, is a round compute amid them, for which coefficients are sizes and a loss.

    ``kind``: the estimator. ``params``: value where the verdict in ``identified`` is ``yes``, else None;
    ``solution``: every value (empty with fewer than two optima). ``status, identified, intervals, excluded,
    notes, setup``: as of :class:`analysis.Fit`. ``points``: budget (FLOPs), N, D, loss of each optimum
    and its ``weight``. ``replicates`` (R, 6): logs of k_N, k_D, k_L and slopes, of those that gave any, in
    the order k_N, a, k_D, b, k_L, -c. ``bias``: what the estimator is known to get wrong. ``data``: the rows
    used, as columns row, cluster, N, D, C, L (and ``run`` of an envelope).
    """

    kind: str
    convention: str
    params: dict[str, float | None]
    solution: dict[str, float]
    status: Status
    identified: dict[str, Verdict]
    intervals: Intervals
    points: tuple[dict[str, float], ...]
    bias: str
    excluded: tuple[dict[str, str], ...]
    notes: tuple[str, ...]
    data: dict[str, tuple[Any, ...]]
    replicates: tuple[tuple[float, ...], ...]
    setup: dict[str, Any] = field(default_factory=dict)

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "estimate"
    AGAIN: ClassVar = "estimate again"
    DERIVED: ClassVar = ("optimum",)

    @property
    def optimum(self) -> Exponents:
        """What :class:`analysis.Fit` has of its optimum too: a and b, None where not identified."""
        return Exponents(self.params.get("a"), self.params.get("b"))

    @property
    def fixed(self) -> dict[str, float]:
        """Nothing of an estimate can be held."""
        return {}

    @property
    def usable(self) -> bool:
        return bool(self.solution)

    @property
    def level(self) -> float:
        return self.intervals.level

    @property
    def unit(self) -> str:
        """The unit of the loss, which may be not stated."""
        return self.setup.get("unit", NOT_STATED)  # not there in files of earlier versions

    @property
    def formula(self) -> str:
        at = f", C0 = {self.setup['C0']:.4g} FLOPs" if self.usable else ""
        return f"N* = k_N (C/C0)^a, D* = k_D (C/C0)^b, L* = k_L (C/C0)^-c{at}"

    def estimates(self) -> dict[str, tuple[float, Interval]]:
        """Value and interval of every parameter, whether identified or not."""
        unknown = Interval(np.nan, np.nan)
        return {
            name: (self.solution[name], self.intervals.params.get(name, unknown))
            for name in (self.identified if self.usable else ())
        }

    def ci(self, level: float | None = None) -> pd.DataFrame:
        """Per parameter: estimate, low, high, verdict, reason; what is not identified is nan. Another
        ``level`` than the result's comes from the replicates. Raises AnalysisError."""
        check_level(level)
        known = level in (None, self.level) or not self.replicates
        degrees = self.intervals.degrees
        ends = self.intervals.params if known else widths(self.solution, self._draws, level, degrees)
        return claims(self.identified, self.params, ends)

    @property
    def _draws(self) -> np.ndarray:
        return np.array(self.replicates).reshape(-1, 6)

    def predict(self, C: Any, *, level: float | None = None) -> Prediction:
        """N*, D* and the loss there at compute ``C`` (FLOPs: a number, several, or a table with ``flops``),
        with intervals of the lines; nan without replicates. There is none for a new run: the optima are
        smoothed or chosen, and do not show how single runs scatter. Raises AnalysisError."""
        check_level(level)
        if not self.usable:
            raise AnalysisError(f"estimate by {self.kind!r} cannot predict: {self.status.message}")
        at, level = _compute(C), self.level if level is None else level
        x, out, se = np.log(at / self.setup["C0"]), pd.DataFrame({"C": at}), np.full(len(at), np.nan)
        for i, (name, (k, exponent, sign)) in enumerate(LINES.items()):
            point = self.solution[k] * np.exp(sign * self.solution[exponent] * x)
            low, high = se, se
            if self.replicates:
                draws = np.exp(self._draws[:, [2 * i]] + self._draws[:, [2 * i + 1]] * x)
                low, high = intervals(point, draws, level, self.intervals.degrees)
                se = np.sqrt(np.mean(np.log(draws / point) ** 2, axis=0)) if name == "loss" else se
            ends = ("low", "high") if name == "loss" else (f"{name}_low", f"{name}_high")
            out[[name, *ends]] = np.stack([point, low, high], axis=1)
        out["se_log"] = se
        out["extrapolation"] = at / max(self.data["C"])
        return Prediction(out, level, self.intervals.method, "log", self._beware(at))

    def _beware(self, at: np.ndarray) -> tuple[str, ...]:
        far, low = at.max() / max(self.data["C"]), min(self.data["C"]) / at.min()
        notes = (
            [] if far <= FAR else [f"{far:.3g}x beyond the data: intervals assume straight lines up to there"]
        )
        if low > FAR:
            notes.append(f"{low:.3g}x below the data: intervals assume straight lines down to there")
        if at.max() > max(p["budget"] for p in self.points):
            notes.append("a power law of the loss without a floor falls too fast beyond the optima")
        return tuple(notes)

    def optimal(self, flops: Any, *, level: float | None = None) -> pd.DataFrame:
        """The frame of :meth:`predict`; its ``attrs`` have method, level and notes. Raises AnalysisError."""
        prediction = self.predict(flops, level=level)
        prediction.frame.attrs.update(
            method=prediction.method, level=prediction.level, notes=prediction.notes
        )
        return prediction.frame

    def summary(self, *, dim: bool = False) -> str:
        """The result as text; ``dim`` what is not identified, for a terminal."""
        lines = [
            f"{self.kind}: {self.formula}",
            f"  {CONVENTIONS[self.convention][2]}; {of_unit('L', self.unit)}",
        ]
        lines.append(f"  status: {self.status.code} - {self.status.message}")
        if self.status.code != "ok":
            lines.append(f"  advice: {self.status.advice}")
        if self.usable:
            sizes, budgets = ([p[key] for p in self.points] for key in ("N", "budget"))
            lines += ["", *parameters(self, dim=dim), ""]
            lines.append(
                f"  optima: {len(self.points)}, C = {min(budgets):.3g} to {max(budgets):.3g} FLOPs, "
                f"N* = {count(min(sizes))} to {count(max(sizes))}, from {len(self.data['row'])} rows"
            )
            lines.append(f"  intervals: {self.level:.0%}, {self.intervals.method}")
        lines += left_out(self)
        return "\n".join([*lines, *(f"  note: {note}" for note in (*self.notes, self.bias))])


def widths(solution: Mapping[str, float], draws: np.ndarray, level: Any, degrees: int) -> Ends:
    """Intervals of the parameters from ``draws`` (R, 6)."""
    out = {}
    for i, (k, exponent, sign) in enumerate(LINES.values()):
        for name, many in ((exponent, sign * draws[:, 2 * i + 1]), (k, np.exp(draws[:, 2 * i]))):
            out[name] = interval(solution[name], many, level, degrees, log=name == k)
    return out


def _compute(asked: Any) -> np.ndarray:
    given = asked
    if isinstance(asked, (Mapping, pd.DataFrame)):
        key = next((x for x in ("C", "flops") if x in asked), None)
        given = () if key is None else asked[key]
    try:
        at = np.atleast_1d(np.asarray(given, float))
    except (TypeError, ValueError):
        at = np.array([])
    if not len(at) or at.ndim > 1 or not (np.isfinite(at) & (at > 0)).all():
        raise AnalysisError(
            f"prediction at C = {asked!r}: give compute in FLOPs, finite and positive, as 1e21"
        )
    return at
