"""Forecasts on disk: frozen text that is never overwritten, its state, its score.

``<hash>.json`` is the frozen text; the hash is that of its bytes. Its state is in ``<hash>.status.json`` and
its score in ``<hash>.score.json``, so the frozen bytes never change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from analysis.errors import AnalysisError
from analysis.files import create, replace
from analysis.forecasting.forecasts import SCHEMA, Forecast, Origin, Score

STATES = ("open", "superseded", "hindsight")  # the most genuine first


def save(forecast: Forecast, folder: str | Path, *, outcome_known: bool = False) -> Forecast:
    """Freeze ``forecast``; returns the one that is kept: an earlier one of the same inputs, else this.

    Before the outcome is known, other forecasts of the same target become superseded. Afterwards
    (``outcome_known``, or one of them has a score) nothing does, and what is new is marked hindsight: it is
    no forecast of that outcome. Raises AnalysisError.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rivals = [f for f in read(folder) if f.is_of(forecast.target)]
    known = outcome_known or any(_side(folder, f.hash, "score").exists() for f in rivals)
    kept = _equal(forecast, rivals, folder)
    if kept is None:
        kept = forecast
        # the state first: whenever the writer is killed, hindsight is never taken for a forecast
        _mark(folder, kept.hash, {"state": "hindsight" if known else "open"})
        create(path(kept, folder), kept.to_json())
    if known:
        return kept
    if status(kept, folder)["state"] == "superseded":
        _mark(folder, kept.hash, {"state": "open"})
    for other in rivals:
        if other.hash != kept.hash and status(other, folder)["state"] != "superseded":
            _mark(folder, other.hash, {"state": "superseded", "by": kept.hash})
    return kept


def _equal(forecast: Forecast, rivals: list[Forecast], folder: Path) -> Forecast | None:
    """The rival of the same inputs, the most genuine first."""
    equal = [f for f in rivals if f.same_inputs(forecast)]
    return min(equal, key=lambda f: STATES.index(status(f, folder)["state"]), default=None)


def path(forecast: Forecast, folder: str | Path) -> Path:
    return Path(folder) / f"{forecast.hash}.json"


def load(path: str | Path) -> Forecast:
    """Read a frozen forecast. Raises AnalysisError when its bytes do not match the hash that names it."""
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise AnalysisError(f"forecast {path}: cannot be read ({error.strerror})") from error
    digest = hashlib.sha256(text).hexdigest()[:16]
    if digest != path.stem:
        raise AnalysisError(
            f"forecast {path}: its text has hash {digest}, not {path.stem}; it was changed after it was "
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


def read(folder: str | Path) -> list[Forecast]:
    """All frozen forecasts of a folder, by hash; none where there is no folder. Raises AnalysisError."""
    return [load(path) for path in sorted(Path(folder).glob("*.json")) if "." not in path.stem]


def status(forecast: Forecast, folder: str | Path) -> dict[str, Any]:
    """``{state: open | superseded | hindsight, by?, at?}``; open where no status was written. Raises
    AnalysisError."""
    return _read_side(Path(folder), forecast.hash, "status") or {"state": "open"}


def standing(folder: str | Path) -> list[tuple[Forecast, Origin]]:
    """Of each target the one forecast that counts, and its origin: a frozen one before one of hindsight, then
    one with a score, then the newest. Superseded ones count never. Raises AnalysisError."""
    folder = Path(folder)
    counted: list[tuple[Forecast, Origin]] = []
    for forecast in sorted(read(folder), key=lambda f: _weight(f, folder), reverse=True):
        state = status(forecast, folder)["state"]
        if state != "superseded" and not any(forecast.is_of(other.target) for other, _ in counted):
            counted.append((forecast, "hindsight" if state == "hindsight" else "frozen"))
    return counted


def stands_for(target: Mapping[str, Any], folder: str | Path) -> bool:
    """Whether a forecast of ``target`` is on disk and not superseded. Raises AnalysisError."""
    return any(forecast.is_of(target) for forecast, _ in standing(folder))


def _weight(forecast: Forecast, folder: Path) -> tuple[bool, bool, str]:
    known = status(forecast, folder)
    scored = _side(folder, forecast.hash, "score").exists()
    return known["state"] != "hindsight", scored, known.get("at", "")


def save_score(result: Score, folder: str | Path) -> Path:
    """Write ``<hash>.score.json`` beside its forecast. Raises AnalysisError when another outcome is there, or
    when the forecast was computed after the outcome was known."""
    folder = Path(folder)
    path = _side(folder, result.forecast, "score")
    if (_read_side(folder, result.forecast, "status") or {}).get("state") == "hindsight":
        raise AnalysisError(
            f"forecast {result.forecast} was computed after the outcome was known; it has no score"
        )
    if (_read_side(folder, result.forecast, "score") or {}).get("loss") == result.loss:
        return path  # scored before; its last digits may come from another machine
    text = json.dumps({"schema": SCHEMA, **asdict(result)}, indent=1, sort_keys=True, allow_nan=False) + "\n"
    create(path, text)
    return path


def load_score(folder: str | Path, forecast: Forecast) -> Score | None:
    """The saved score of a forecast, or None. Raises AnalysisError."""
    data = _read_side(Path(folder), forecast.hash, "score")
    if data is None:
        return None
    return Score(**{name: value for name, value in data.items() if name != "schema"})


def _side(folder: Path, name: str, kind: str) -> Path:
    return folder / f"{name}.{kind}.json"


def _read_side(folder: Path, name: str, kind: Literal["status", "score"]) -> dict[str, Any] | None:
    """What a side file says; None: there is none. A damaged one is never guessed at."""
    path, data = _side(folder, name, kind), None
    wanted = {"state"} if kind == "status" else {field.name for field in fields(Score)}
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        pass
    if not isinstance(data, dict) or not wanted <= data.keys() or data.get("state", "open") not in STATES:
        remedy = {
            "status": f"Restore it, or delete it where {name}.json was frozen before its outcome was known",
            "score": "Delete it: the score is made again from the forecast and the outcome",
        }
        raise AnalysisError(f"{path}: is damaged. {remedy[kind]}")
    return data


def _mark(folder: Path, name: str, state: dict[str, Any]) -> None:
    text = json.dumps(state | {"at": datetime.now(UTC).isoformat(timespec="seconds")}, indent=1) + "\n"
    replace(_side(folder, name, "status"), text)
