"""From optima to an estimate, a frozen result: power laws N*, D*, L* of C, three regressions on log C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Argument
from analysis.fits import claims
from analysis.fits.identification import bounded, coefficient
from analysis.fits.intervals import interval, intervals
from analysis.fits.latex import latex
from analysis.fits.options import LEAST
from analysis.fits.prediction import Prediction, check_level, extrapolated, factors
from analysis.fits.summary import count, left_out, parameters
from analysis.optimal_size.envelope import Curves
from analysis.optimal_size.isoflop import lines
from analysis.results import Estimated, Exponents, Interval, Intervals, Setup, Status, Verdict
from analysis.tables.runs import CONVENTIONS
from analysis.tables.units import NOT_STATED, of_unit

NORMAL = 10**6  # degrees of freedom where replicates need no stretching
MEETS = 0.005  # of a + b and 1
LINES = {"N": ("k_N", "a", 1.0), "D": ("k_D", "b", 1.0), "loss": ("k_L", "c", -1.0)}  # sign of the exponent
Ends = dict[str, Interval]


@dataclass(frozen=True)
class EstimateSetup(Setup):
    """What a run's loss scatters by between seeds, where that was said (``noise``), how ``curves`` were read,
    the ``seed`` of the replicates, and the compute ``C0`` at which coefficients are sizes and a loss."""

    noise: float | None = None
    curves: Curves | None = None
    seed: int = 0
    C0: float = np.nan


@dataclass(frozen=True)
class Optima:
    """Logs of C, N, D, L (B, 4); what is no optimum, and why; the spread of log N that weighs each (B,);
    replicates of the lines (R, 6) at log C = ``centre``, their method in words and degrees of freedom;
    ``doubt``: why their intervals do not hold."""

    logs: np.ndarray
    refused: Sequence[str]
    spread: np.ndarray | None = None
    centre: float = 0.0
    draws: np.ndarray = field(default_factory=lambda: np.empty((0, 6)))
    method: str = "none"
    degrees: int = NORMAL
    doubt: str = ""

    @property
    def points(self) -> tuple[dict[str, float], ...]:
        names, columns = ["budget", "N", "D", "loss"], np.exp(self.logs)
        if self.spread is not None:
            names, columns = [*names, "spread"], np.column_stack([columns, self.spread])
        return tuple(dict(zip(names, row, strict=True)) for row in columns.tolist())


@dataclass(frozen=True)
class Estimate(Estimated):
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
    points: tuple[dict[str, float], ...]
    bias: str
    setup: EstimateSetup

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
    def unit(self) -> str:
        """The unit of the loss, which may be not stated."""
        return self.setup.unit or NOT_STATED  # which files of earlier versions leave out

    @property
    def formula(self) -> str:
        at = f", C0 = {self.setup.C0:.4g} FLOPs" if self.usable else ""
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
        return claims.table(self.identified, self.params, ends)

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
        x, out, se = np.log(at / self.setup.C0), pd.DataFrame({"C": at}), np.full(len(at), np.nan)
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
        far = factors(self.data, {x: out[x] for x in "NDC"})
        notes = extrapolated(out, far, "intervals assume that straight lines reach that far")
        if at.max() > max(p["budget"] for p in self.points):
            notes += ("a power law of the loss without a floor falls too fast beyond the optima",)
        return Prediction(out, level, self.intervals.method, "log", notes)

    def optimal(self, flops: Any, *, level: float | None = None) -> pd.DataFrame:
        """The frame of :meth:`predict`; its ``attrs`` have method, level and notes. Raises AnalysisError."""
        prediction = self.predict(flops, level=level)
        prediction.frame.attrs.update(
            method=prediction.method, level=prediction.level, notes=prediction.notes
        )
        return prediction.frame

    def to_latex(self) -> str:
        """The estimate as a table in LaTeX (booktabs), as of a fit."""
        about = f"{self.kind}, {len(self.points)} optima of {len(self.data['L'])} rows"
        return latex(self, self.formula, about)

    def summary(self, *, dim: bool = False, spell: Callable[[Argument], str] = str) -> str:
        """The result as text; ``dim`` and ``spell`` as of a fit."""
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
    """Give the interval of each parameter.

    Args:
        solution: the parameters' values by name.
        draws: replicates of the lines (R, 6), logs of k and slopes for N, D and the loss.
        level: of the intervals.
        degrees: degrees of freedom of the replicates.
    """
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


def centre_of(logs: np.ndarray) -> float:
    """The middle log C of optima (B, 4), of a compute in two digits."""
    return float(np.log(float(f"{np.exp(logs[:, 0].mean()):.2g}"))) if len(logs) else 0.0


def enough(logs: np.ndarray) -> bool:
    """Whether there is a line through optima (B, 4)."""
    return len(np.unique(logs[:, 0])) > 1


def assembled(
    found: Optima, level: float, bootstrap: int, setup: EstimateSetup, notes: Sequence[str], **common: Any
) -> Estimate:
    """Assemble the result from the optima.

    Args:
        found: the optima and the replicates of the lines through them.
        level: of the intervals.
        bootstrap: replicates asked for, of which some may have given no exponents.
        setup: how the estimate was asked for; its ``C0`` is set here.
        notes: what a reader must know, in sentences.
        common: fields of :class:`Estimate` that the optima do not decide.
    """
    common |= {"points": found.points, "setup": setup, "notes": tuple(notes)}
    none = Intervals("none", level, 1, {})
    if not enough(found.logs):
        optima = f"{len(found.logs)} optim{'um' if len(found.logs) == 1 else 'a'}"
        why = f"{optima} from {len(common['data']['row'])} rows; exponents need two"
        names = [name for k, exponent, _ in LINES.values() for name in (exponent, k)]
        return Estimate(
            **common, params={}, solution={}, status=_status("not_identified", why), intervals=none,
            identified={name: Verdict("no", why) for name in names}, replicates=(),
        )  # fmt: skip
    solution = _values(lines(found.logs[:, 0] - found.centre, found.logs[None, :, 1:], found.spread)[0])
    ends: Ends = {}
    why = _doubt(found, level, bootstrap)
    if not why:
        ends = widths(solution, found.draws, level, found.degrees)
        none = Intervals(found.method, level, found.degrees, ends)
    identified = _verdicts(solution, ends, why)
    weak = ", ".join(name for name, v in identified.items() if v.verdict != "yes")
    total = solution["a"] + solution["b"]
    if abs(total - 1) > MEETS:
        text = f"a + b = {total:.3f}: N and D have regressions of their own, which need not make up C"
        common["notes"] += (text,)
    common["setup"] = replace(setup, C0=float(np.exp(found.centre)))
    return Estimate(
        **common,
        params={n: v if identified[n].verdict == "yes" else None for n, v in solution.items()},
        solution=solution,
        status=_status("partly_identified" if weak else "ok", why or weak),
        identified=identified,
        intervals=replace(none, params={n: e for n, e in ends.items() if identified[n].verdict != "no"}),
        replicates=() if why else tuple(map(tuple, found.draws.tolist())),
    )


def _doubt(found: Optima, level: float, bootstrap: int) -> str:
    """Why there are no intervals, if so. Replicates that survive are a selection: more may be lost only than
    the tail of the level leaves room for, as with multipliers."""
    many = len(found.draws)
    if bootstrap and len(np.unique(found.logs[:, 0])) < 3:
        return "a line through two optima has no degrees of freedom; it takes three to see how they scatter"
    if many < LEAST:
        return f"{many} of {bootstrap} replicates gave exponents; an interval needs {LEAST}"
    if (lost := 1 - many / bootstrap) > 0.5 * (1 - level):
        return f"{lost:.0%} of the replicates gave no exponents: those that did are a selection"
    return found.doubt


def _status(code: str, why: str) -> Status:
    message, advice = {
        "ok": ("all parameters are identified", "compare estimators: where a bias is at work, they differ"),
        "partly_identified": (
            f"not determined to the stated width: {why}",
            "add budgets over a wider range of compute, and sizes about each optimum",
        ),
        "not_identified": (why, "add budgets whose best size lies well inside the range of sizes"),
    }[code]
    return Status(code, message, advice)


def _values(line: np.ndarray) -> dict[str, float]:
    """Parameters of ``line`` (6,): log k and slope for N, D, loss."""
    out = {}
    for i, (k, exponent, sign) in enumerate(LINES.values()):
        out |= {exponent: sign * float(line[2 * i + 1]), k: float(np.exp(line[2 * i]))}
    return out


def _verdicts(solution: Mapping[str, float], ends: Ends, none: str) -> dict[str, Verdict]:
    out = {}
    for name, value in solution.items():
        if name not in ends:
            out[name] = Verdict("no", none)
        else:
            out[name] = coefficient(*ends[name]) if name[0] == "k" else bounded(value, *ends[name], 1.0)
    return out
