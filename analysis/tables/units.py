"""Units: as stated, and what magnitudes speak for. Nothing is converted that was not stated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import Argument, Complaint, Text, alternatives
from analysis.tables.reading import numbers, shown
from analysis.tables.table import about, tell

COUNTS = {"1": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}
LOSSES = {"nats": 1.0, "nats/byte": 1.0, "bits": np.log(2.0), "bits/byte": np.log(2.0), "perplexity": None}
TOKEN, BYTE = "nats per token", "nats per byte"  # what a loss is in, once converted
UNITS: dict[str, Mapping[str, float | None]] = {
    **dict.fromkeys(("params", "params_body", "tokens", "unique_tokens", "budget"), COUNTS),
    "flops": COUNTS | {"PF-days": 8.64e19},
    "loss": LOSSES,
}
STATED = "units_stated"  # column of imported tables: units that were stated when importing, "|" between
# columns that stand together only in tables which the harness wrote: their units are known, at any size
OURS = frozenset({"run_id", "trunk_id", "eval_id", "flops_6n_total", "flops_6n_body", "flops_spent"})
SUFFIX = "suffix"  # the unit of a column whose cells say themselves: "70M", "1.4B"
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
SUFFIXED = re.compile(rf"\s*({NUMBER})\s*([kKmMbBgGtTpP]?)\s*")
LEAST, MOST = 1e3, {"params": 1e15, "params_body": 1e15, "tokens": 1e18, "unique_tokens": 1e18}
TOKENS_PER_PARAM = (1e-3, 1e6)
FACTOR = 100.0  # of flops to 6 N D: mixtures of experts, attention and other conventions stay within it
LOSS = (0.75, 12.0)  # nats per token; ln of a 160,000-token vocabulary is 12


def convert(frame: pd.DataFrame, units: Mapping[str, str], name: str) -> tuple[pd.DataFrame, list[Complaint]]:
    """Columns in our units, and problems; ``About.units``: what those are in now whose unit was stated.
    A count whose heading states its unit is converted, but not believed whatever its size."""
    problems, notes = list[Complaint](), list[str]()
    stated = dict.fromkeys(UNITS, "1") | {"loss": TOKEN} if set(frame.columns) >= OURS else {}
    if STATED in frame.columns:
        cells = "|".join(map(str, frame[STATED].dropna().unique())).split("|")
        pairs = [cell.partition("=") for cell in cells]
        stated |= {column: now or (TOKEN if column == "loss" else "1") for column, _, now in pairs}
        frame = frame.drop(columns=STATED)
    named = {column: unit for column, unit in about(frame).headings.items() if column not in units}
    for column, unit in {**units, **named}.items():
        argument = Argument("units", {column: unit})
        if column not in UNITS:
            problems.append(Complaint(f"units can be stated of {', '.join(UNITS)}", argument))
        elif unit not in UNITS[column] and (unit != SUFFIX or column == "loss"):
            choice = ", ".join(UNITS[column]) + ("" if column == "loss" else f" or {SUFFIX}")
            problems.append(Complaint(f"units of {column} are {choice}", argument))
        elif column not in frame.columns:
            problems.append(Complaint((argument, ", but there is no such column"), name))
        else:
            frame[column] = _converted(frame[column], unit, UNITS[column])
            how = (
                "K, M, B, T read as 1e3, 1e6, 1e9, 1e12" if unit == SUFFIX else f"given in units of {unit!r}"
            )
            notes.append(f"{column}: {how}" + (", as its heading says" if column in named else ""))
            if column == "loss":
                stated["loss"] = BYTE if unit.endswith("/byte") else TOKEN
            elif column not in named:
                stated[column] = "1"
    known = {c: now for c, now in sorted(stated.items()) if c in frame.columns}
    tell(frame, units=known, read=(*about(frame).read, *notes))
    return frame, problems


def _converted(series: Any, unit: str, units: Mapping[str, float | None]) -> Any:
    """Cells that are no numbers stay as they are, for `check` to name them."""
    if unit == SUFFIX:
        return series.map(lambda cell: _suffixed(cell) if isinstance(cell, str) else cell)
    values, bad = numbers(series)
    with np.errstate(all="ignore"):
        found = np.log(values) if units[unit] is None else values * units[unit]
    return pd.Series(np.where(bad, series.astype(object), found) if bad.any() else found, series.index)


def _suffixed(cell: str) -> float | str:
    match = SUFFIXED.fullmatch(cell)
    return cell if match is None else float(match[1]) * COUNTS[match[2].upper() or "1"]


def advice(column: str, cell: str) -> Text:
    """What to do about a cell that is no number."""
    match = SUFFIXED.fullmatch(cell)
    if match is not None and column in UNITS and column != "loss":
        return "to read K, M, B, T as 1e3, 1e6, 1e9, 1e12 say ", Argument("units", {column: SUFFIX})
    if re.fullmatch(r"[\d., ]*[.,]\d+", cell.strip()):
        return "write plain numbers, without thousands separators and with a decimal point"
    return "give plain numbers"


def implausible(
    frame: Any, name: str, columns: Sequence[str], *, given_flops: bool
) -> tuple[list[Complaint], list[str]]:
    """Problems and notes of magnitudes of ``columns`` that speak for another unit; stated units pass."""
    stated = tuple(about(frame).units or ())
    problems: list[Complaint] = []
    for column, most in MOST.items():
        if column in columns and column in frame.columns and column not in stated:
            problems += _count(frame, column, most, name)
    if not problems and {"params", "tokens"} <= set(columns):
        problems = _ratios(frame, stated, name, given_flops)
    unusual, notes = ([], []) if "loss" in stated or "loss" not in columns else _loss(frame, name)
    return problems + unusual, notes


def _count(frame: Any, column: str, most: float, name: str) -> list[Complaint]:
    values = frame[column].to_numpy(float)
    headed = about(frame).headings.get(column)
    which = " if its heading is right, or '1'" if headed else " (or K, B, T; '1' for plain counts)"
    how = "say ", Argument("units", {column: headed or "M"}), which
    few, many = values < LEAST, values > most
    problems = []
    if few.any():
        mixed = (values > 1e6).any()
        what = ("others above 1e6: mixed units; write one",) if mixed else ("in millions or billions? ", *how)
        rows = f"{int(few.sum())} of {len(values)} rows ({shown(frame, few, values)})"
        problems.append(Complaint((f"column {column!r} is below {LEAST:g} in {rows}, ", *what), name))
    if many.any():
        message = f"column {column!r} is above {most:g} in {shown(frame, many, values)}"
        problems.append(Complaint(message, name, ("correct it, or ", *how)))
    return problems


def _ratios(frame: Any, stated: Sequence[str], name: str, given_flops: bool) -> list[Complaint]:
    n, d, c = (frame[x].to_numpy(float) for x in ("params", "tokens", "flops"))
    with np.errstate(all="ignore"):
        per_param, ratio = d / n, c / (6.0 * n * d)
    least, most = TOKENS_PER_PARAM
    middle = float(np.nanmedian(per_param)) if np.isfinite(per_param).any() else 1.0
    if not {"params", "tokens"} <= set(stated) and not least < middle < most:
        message = (
            f"{middle:.3g} tokens per parameter (median) cannot be: 'params' or 'tokens' is in another unit"
        )
        return [
            Complaint(message, name, ("state both, as ", Argument("units", {"params": "M", "tokens": "1"})))
        ]
    usable = np.isfinite(ratio) & (ratio > 0)
    if "flops" in stated or not given_flops or not usable.any():
        return []
    typical = float(np.median(ratio[usable]))
    fits = [u for u, scale in UNITS["flops"].items() if scale and abs(np.log10(typical * scale)) < 0.7]
    units = alternatives(Argument("units", {"flops": u}) for u in dict.fromkeys([*fits[:1], "1"]))
    how = "say ", *units, " if that is so, or ", Argument("columns", {"flops": None}), " to take 6 N D"
    far = usable & ((ratio < 1 / FACTOR) | (ratio > FACTOR))
    values, spread = c[usable], ratio[usable].max() / ratio[usable].min()
    if len(values) > 1 and np.ptp(values) == 0 and spread > 10:
        what = f"is {values[0]:g} in every row, though 6 x params x tokens is not"
    elif far.any():
        what = f"is not near 6 x params x tokens; times as large: {shown(frame, far, ratio)}"
    else:
        return []
    return [Complaint(f"column 'flops' {what}", name, how)]


def _loss(frame: Any, name: str) -> tuple[list[Complaint], list[str]]:
    values = frame["loss"].to_numpy(float)
    real = values[np.isfinite(values)]
    if not len(real):
        return [], []
    middle = float(np.median(real))
    least, most = LOSS
    if middle < least:
        what = "bits per byte, an error rate or a scaled loss?"
    elif middle > most:
        what = "perplexity or percent?"
    elif "bits_per_byte" in frame.columns and np.array_equal(values, numbers(frame["bits_per_byte"])[0]):
        what = "and equal to bits_per_byte in every row"
    else:
        far = values > most
        note = f"loss above {most:g} nats per token (diverged, or another unit?) in {shown(frame, far)}"
        return [], [note] if far.any() else []
    say = (
        "say ",
        Argument("units", {"loss": "nats"}),
        " if it is right, else 'bits', 'bits/byte' or 'perplexity'",
    )
    message = f"column 'loss' is {middle:.3g} (median), unusual for nats per token: {what} "
    return [Complaint((message, *say), name)], []
