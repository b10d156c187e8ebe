"""Predictions as their own object: what is asked for, the law there with intervals, how far it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Argument, Complaint
from analysis.fits.allocation import DRIFT
from analysis.fits.bootstrap import ANALYTIC
from analysis.fits.cost import Cost
from analysis.fits.options import level_hint
from analysis.tables.runs import CONVENTIONS

if TYPE_CHECKING:
    from analysis.fits.result import Fit

WIDE = 1e3  # times a loss, N* or D*, or as little of it: an end of an interval further off says nothing
FAR = 10.0  # times the most that was measured, beyond which a multiplier says so
INSIDE = 1.01  # beyond the data by less, as steps are whole, counts as within
NEAR = 1.1  # beyond the data by more, a prediction says so


class WholeRows(pd.DataFrame):
    """A frame that prints all its columns, and an end of an interval that is not known as open."""

    def __repr__(self) -> str:
        return whole(self)

    def _repr_html_(self) -> str:
        return self.to_html(index=False)


def whole(frame: pd.DataFrame) -> str:
    """All rows and columns with four digits."""
    columns = {}
    for name in frame:
        side = str(name).rpartition("_")[2]
        values = frame[name]
        if side in ("low", "high"):
            columns[name] = ["open" if x != x else f"{x:.4g}" for x in values]
        elif values.dtype.kind == "f":
            columns[name] = ["-" if x != x else f"{x:.4g}" for x in values]
        else:
            columns[name] = [str(x) or "-" for x in values]
    return pd.DataFrame(columns).to_string(index=False)


@dataclass(frozen=True)
class Prediction:
    """Loss at each row asked for. ``frame`` has the inputs; ``loss`` of the law; ``low, high`` (its
    confidence band) and ``new_low, new_high`` (a new run, about ``forecast``) at ``level``; ``se_log``, the
    law's standard error (of log loss; of the loss where ``space`` is raw, of log(1 + loss) where it is
    log1p); ``forecast``: the law inside the data, beyond them its refit, less the mean of the discrepancy;
    ``se_law, se_run, se_discrepancy``: the parts of the new run's standard deviation of log loss (nan where
    there is no logarithm); ``extrapolation``, the factor by which the row lies beyond the fitted data: the
    largest over N, D, C and the law's other inputs of x / max, or min / x below the data; 1 within.
    ``beyond``: the inputs that lie beyond, with the factor of each, as "N 4.2x, C 18x". ``unidentified``:
    quantities that the table does not identify and that a row rests on, as all do beyond the data (and N, D
    at C alone on a, b). Asked at C alone, N and D are the law's optimum, with ``N_low, N_high, D_low,
    D_high``, and ``a, b`` are the local exponents d log N* / d log C and d log D* / d log C; intervals
    include the uncertainty of the cost. Of a loss, an end of an interval that is not identified (``WIDE``
    times off) is nan. ``notes`` say what to beware of."""

    frame: pd.DataFrame
    level: float
    method: str
    space: str
    notes: tuple[str, ...] = ()

    def summary_frame(self) -> pd.DataFrame:
        return self.frame.copy()

    def __getitem__(self, column: str) -> pd.Series:
        return self.frame[column]  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        shown = whole(self.frame)
        new = " and new run about its forecast (new_low, new_high)" if "new_low" in self.frame else ""
        how = [f"{self.level:.0%} intervals: law (low, high){new}; {self.method}"] * ("low" in self.frame)
        return "\n".join([*how, shown, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>note: {note}</p>" for note in self.notes)
        return f"<p>{self.level:.0%} intervals, {self.method}</p>{self.frame.to_html(index=False)}{notes}"


def check_level(level: Any) -> None:
    """Raises AnalysisError."""
    if level is not None and not (isinstance(level, (int, float)) and 0 < level < 1):
        given = Argument("level", level)
        hint = level_hint(level) if isinstance(level, (int, float)) else "0.9 is usual"
        raise AnalysisError(Complaint((given, ": must lie between 0 and 1"), hint=hint))


def known(fit: Fit, rows: Any) -> dict[str, np.ndarray]:
    """The inputs asked for (m,) by name, and those that follow from them. Raises AnalysisError."""
    size, per_token, _ = CONVENTIONS[fit.convention]
    columns = {"N": size, "D": "tokens", "C": "flops"}
    out = {}
    if not isinstance(rows, (Mapping, pd.DataFrame)):
        raise AnalysisError(f"prediction at {rows!r}: give a table or inputs by name, as N=1e9, D=2e10")
    for x in dict.fromkeys(("N", "D", "C", *fit.law.inputs)):
        key = x if x in rows else columns.get(x, x)
        if key in rows:
            try:
                out[x] = np.atleast_1d(np.asarray(rows[key], float))
            except (TypeError, ValueError):
                raise AnalysisError(f"prediction at {key} = {rows[key]!r}: must be numbers") from None
    if per_token is not None and {"N", "D"} <= set(out):
        out["C"] = per_token * out["N"] * out["D"]
    if "M" in fit.law.inputs and "M" not in out and {"N", "D"} <= set(out):
        out["M"] = out["D"] / out["N"]
    return dict(zip(out, np.broadcast_arrays(*out.values()), strict=True)) if out else {}


def complete(
    fit: Fit, out: dict[str, np.ndarray], cost: Cost | None
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """All inputs of the law, N or D from compute at ``cost`` if need be; and draws of what that gave, (R, m)
    each. Raises AnalysisError."""
    columns, draws = {"N": CONVENTIONS[fit.convention][0], "D": "tokens", "C": "flops"}, {}
    if {"N", "D"} <= set(fit.law.inputs) and "C" in out and len({"N", "D"} & set(out)) == 1 and cost:
        rates = cost, cost.drawn(len(fit.replicates))
        with np.errstate(all="ignore"):
            if "N" in out:
                found, draws["D"] = (rate.tokens(out["N"], out["C"]) for rate in rates)
                out = {**out, "D": found}
            else:
                found, draws["N"] = (rate.size(out["D"], out["C"]) for rate in rates)
                out = {**out, "N": found}
    missing = [x for x in fit.law.inputs if x not in out]
    if missing:
        raise AnalysisError(
            f"prediction needs {', '.join(missing)} (columns {[columns.get(x, x) for x in missing]})"
        )
    logged = [x for x in fit.law.inputs if fit.law.terms or x in "NDC"]
    bad = [f"{x} = {v.min():g}" for x in logged if not ((v := out[x]) > 0).all() or np.isinf(v).any()]
    if bad:
        raise AnalysisError(f"prediction at {', '.join(bad)}: inputs must be finite and positive")
    return out, draws


def group(fit: Fit, rows: Any, count: int) -> np.ndarray:
    """(m,) index of the group of each row asked for. Raises AnalysisError."""
    column, labels = fit.setup.groups, list(fit.setup.labels)
    if column is None:
        return np.zeros(count, int)
    if column not in rows:
        raise AnalysisError(f"prediction needs {column!r}: one of {', '.join(labels)}")
    asked = [str(x) for x in np.atleast_1d(np.asarray(rows[column], object))]
    unknown = sorted(set(asked) - set(labels))
    if unknown:
        raise AnalysisError(
            f"{column} = {', '.join(unknown)} was not fitted; choose one of {', '.join(labels)}"
        )
    return np.broadcast_to([labels.index(x) for x in asked], (count,))


def factors(data: Mapping[str, Any], at: Mapping[str, Any]) -> pd.DataFrame:
    """By what factor the inputs of ``at``, (m,) each, lie beyond their range in ``data``: x / max, or min / x
    below it; 1 within. Inputs that are not positive have none."""
    out = {}
    for x in (x for x in at if x in data):
        asked, known = np.asarray(at[x], float), np.asarray(data[x], float)
        if known.min() > 0:
            with np.errstate(divide="ignore"):
                far = np.maximum(asked / known.max(), known.min() / np.maximum(asked, 0))
            out[x] = np.where(far <= INSIDE, 1.0, far)
    return pd.DataFrame(out, index=range(len(next(iter(at.values())))))


def extrapolated(
    out: pd.DataFrame, far: pd.DataFrame, meaning: str = "intervals assume that the law holds there"
) -> tuple[str, ...]:
    """Add the columns ``extrapolation`` and ``beyond`` of the ``factors`` to ``out``; a note, with its
    ``meaning``, where they are above ``NEAR``."""
    out["extrapolation"] = far.max(axis=1)
    rows = far.to_dict(orient="records")
    out["beyond"] = [", ".join(f"{x} {v:.3g}x" for x, v in row.items() if v > 1) for row in rows]
    most = far.max().to_dict()
    reach = ", ".join(f"{x} by {v:.3g}x" for x, v in most.items() if v > NEAR)
    return (f"beyond the data ({reach}): {meaning}",) if reach else ()


def with_compute(fit: Fit, at: Mapping[str, np.ndarray], cost: Cost | None) -> dict[str, np.ndarray]:
    """N, D, C as far as they are known, and the law's other inputs."""
    known = {x: at[x] for x in dict.fromkeys(("N", "D", "C", *fit.law.inputs)) if x in at}
    if "C" not in at and {"N", "D"} <= set(at) and cost is not None:
        return {**known, "C": cost.flops(at["N"], at["D"])}
    return known


def drifting(out: pd.DataFrame, a: float) -> tuple[str, ...]:
    """A note where the exponents at the rows differ from ``a`` at the largest compute of the data."""
    far = out["a"].to_numpy() - a
    if not np.nanmax(np.abs(far), initial=0.0) > DRIFT:
        return ()
    low, high = np.nanmin(out["a"]), np.nanmax(out["a"])
    ends = f"{low:.3f}" if len(out) == 1 else f"{low:.3f} to {high:.3f}"
    return (
        f"N* is no power of C: d log N* / d log C is {a:.3f} at the largest compute of the data, {ends} here",
    )


def beyond_cost(cost: Cost, sizes: Any) -> tuple[str, ...]:
    """A note where ``sizes`` lie outside those of which ``cost`` is known."""
    sizes = np.asarray(sizes, float)
    outside = (sizes > INSIDE * cost.sizes.high) | (INSIDE * sizes < cost.sizes.low)
    if not outside.any() or not cost.beyond:
        return ()
    low, high = cost.sizes
    return (f"the cost of sizes beyond N = {low:.3g} to {high:.3g} is {cost.beyond}",)


def unidentified(fit: Fit, out: pd.DataFrame) -> list[str]:
    """Per row of ``out``, what it rests on that is not identified, by name."""
    weak = [name for name, verdict in fit.identified.items() if verdict.verdict == "no"]
    exponents = [name for name in weak if name in ("a", "b")] if "N_low" in out else []
    beyond = [*(name for name in weak if name in fit.solution), *exponents]
    return [", ".join(beyond if far > 1 else exponents) for far in out["extrapolation"]]


def opened(fit: Fit, out: pd.DataFrame) -> tuple[str, ...]:
    """Ends of intervals in ``out`` that are too far off to say anything become nan; a note where any did."""
    if fit.unit is None or fit.setup.space != "log":
        return ()
    ends = {"loss": ("low", "high", "new_low", "new_high"), **{x: (f"{x}_low", f"{x}_high") for x in "ND"}}
    lost = np.zeros(len(out), bool)
    for x, sides in ends.items():
        for side in (side for side in sides if side in out):
            with np.errstate(all="ignore"):
                far = np.abs(np.log(out[side].to_numpy() / out[x].to_numpy())) > np.log(WIDE)
            out.loc[far, side] = np.nan
            lost |= far
    if not lost.any():
        return ()
    why = f"lies beyond {WIDE:g} times the value"
    if fit.intervals.kind in ANALYTIC:
        why += f"; {fit.intervals.kind} leaves a flat valley along a straight line, method 'auto' may not"
    return (f"{int(lost.sum())} of {len(out)} rows: an end of an interval is not identified (nan): it {why}",)


def warnings(fit: Fit, out: pd.DataFrame, plain: np.ndarray) -> tuple[str, ...]:
    """What to beware of in predictions ``out``, of which ``plain`` (m,) have no logarithm."""
    notes = []
    if plain.any():
        notes.append(
            f"{int(plain.sum())} of {len(plain)} rows: the law or a replicate of it is at or below 0, "
            "which has no logarithm; their intervals are of the loss itself, of which se_log says nothing"
        )
    if fit.status.code == "not_converged":
        notes.append(f"{fit.status.message}: the law is not an optimum, do not quote this")
    if fit.status.code == "several_optima":
        notes.append(f"{fit.status.message}; away from the data the optima disagree")
    if fit.fixed:
        notes.append(f"{', '.join(fit.fixed)} held by you: taken as exact, which intervals do not show")
    return tuple(notes)
