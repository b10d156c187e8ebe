"""Forecasts of runs not yet trained: what they rest on, their interval, and what became of them.

A forecast is a value; :mod:`analysis.forecasting.ledger` keeps it in files, frozen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.codec import plain
from analysis.errors import AnalysisError
from analysis.fits.result import Fit
from analysis.forecasting.backtest import BackTest
from analysis.optimal_size.isoflop import IsoFlop
from analysis.solve.multistart import solve
from analysis.tables.runs import CONVENTIONS

SCHEMA = 1
PARTS = ("law", "run", "discrepancy")  # of a standard error of log loss
DIGITS = 10  # frozen numbers: more would change the hash with the order of a sum
SAME_DELTA = 1e-6  # relative: Huber's delta comes from the residuals, which depend on the machine's rounding


@dataclass(frozen=True)
class Forecast:
    """The loss of a run before it is trained, with all that the prediction rests on.

    ``target``: run_id, label, variant (where there are several), N, D, C. ``training``: row, N, D, C, loss of
    every fitted run, sorted by row. ``prediction`` in nats per token, of the refit that
    :mod:`analysis.fits.extrapolation` makes, and ``law_loss`` of the descriptive law (None: frozen
    before it was kept); ``interval {kind, level, low, high, method}`` is for a new run; ``se_log``: its
    standard error in log loss; ``parts``: its components (law, run, discrepancy; of earlier ones law, run,
    backtest). ``baseline``: the naive forecast (isoFLOP minima extrapolated), or None. ``sensitivity``:
    predictions with the offset held at other values. ``extrapolation``: target C over the largest C fitted.
    """

    law: dict[str, Any]
    params: dict[str, float]
    identified: dict[str, dict[str, Any]]
    objective: dict[str, Any]
    convention: str
    training: tuple[dict[str, Any], ...]
    target: dict[str, Any]
    prediction: float
    interval: dict[str, Any]
    se_log: float
    parts: dict[str, float]
    baseline: float | None
    sensitivity: tuple[dict[str, float], ...]
    backtest: dict[str, Any] | None
    extrapolation: float
    law_loss: float | None = None

    def to_json(self) -> str:
        frozen = {
            name: value for name, value in asdict(self).items() if name != "law_loss" or value is not None
        }
        return json.dumps({"schema": SCHEMA, **frozen}, indent=1, sort_keys=True, allow_nan=False) + "\n"

    @property
    def hash(self) -> str:
        """16 hex digits of the sha256 of the frozen text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def same_inputs(self, other: Forecast) -> bool:
        """Whether both rest on the same: law, objective, convention, held parameters, kind and level of the
        interval, fitted runs with their losses, and target. Their numbers may differ by rounding."""
        mine, others = self.objective["delta"], other.objective["delta"]
        near = abs(mine - others) <= SAME_DELTA * mine if mine and others else mine is others
        return near and self._exact_inputs() == other._exact_inputs()

    def _exact_inputs(self) -> tuple[Any, ...]:
        objective = [self.objective[name] for name in ("kind", "fixed")]
        interval = [self.interval[name] for name in ("kind", "level", "method")]
        return (self.law, objective, self.convention, interval, self.training, self.target)

    def is_of(self, target: Mapping[str, Any]) -> bool:
        """Whether ``target``, a run as :func:`freeze` takes it, is the one forecast: the same run_id, and
        where either has none the same label, N, D and C."""
        other = identity(target, self.convention)
        if self.target["run_id"] is not None and other["run_id"] is not None:
            return self.target["run_id"] == other["run_id"]
        return all(self.target.get(name) == other.get(name) for name in ("label", "variant", "N", "D", "C"))


@dataclass(frozen=True)
class Score:
    """A forecast against its outcome. ``error`` = predicted / measured - 1 (positive: over-predicted);
    ``standard_errors``: log(predicted / measured) over the forecast's; ``baseline_error``: that of the naive
    one."""

    forecast: str
    target: dict[str, Any]
    loss: float
    prediction: float
    error: float
    standard_errors: float
    inside: bool
    level: float
    baseline_error: float | None


Origin = Literal["frozen", "hindsight", "recomputed"]


@dataclass(frozen=True)
class Trial:
    """A forecast and what became of its target.

    ``origin``: ``frozen`` before the target was begun; ``hindsight``, saved after that; or ``recomputed``
    from a table and kept nowhere. Only a frozen one tests the law: the ``score`` of another is a comparison.
    ``score`` is None until there is a loss; ``failure`` says why a target that was trained has none.
    """

    forecast: Forecast
    origin: Origin
    score: Score | None = None
    failure: str | None = None


def identity(target: Mapping[str, Any], convention: str) -> dict[str, Any]:
    """run_id and label (None where unknown), the variant where there is one, and N, D, C of a run, in frozen
    digits. Raises AnalysisError."""
    size, per_token, _ = CONVENTIONS[convention]
    columns = {"N": size, "D": "tokens", "C": "flops"}
    given = _given(target)
    asked = {x: given.get(x, given.get(columns[x], np.nan)) for x in columns}
    try:
        amounts = {x: float(v) for x, v in asked.items()}
    except (TypeError, ValueError):
        raise AnalysisError(f"target: N, D, C = {list(asked.values())}: must be one number each") from None
    if per_token is not None:
        amounts["C"] = per_token * amounts["N"] * amounts["D"]
    missing = [f"{x} ({columns[x]})" for x in columns if np.isnan(amounts[x])]
    if missing:
        raise AnalysisError(
            f"target: {', '.join(missing)} is missing; a forecast says of what it is and how far it reaches"
        )
    names = {name: given.get(name) for name in ("run_id", "label")}
    names |= {name: given[name] for name in ("variant",) if name in given}
    return _rounded(names | amounts)


def _given(target: Any) -> dict[str, Any]:
    """What is known of a target. Raises AnalysisError."""
    try:
        return {k: v for k, v in dict(target).items() if not pd.isna(v)}
    except (TypeError, ValueError):
        example = "{'params': 1e9, 'tokens': 2e10, 'flops': 1.2e20}"
        raise AnalysisError(f"target {target!r}: give one planned run, as {example}") from None


def score(forecast: Forecast, loss: float) -> Score:
    """Compare with the measured ``loss`` (nats per token). Raises AnalysisError."""
    if isinstance(loss, bool) or not (np.isfinite(loss) and loss > 0):
        raise AnalysisError(
            f"outcome: loss = {loss!r} must be finite and positive; a diverged run has no score"
        )
    naive = forecast.baseline
    return Score(
        forecast=forecast.hash,
        target=forecast.target,
        loss=float(loss),
        prediction=forecast.prediction,
        error=forecast.prediction / loss - 1,
        standard_errors=float(np.log(forecast.prediction / loss) / forecast.se_log)
        if forecast.se_log
        else 0.0,
        inside=bool(forecast.interval["low"] <= loss <= forecast.interval["high"]),
        level=forecast.interval["level"],
        baseline_error=None if naive is None else naive / loss - 1,
    )


def freeze(
    fit: Fit,
    target: Mapping[str, Any],
    *,
    backtest: BackTest | None = None,
    isoflop: IsoFlop | None = None,
    offsets: Sequence[float] | None = None,
    level: float | None = None,
) -> Forecast:
    """Forecast the loss of a planned run, with all that the prediction rests on.

    Args:
        fit: a usable fit, of errors in log loss.
        target: the planned run: run_id, label, variant and the columns params, params_body, tokens, flops (or
            N, D, C).
        backtest: back-test of the law, kept beside the forecast; left out: none is.
        isoflop: minima whose power law gives the naive baseline; left out: no baseline.
        offsets: values of E for the sensitivity; left out: five over its interval.
        level: of the interval; left out: that of the fit.

    Raises:
        AnalysisError: for a target that is in the fitted set or lacks N, D or C, a fit that cannot predict it
            or whose errors are not of log loss, or fitted rows that lack N, D or C.
    """
    _log_only(fit.setup.space == "log", fit, "its residuals are not of log loss")
    _recorded(fit)
    level = fit.level if level is None else level
    given = _given(target)
    known = identity(target, fit.convention)
    if known["run_id"] is not None and known["run_id"] in fit.data["row"]:
        raise AnalysisError(f"target {known['run_id']!r} is in the fitted set; hold it out (role = holdout)")
    point = fit.predict({k: [v] for k, v in given.items()}, level=level).frame.iloc[0]
    parts = {name: float(point[f"se_{name}"]) for name in PARTS}
    se = float(np.sqrt(sum(v**2 for v in parts.values())))
    _log_only(np.isfinite(se), fit, "at the target the law or a replicate of it is at or below 0")
    extrapolation = known["C"] / max(fit.data["C"])
    rows = sorted(zip(*(fit.data[k] for k in ("row", "N", "D", "C", "L")), strict=True))
    return Forecast(
        law=fit.law.to_dict(),
        params=_rounded(fit.solution),
        identified=_rounded(plain(fit.identified)),
        objective=_rounded(plain(fit.objective) | {"fixed": fit.fixed}),
        convention=fit.convention,
        training=tuple(_rounded(dict(zip(("row", "N", "D", "C", "loss"), row, strict=True))) for row in rows),
        target=known,
        prediction=_rounded(float(point["forecast"])),
        interval=_rounded({
            "kind": "new run", "level": level, "method": _method(fit, parts["discrepancy"]),
            "low": float(point["new_low"]), "high": float(point["new_high"]),
        }),
        se_log=_rounded(se),
        parts=_rounded(parts),
        baseline=_rounded(isoflop.baseline(known["C"])) if isoflop is not None else None,
        sensitivity=tuple(_rounded(sensitivity(fit, given, offsets))),
        backtest=_rounded(_brief(backtest)) if backtest is not None and backtest.usable else None,
        extrapolation=_rounded(extrapolation),
        law_loss=_rounded(float(point["loss"])),
    )  # fmt: skip


def _recorded(fit: Fit) -> None:
    """Raises AnalysisError where the fitted rows lack what a forecast says of them."""
    columns = {"N": CONVENTIONS[fit.convention][0], "D": "tokens", "C": "flops"}
    missing = [f"{column} ({x})" for x, column in columns.items() if x not in fit.data]
    if missing:
        raise AnalysisError(
            f"forecast by {fit.law.name!r}: the fitted table lacks {', '.join(missing)}, in every row or in "
            "some; a forecast keeps N, D and C of every run that it rests on. Add them "
            "and fit again, or take Fit.predict, which keeps nothing"
        )


def _log_only(holds: bool, fit: Fit, reason: str) -> None:
    if not holds:
        raise AnalysisError(
            f"forecast by {fit.law.name!r}, objective {fit.objective.kind!r}: {reason}, and a forecast's "
            "errors are; fit positive losses with objective='huber' and a law that stays above 0, or take "
            "new_low and new_high of Fit.predict"
        )


def _method(fit: Fit, discrepancy: float) -> str:
    """Where the parts of a standard error come from."""
    seeds = fit.noise.seeds
    beside = f"; {seeds.degrees} d.f. of repeated seeds" if seeds else ""
    law = f"; law: {fit.intervals.method}"
    if not discrepancy:
        return f"se^2 = law^2 + run^2, t({fit.intervals.degrees}){beside}{law}"
    used = fit.forecast().constants
    known = f"kappa {used.kappa:g} of {used.origin['date']}"
    return f"se^2 = law^2 + run^2 + discrepancy^2 ({known}), normal{beside}{law}, weights C^{used.weight:g}"


def _brief(backtest: BackTest) -> dict[str, Any]:
    names = ("budget", "n_train", "extrapolation", "bias", "rms", "inside", "level", "baseline")
    return {name: getattr(backtest, name) for name in names}


def sensitivity(
    fit: Fit, target: Mapping[str, Any], offsets: Sequence[float] | None = None
) -> list[dict[str, float]]:
    """Predictions at ``target`` by the problem that was fitted, its offset (of the target's group) held at
    ``offsets``: the offset's name, prediction, objective. Empty for a law without a free offset."""
    frame = fit.predict({k: [v] for k, v in target.items()}).frame  # refuses what is no target
    at = {x: frame[x].to_numpy(float) for x in fit.law.inputs}
    problem, column = fit.problem, fit.setup.groups
    group = 0 if column is None else problem.labels.index(str(target[column]))
    if fit.law.offset is None:
        return []
    place = problem.position[group][fit.law.names.index(fit.law.offset)]
    if not problem.free[place]:
        return []
    name, values = problem.names[place], list(offsets or ())
    if offsets is None:
        draws = problem.parameters(np.array(fit.replicates))[:, place]
        low, high = np.quantile(draws, [0.05, 0.95])
        values = np.linspace(low, min(high, 0.95 * min(fit.data["L"])), 5).tolist()
    out = []
    for value in values:
        held = replace(problem, fixed={**problem.fixed, name: float(value)})
        solved = solve(held)
        params = held.parameters(held.shift(solved.u, 1.0))[None]
        prediction = float(held.values(params, at, group).item())
        out.append({name: float(value), "prediction": prediction, "objective": solved.value})
    return out


def _rounded(value: Any) -> Any:
    """Plain JSON values with ``DIGITS`` significant digits."""
    if isinstance(value, Mapping):
        return {str(k): _rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(f"{float(value):.{DIGITS}g}")
    return value.item() if isinstance(value, np.generic) else value
