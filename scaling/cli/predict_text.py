"""What ``predict`` and ``optimal`` print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.codec import plain
from analysis.fits.given import GivenLaw
from analysis.fits.result import Fit
from analysis.fits.summary import number, split_text
from analysis.optimal_size.estimate import Estimate
from analysis.tables.runs import CONVENTIONS
from analysis.tables.units import of_unit
from scaling.cli.arguments import as_option
from scaling.cli.columns import columns
from scaling.cli.points import Predictor, points
from scaling.cli.words import count
from scaling.errors import Complaint, UserError

OF_LAW = "its confidence band"
OF_RUN = "by the residuals inside the data, calibrated on published runs beyond"
BEYOND = "the factors by which N, D, C or another input lie outside the fitted data"
ORDER = ("C", "N", "D")  # of inputs; others come first
PARTS = ("law", "run", "discrepancy")
RESULTS = (
    *("loss", "low", "high", "new_low", "new_high", "se_log", "forecast", *(f"se_{part}" for part in PARTS)),
    *("a", "b", "extrapolation", "beyond", "unidentified"),
)
FORMATS = {"N": count, "D": count, "C": "{:.3g}".format}


@dataclass(frozen=True)
class Block:
    """Predictions of one kind: ``frame``, and how its intervals were made."""

    heading: str
    frame: pd.DataFrame
    level: float
    method: str
    notes: tuple[str, ...]
    cost: str = ""


def predictions(
    predictor: Predictor, at: Sequence[str] | None, flops: Sequence[float], level: float | None
) -> list[Block]:
    """The loss at the inputs asked for, then at the best sizes for each compute.

    Raises:
        AnalysisError: a bad level.
        UserError: inputs of another form, or that the law does not have.
    """
    asked = points(at, predictor)
    blocks = []
    for keys in dict.fromkeys(tuple(sorted(point)) for point in asked):
        rows = pd.DataFrame([point for point in asked if tuple(sorted(point)) == keys])
        blocks.append(_block("at the inputs given", predictor, rows, level))
    if flops:
        _check_compute(predictor)
        blocks.append(_block("at the best N and D for C", predictor, pd.DataFrame({"C": flops}), level))
    return blocks


def _check_compute(predictor: Predictor) -> None:
    if isinstance(predictor, Estimate) or {*predictor.law.inputs} in ({"C"}, {"N", "D"}):
        return
    law = predictor.law
    message = f"--compute: {law.name} depends on {', '.join(law.inputs)}, which C alone does not give"
    raise UserError(Complaint(message, hint="ask with --at"))


def _block(heading: str, predictor: Predictor, rows: pd.DataFrame, level: float | None) -> Block:
    more: dict[str, Any] = {} if isinstance(predictor, GivenLaw) else {"level": level}
    groups = predictor.setup if isinstance(predictor, Fit) else None
    if groups is not None and groups.groups and groups.groups not in rows:
        rows = rows.merge(pd.DataFrame({groups.groups: groups.labels}), how="cross")
    found = predictor.predict(rows, **more)
    frame = found.frame
    if groups is not None and groups.groups:
        frame.insert(0, groups.groups, rows[groups.groups].to_numpy())
    return Block(heading, frame, found.level, found.method, found.notes)


def optimal_block(
    predictor: Predictor, flops: Sequence[float], level: float | None, cost: Any = None
) -> Block:
    """N* and D* at each compute, of every group; ``cost``: FLOPs per token as a function of N, in place of
    that of the fit.

    Raises:
        AnalysisError: a bad level, or a law that allots no compute.
    """
    match predictor:
        case GivenLaw():
            frame = predictor.optimal(flops)
        case Estimate():
            frame = predictor.optimal(flops, level=level)
        case Fit():
            labels = predictor.setup.labels if predictor.setup.groups else (None,)
            parts = [predictor.optimal(np.array(flops), level=level, group=x, cost=cost) for x in labels]
            frame = pd.concat(parts, ignore_index=True)
            frame.attrs.update(parts[0].attrs)
            if predictor.setup.groups:
                frame.insert(0, predictor.setup.groups, [x for x in labels for _ in flops])
    attrs = frame.attrs
    price = "" if isinstance(predictor, Estimate) else attrs["cost"]
    return Block("", frame, attrs["level"], attrs["method"], attrs["notes"], price)


def prediction_text(predictor: Predictor, blocks: Sequence[Block], *, sizes: bool = False) -> str:
    """A table for each block, with ``sizes`` the intervals of N* and D*; then what the intervals are."""
    lines = about(predictor)
    for block in blocks:
        lines += [
            "",
            *([f"  {block.heading}"] if len(blocks) > 1 else []),
            *_table(predictor, block.frame, sizes),
        ]
    last = blocks[-1]
    lines += ["", *([f"  cost: {last.cost}"] if last.cost else [])]
    if "new_low" in last.frame:
        lines += [
            f"  intervals, {last.level:.0%}: of the law, {OF_LAW}; of a new run, {OF_RUN}",
            f"  method of the law's: {last.method}",
        ]
        if last.frame["se_discrepancy"].gt(0).to_numpy().any():
            lines.append("  law/run/discrepancy: parts of a forecast's standard deviation, of log loss")
    elif "low" in last.frame:
        lines += [f"  intervals, {last.level:.0%}: {OF_LAW}", f"  method: {last.method}"]
    if "extrapolation" in last.frame:
        lines.append(f"  beyond data: {BEYOND}")
    notes = dict.fromkeys(note for block in blocks for note in block.notes)
    notes |= {} if isinstance(predictor, GivenLaw) else dict.fromkeys(predictor.notes)
    return "\n".join([*lines, *(f"  note: {note}" for note in notes)])


def about(predictor: Predictor) -> list[str]:
    """What splits the table of a fit; law, convention and status."""
    splits = split_text(predictor, as_option) if isinstance(predictor, Fit) else []
    if isinstance(predictor, GivenLaw):
        given = ", ".join(f"{name} = {value:g}" for name, value in predictor.params.items())
        status = f"parameters given: {given}"
    else:
        status = f"status: {predictor.status.code} - {predictor.status.message}"
    unit = None if isinstance(predictor, GivenLaw) else predictor.unit
    loss = f"; {of_unit('L', unit)}" if unit else ""
    return [
        *splits,
        ": ".join(named(predictor)),
        f"  {CONVENTIONS[predictor.convention][2]}{loss}",
        f"  {status}",
    ]


def named(predictor: Predictor) -> tuple[str, str]:
    """Name and formula."""
    if isinstance(predictor, Estimate):
        return predictor.kind, predictor.formula
    return predictor.law.name, predictor.law.formula


def _table(predictor: Predictor, frame: pd.DataFrame, sizes: bool) -> list[str]:
    inputs = [x for x in frame if x not in RESULTS and not str(x).endswith(("_low", "_high"))]
    shown: dict[str, list[str]] = {}
    for name in sorted(inputs, key=lambda x: ORDER.index(x) if x in ORDER else -1):
        if sizes and name in ("N", "D"):
            shown[f"{name}*"] = _values(frame, str(name), count)
            if f"{name}_low" in frame:
                shown[f"of {name}*"] = _intervals(frame, f"{name}_", count)
        else:
            shown[str(name)] = _values(frame, str(name), FORMATS.get(str(name), _text))
    if {"N", "D"} <= set(inputs):
        shown["D/N"] = [f"{ratio:.3g}" for ratio in frame["D"] / frame["N"]]
    shown["loss"] = _values(frame, "loss", number)
    if "low" in frame and not (sizes and "new_low" in frame):
        shown["of the law"] = _intervals(frame, "", number)
    if "new_low" in frame:
        if frame["se_discrepancy"].gt(0).to_numpy().any():
            shown["forecast"] = _values(frame, "forecast", number)
        shown["of a new run"] = _intervals(frame, "new_", number)
        if "forecast" in shown:
            shown["law/run/discrepancy"] = _parts(frame)
    if "extrapolation" in frame:
        beyond = frame["beyond"] if "beyond" in frame else frame["extrapolation"].map("C {:.3g}x".format)
        inside = frame["extrapolation"] <= 1
        shown["beyond data"] = list(beyond.mask(inside, "-"))
        shown["verdict"] = verdicts(predictor, frame)
    rows = list(zip(*shown.values(), strict=True))
    return [f"  {line}" for line in columns([*shown], rows, left=0).splitlines()]


def verdicts(predictor: Predictor, frame: pd.DataFrame) -> list[str]:
    """Of each row: ``identified``, or what it rests on that is not; empty for given parameters."""
    match predictor:
        case GivenLaw():
            return [""] * len(frame)
        case Estimate():
            names = (name for name, verdict in predictor.identified.items() if verdict.verdict != "yes")
            weak = [", ".join(names)] * len(frame)
        case Fit():
            weak = frame["unidentified"]
    return [f"rests on {names}, not identified" if names else "identified" for names in weak]


def _parts(frame: pd.DataFrame) -> list[str]:
    """Of each row, the parts of a forecast's standard deviation, in per cent."""
    rows = zip(*(frame[f"se_{part}"] for part in PARTS), strict=True)
    return ["-" if row[0] != row[0] else "/".join(f"{100 * part:.2g}" for part in row) + " %" for row in rows]


def _values(frame: pd.DataFrame, name: str, write: Any) -> list[str]:
    return ["-" if value != value else write(value) for value in frame[name]]


def _intervals(frame: pd.DataFrame, prefix: str, write: Any) -> list[str]:
    ends = zip(frame[f"{prefix}low"], frame[f"{prefix}high"], strict=True)
    return ["[" + ", ".join("open" if math.isnan(end) else write(end) for end in pair) + "]" for pair in ends]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def prediction_json(predictor: Predictor, blocks: Sequence[Block]) -> dict[str, Any]:
    """The same for programs: a row has its inputs, ends of intervals and verdict."""
    name, formula = named(predictor)
    rows = [
        {**row, "verdict": verdict}
        for block in blocks
        for row, verdict in zip(block.frame.to_dict("records"), verdicts(predictor, block.frame), strict=True)
    ]
    return {
        "law": name,
        "formula": formula,
        "convention": predictor.convention,
        "status": None if isinstance(predictor, GivenLaw) else plain(predictor.status),
        "splits": plain(predictor.splits) if isinstance(predictor, Fit) else [],
        "level": plain(blocks[-1].level),
        "intervals": {"law": OF_LAW, "new_run": OF_RUN}
        if "new_low" in blocks[-1].frame
        else ({"law": OF_LAW} if "low" in blocks[-1].frame else None),
        "method": blocks[-1].method,
        **({"cost": blocks[-1].cost} if blocks[-1].cost else {}),
        "rows": plain(rows),
        "notes": list(dict.fromkeys(note for block in blocks for note in block.notes)),
    }
