"""Forecasts of runs not yet trained: frozen, hashed, never overwritten, later scored.

``forecasts/<hash>.json`` is the frozen text; the hash is that of its bytes. Its state (open, superseded) is
in ``<hash>.status.json`` and its score in ``<hash>.score.json``, so the frozen bytes never change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.backtest import BackTest
from analysis.errors import AnalysisError
from analysis.files import create, replace
from analysis.fitting import fit as refit
from analysis.isoflop import IsoFlop
from analysis.result import Fit

SCHEMA = 1
DIGITS = 10  # frozen numbers: more would change the hash with the order of a sum


@dataclass(frozen=True)
class Forecast:
    """The loss of a run before it is trained, with all that the prediction rests on.

    ``target``: run_id, label, N, D, C. ``training``: row, N, D, C, loss of every fitted run, sorted by row.
    ``prediction`` in nats per token; ``interval {kind, level, low, high, method}`` is for a new run;
    ``se_log``: its standard error in log loss; ``parts``: its components (law, run, backtest).
    ``baseline``: the naive forecast (isoFLOP minima extrapolated), or None. ``sensitivity``: predictions with
    the offset held at other values. ``extrapolation``: target C over the largest C fitted.
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

    def to_json(self) -> str:
        return (
            json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, sort_keys=True, allow_nan=False) + "\n"
        )

    @property
    def hash(self) -> str:
        """16 hex digits of the sha256 of the frozen text."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


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


def freeze(
    fit: Fit,
    table: pd.DataFrame,
    target: Mapping[str, Any],
    *,
    backtest: BackTest | None = None,
    isoflop: IsoFlop | None = None,
    offsets: Sequence[float] | None = None,
    level: float | None = None,
) -> Forecast:
    """The forecast of ``target``, a planned run: run_id, label and the columns params, params_body, tokens,
    flops (or N, D, C). ``table`` is the one fitted; ``offsets`` are values of E for the sensitivity (default:
    over its interval). Raises AnalysisError, also when the target is in the fitted set."""
    level = fit.level if level is None else level
    given = {k: v for k, v in dict(target).items() if not pd.isna(v)}
    point = fit.predict({k: [v] for k, v in given.items()}, level=level).iloc[0]
    identity = {"run_id": given.get("run_id"), "label": given.get("label")}
    known = {x: float(point[x]) for x in ("N", "D", "C") if x in point}
    if identity["run_id"] is not None and identity["run_id"] in fit.data["row"]:
        raise AnalysisError(
            f"target {identity['run_id']!r} is in the fitted set; hold it out (role = holdout)"
        )
    if "C" not in known:
        raise AnalysisError("target: field 'flops' is missing; a forecast says how far it extrapolates")
    extrapolation = known["C"] / max(fit.data["C"])
    parts, method = _parts(fit, float(point["se_log"]), backtest, extrapolation)
    se = float(np.sqrt(sum(v**2 for v in parts.values())))
    degrees = fit.intervals["degrees"]
    reach = float(stats.t.ppf(0.5 + level / 2, degrees)) * se
    prediction = float(point["loss"])
    rows = sorted(zip(*(fit.data[k] for k in ("row", "N", "D", "C", "L")), strict=True))
    return Forecast(
        law=fit.law.to_dict(),
        params=_rounded(fit.solution),
        identified=_rounded(fit.identified),
        objective=_rounded(fit.objective | {"fixed": fit.fixed}),
        convention=fit.convention,
        training=tuple(_rounded(dict(zip(("row", "N", "D", "C", "loss"), row, strict=True))) for row in rows),
        target=_rounded(identity | known),
        prediction=_rounded(prediction),
        interval=_rounded({
            "kind": "new run", "level": level,
            "method": f"{method}, t({degrees}); law: {fit.intervals['method']}",
            "low": prediction * float(np.exp(-reach)), "high": prediction * float(np.exp(reach)),
        }),
        se_log=_rounded(se),
        parts=_rounded(parts),
        baseline=_rounded(isoflop.baseline(known["C"])) if isoflop is not None else None,
        sensitivity=tuple(_rounded(sensitivity(fit, table, given, offsets))),
        backtest=_rounded(_brief(backtest)) if backtest is not None and backtest.usable else None,
        extrapolation=_rounded(extrapolation),
    )  # fmt: skip


def _parts(
    fit: Fit, se_law: float, backtest: BackTest | None, extrapolation: float
) -> tuple[dict[str, float], str]:
    """Components of the standard error of a new run's log loss, and how they were had."""
    seeds = fit.noise["seeds"]["sd_log"] if fit.noise["seeds"] else 0.0
    parts = {"law": se_law, "run": max(fit.noise["sd_log"], seeds)}
    source = "residual scale" if fit.noise["sd_log"] >= seeds else "repeated seeds"
    text = f"se^2 = law^2 + run^2 ({source})"
    if backtest is None or not backtest.usable or backtest.rms is None or backtest.bias is None:
        return parts, text + "; no back-test error included"
    # what of the back-test's error run noise does not explain, grown with the distance in log C
    beyond = np.sqrt(max(backtest.rms**2 - parts["run"] ** 2, backtest.bias**2))
    far = max(1.0, float(np.log(max(extrapolation, 1.0)) / np.log(max(backtest.extrapolation, 1.01))))
    parts["backtest"] = float(beyond * far)
    return (
        parts,
        text + f" + back-test^2 (max of |bias| and rms beyond run noise, x {far:.2f} for distance in log C)",
    )


def _brief(backtest: BackTest) -> dict[str, Any]:
    names = ("budget", "n_train", "extrapolation", "bias", "rms", "inside", "level", "baseline")
    return {name: getattr(backtest, name) for name in names}


def sensitivity(
    fit: Fit, table: pd.DataFrame, target: Mapping[str, Any], offsets: Sequence[float] | None = None
) -> list[dict[str, float]]:
    """Predictions at ``target`` with the offset held at ``offsets``: its name, prediction, objective. Empty
    for a law without a free offset."""
    name = fit.law.offset
    if name is None or name in fit.fixed:
        return []
    values = list(offsets or ())
    if offsets is None:
        draws = np.exp(np.array(fit.replicates)[:, fit.law.names.index(name)])
        low, high = np.quantile(draws, [0.05, 0.95])
        values = np.linspace(low, min(high, 0.95 * min(fit.data["L"])), 5).tolist()
    out = []
    for value in values:
        held = refit(
            fit.law, table, objective=fit.objective["kind"], delta=fit.objective["delta"], bootstrap=0,
            fixed={**fit.fixed, name: value}, convention=fit.convention,
        )  # fmt: skip
        if held.usable:
            prediction = float(held.predict({k: [v] for k, v in target.items()})["loss"].iloc[0])
            out.append({name: float(value), "prediction": prediction, "objective": held.objective["value"]})
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


def save(forecast: Forecast, folder: str | Path, *, outcome_known: bool = False) -> Path:
    """Write ``<hash>.json`` and mark older unscored forecasts of the same target superseded. The same
    forecast saved again changes nothing but the marks. A forecast first saved when the outcome was known
    (``outcome_known``, or another of the same target has a score) is marked hindsight. Raises AnalysisError."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{forecast.hash}.json"
    create(path, forecast.to_json())
    scored = outcome_known
    for other in forecasts(folder):
        if other.hash == forecast.hash or _key(other) != _key(forecast):
            continue
        if _side(folder, other.hash, "score").exists():
            scored = True
        elif status(other, folder)["state"] != "superseded":
            _mark(folder, other.hash, {"state": "superseded", "by": forecast.hash})
    own = _side(folder, forecast.hash, "status")
    if not own.exists() or status(forecast, folder)["state"] == "superseded":
        # an outcome was known before this was frozen: it is no forecast of that outcome
        _mark(folder, forecast.hash, {"state": "hindsight" if scored else "open"})
    return path


def load(path: str | Path) -> Forecast:
    """Read a frozen forecast. Raises AnalysisError when its bytes do not match the hash that names it."""
    path = Path(path)
    try:
        text = path.read_text()
    except OSError as error:
        raise AnalysisError(f"forecast {path}: cannot be read ({error.strerror})") from error
    found = hashlib.sha256(text.encode()).hexdigest()[:16]
    if found != path.stem:
        raise AnalysisError(
            f"forecast {path}: its text has hash {found}, not {path.stem}; it was changed after it was "
            "frozen. Restore the file or delete it"
        )
    data = json.loads(text)
    if data.pop("schema") != SCHEMA:
        raise AnalysisError(
            f"forecast {path}: field 'schema' must be {SCHEMA}; read it with the version that froze it"
        )
    for name in ("training", "sensitivity"):
        data[name] = tuple(data[name])
    return Forecast(**data)


def forecasts(folder: str | Path) -> list[Forecast]:
    """All frozen forecasts of a folder, by hash."""
    return [load(path) for path in sorted(Path(folder).glob("*.json")) if "." not in path.stem]


def status(forecast: Forecast, folder: str | Path) -> dict[str, Any]:
    """``{state: open | superseded | hindsight, by?, at}`` of a saved forecast."""
    return json.loads(_side(Path(folder), forecast.hash, "status").read_text())


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


def save_score(result: Score, folder: str | Path) -> Path:
    """Write ``<hash>.score.json`` beside its forecast. Raises AnalysisError when another outcome is there."""
    path = _side(Path(folder), result.forecast, "score")
    text = json.dumps({"schema": SCHEMA, **asdict(result)}, indent=1, sort_keys=True, allow_nan=False) + "\n"
    create(path, text)
    return path


def load_score(folder: str | Path, forecast: Forecast) -> Score | None:
    """The saved score of a forecast, or None."""
    path = _side(Path(folder), forecast.hash, "score")
    if not path.exists():
        return None
    data = json.loads(path.read_text())
    data.pop("schema")
    return Score(**data)


def _key(forecast: Forecast) -> tuple[Any, ...]:
    target = forecast.target
    return (target["run_id"],) if target["run_id"] is not None else tuple(target.items())


def _side(folder: Path, name: str, kind: str) -> Path:
    return folder / f"{name}.{kind}.json"


def _mark(folder: Path, name: str, state: dict[str, Any]) -> None:
    text = json.dumps(state | {"at": datetime.now(UTC).isoformat(timespec="seconds")}, indent=1) + "\n"
    replace(_side(folder, name, "status"), text)
