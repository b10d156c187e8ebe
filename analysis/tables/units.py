"""Columns in our units, as the user, a heading or the cells state them; and what magnitudes speak for.
Nothing is converted that was not stated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import Argument, Complaint, Text, alternatives, some
from analysis.tables.headings import UNITS, cell, factor
from analysis.tables.reading import numbers, shown
from analysis.tables.table import about, tell

TOKEN, BYTE = "nats per token", "nats per byte"  # what a loss is in, once converted
NOT_STATED = "unit not stated"
UNKNOWN = "UNIT"  # in advice: a unit that only the user knows
STATED = "units_stated"  # column of imported tables: units that were stated when importing, "|" between
# columns that stand together only in tables which the harness wrote: their units are known, at any size
OURS = frozenset({"run_id", "trunk_id", "eval_id", "flops_6n_total", "flops_6n_body", "flops_spent"})
SUFFIX = "suffix"  # the unit of a column whose cells say themselves: "70M", "1.4B"
READ = {"loss": "per cent read as 1/100"}
LEAST, MOST = 1e3, {"params": 1e15, "params_body": 1e15, "tokens": 1e18, "unique_tokens": 1e18}
COMPUTE = (1e9, 1e30)  # FLOPs; less is a millisecond's work
TOKENS_PER_PARAM = (1e-3, 1e6)
UNUSUAL = {"parameters": (1e5, 1e13), "tokens per parameter": (0.1, 5e3)}  # else a note is made
FACTOR = 100.0  # of flops to 6 N D: mixtures of experts, attention and other conventions stay within it
LOSS = (0.75, 12.0)  # nats per token; ln of a 160,000-token vocabulary is 12
# what runs usually have, to offer a unit that makes it so
USUAL = {"params": (1e4, 1e13), "tokens": (1e6, 1e15), "flops": (1e13, 1e28)}
RATIO = (1.0, 1e3)  # tokens per parameter, likewise
OFFERED = ("1", "M", "B", "E", "PF-days", "Z", "P", "K", "T")


def convert(frame: pd.DataFrame, units: Mapping[str, str], name: str) -> tuple[pd.DataFrame, list[Complaint]]:
    """Columns in our units, and problems; ``About.units``: what those are in now whose unit was stated.
    A count whose heading or cells state its unit is converted, but not believed whatever its size."""
    notes = list[str]()
    stated = dict.fromkeys(UNITS, "1") | {"loss": TOKEN} if set(frame.columns) >= OURS else {}
    if STATED in frame.columns:
        pairs = [
            text.partition("=") for text in "|".join(map(str, frame[STATED].dropna().unique())).split("|")
        ]
        stated |= {column: now or (TOKEN if column == "loss" else "1") for column, _, now in pairs}
        frame = frame.drop(columns=STATED)
    named = {column: unit for column, unit in about(frame).headings.items() if column not in units}
    suffixed, problems = _by_cell(frame, units, named, name)
    for column, unit in {**units, **named, **suffixed}.items():
        if complaint := _unusable(frame, column, unit, name):
            problems.append(complaint)
            continue
        frame[column] = _converted(frame[column], column, unit)
        how = f"given in units of {unit!r}"
        if unit == SUFFIX:
            how = READ.get(column, "K, M, B, T read as 1e3, 1e6, 1e9, 1e12")
        elif column in named:
            how += ", as its heading says"
        notes.append(f"{column}: {how}")
        if column == "loss":
            of_tokens = {"nats": TOKEN, "bits": TOKEN, "perplexity": TOKEN}
            stated["loss"] = BYTE if unit.endswith("/byte") else of_tokens.get(unit, NOT_STATED)
        elif column not in named and column not in suffixed:
            stated[column] = "1"
    known = {c: now for c, now in sorted(stated.items()) if c in frame.columns and now != NOT_STATED}
    tell(frame, units=known, read=(*about(frame).read, *notes))
    return frame, problems


def loss_unit(frame: pd.DataFrame) -> str:
    """What the losses of a table are in: as was stated, or as the harness writes them."""
    return about(frame).unit or (TOKEN if set(frame.columns) >= OURS else NOT_STATED)


def of_unit(name: str, unit: str) -> str:
    """``L in nats per token``, ``L (unit not stated)``."""
    return f"{name} ({unit})" if unit == NOT_STATED else f"{name} in {unit}"


def _unusable(frame: pd.DataFrame, column: str, unit: str, name: str) -> Complaint | None:
    argument = Argument("units", {column: unit})
    if column not in UNITS:
        return Complaint(f"units can be stated of {', '.join(UNITS)}", argument)
    if unit != SUFFIX and unit not in UNITS[column] and factor(column, unit) is None:
        more = "" if column == "loss" else f", a number such as 1e18, or {SUFFIX}"
        return Complaint(f"units of {column} are {', '.join(UNITS[column])}{more}", argument)
    if column not in frame.columns:
        return Complaint((argument, ", but there is no such column"), name)
    return None


def _by_cell(
    frame: pd.DataFrame, units: Mapping[str, str], named: Mapping[str, str], name: str
) -> tuple[dict[str, str], list[Complaint]]:
    """Columns whose cells state their unit, and problems with those of which only some do."""
    suffixed, problems = dict[str, str](), list[Complaint]()
    for column in (c for c in UNITS if c in frame.columns and c not in units):
        if frame.columns.tolist().count(column) > 1 or not numbers(frame[column])[1].any():
            continue
        texts = frame[column].dropna().astype(str)
        parsed = [cell(text, column) for text in texts]
        stated = {read[1] for read in parsed if read is not None}
        if None in parsed or stated <= {"1"}:
            continue
        how = Argument("units", {column: SUFFIX})
        plain = next(
            (text for text, read in zip(texts, parsed, strict=True) if read and read[1] == "1"), None
        )
        other = next((text for text, read in zip(texts, parsed, strict=True) if read and read[1] != "1"), "")
        if plain is not None:
            message = f"column {column!r} has {plain!r} beside {other!r}: a mixture of units"
            hint = "write one of them; if plain cells are plain numbers, say ", how
            problems.append(Complaint(message, name, hint))
        elif column in named and stated != {named[column]}:
            message = f"the heading of {column!r} says {named[column]!r}, its cells {other!r}"
            problems.append(Complaint(message, name, ("if the cells are right, say ", how)))
        suffixed[column] = SUFFIX
    return suffixed, problems


def _converted(series: Any, ours: str, unit: str) -> Any:
    """Cells that are no numbers stay as they are, for `check` to name them."""
    if unit == SUFFIX:
        return series.map(lambda text: _suffixed(text, ours) if isinstance(text, str) else text)
    values, bad = numbers(series)
    scale = factor(ours, unit)
    with np.errstate(all="ignore"):
        converted = np.log(values) if scale is None else values * scale
    return pd.Series(
        np.where(bad, series.astype(object), converted) if bad.any() else converted, series.index
    )


def _suffixed(text: str, ours: str) -> float | str:
    parsed = cell(text, ours)
    return text if parsed is None else parsed[0] * (factor(ours, parsed[1]) or 1.0)


def advice(column: str, text: str) -> Text:
    """What to do about a cell that is no number."""
    if column in UNITS and cell(text, column) is not None:
        return "to read K, M, B, T as 1e3, 1e6, 1e9, 1e12 say ", Argument("units", {column: SUFFIX})
    if re.fullmatch(r"[\d., ]*[.,]\d+", text.strip()):
        return "write plain numbers, without thousands separators and with a decimal point"
    return "give plain numbers"


def implausible(
    frame: Any, name: str, columns: Sequence[str], *, given_flops: bool
) -> tuple[list[Complaint], list[str]]:
    """Find magnitudes that speak for another unit than ours; stated units pass.

    Args:
        frame: usable rows, columns under our names.
        name: what messages call the table.
        columns: those to look at.
        given_flops: whether the table gave ``flops``, rather than being filled with 6 params tokens.

    Returns:
        Problems, and notes.
    """
    stated = tuple(about(frame).units or ())
    problems: list[Complaint] = []
    given = frame if given_flops else frame.drop(columns="flops", errors="ignore")
    for column, most in MOST.items():
        if column in columns and column in frame.columns and column not in stated:
            problems += _count(given, column, most, name)
    if not problems and {"params", "tokens"} <= set(columns):
        problems = _apart(given, stated, name) or (_costs(given, stated, name) if given_flops else [])
    elif "flops" in columns and "flops" in frame.columns and "flops" not in stated:
        problems += unsized(frame[["flops"]], name) if given_flops else []
    strange = _unusual(frame, stated) if {"params", "tokens"} <= set(columns) and not problems else []
    unusual, notes = ([], []) if "loss" in stated or "loss" not in columns else _loss(frame, name)
    return problems + unusual, [*strange, *notes]


def _count(frame: Any, column: str, most: float, name: str) -> list[Complaint]:
    values = frame[column].to_numpy(float)
    few, many = values < LEAST, values > most
    which = _which(frame, column)
    problems = []
    if few.any():
        mixed = (values > 1e6).any()
        what = ("others above 1e6: mixed units; write one",)
        if not mixed:
            what = "in thousands, millions or billions? ", *which
        rows = f"{int(few.sum())} of {len(values)} rows ({shown(frame, few, values)})"
        problems.append(Complaint((f"column {column!r} is below {LEAST:g} in {rows}, ", *what), name))
    if many.any():
        message = f"column {column!r} is above {most:g} in {shown(frame, many, values)}"
        problems.append(Complaint(message, name, ("correct it, or ", *which)))
    return problems


def _which(frame: Any, column: str) -> tuple[str | Argument, ...]:
    """How to state the unit of a column: the one that makes it what runs usually have, where it is one."""
    fitting = likely(frame, column)
    if len(fitting) == 1:
        return "say ", Argument("units", {column: fitting[0]}), " if that is so"
    usual = f" ({some(fitting)} would make it usual)" if fitting else ""
    return (
        "state its unit by ",
        Argument("units", {column: UNKNOWN}),
        f", of {', '.join(UNITS[column])}{usual}",
    )


def likely(frame: Any, column: str) -> list[str]:
    """Units in which the cells have the size that runs usually have, alone and beside the other columns,
    where those have it."""
    headed = about(frame).headings.get(column)
    size = np.nanmedian(numbers(frame[column])[0]) / (factor(column, headed) or 1.0 if headed else 1.0)
    medians = {
        c: float(np.nanmedian(numbers(frame[c])[0])) for c in USUAL if c in frame.columns and c != column
    }
    known = {c: value for c, value in medians.items() if USUAL[c][0] <= value <= USUAL[c][1]}
    least, most = USUAL.get(column, USUAL["params"])
    fitting = []
    for unit in (unit for unit in OFFERED if unit in UNITS[column]):
        value = float(size * (factor(column, unit) or np.nan))
        n, d, c = ({**known, column: value}.get(x, np.nan) for x in USUAL)
        follows = d / n, c / (6 * n * n), 6 * d * d / c  # the latter two with 6 N D = C
        per_param, cost = next((x for x in follows if not np.isnan(x)), np.nan), c / (6 * n * d)
        if not least <= value <= most or per_param < RATIO[0] or per_param > RATIO[1]:
            continue
        if not (cost < 1 / FACTOR or cost > FACTOR):
            fitting.append(unit)
    return fitting


def unsized(frame: Any, name: str) -> list[Complaint]:
    """Problems of sizes, tokens and FLOPs from which others are to follow, by their medians."""
    stated, problems = about(frame).units or {}, list[Complaint]()
    for column in (c for c in USUAL if c in frame.columns and c not in stated):
        values, _ = numbers(frame[column])
        values = values[np.isfinite(values) & (values > 0)]
        least, most = (LEAST, MOST[column]) if column in MOST else COMPUTE
        if not len(values) or least <= (middle := float(np.median(values))) <= most:
            continue
        headed = about(frame).headings.get(column)
        but = f", though its heading says {headed!r}" if headed else ""
        of = {"flops": "FLOPs of a training run"}.get(column, f"the {column} of training runs")
        message = f"column {column!r} is {middle:.3g} (median), which cannot be {of}{but}"
        number = ", or a number such as 1e21" if column == "flops" else ""
        hint = *_which(frame, column), number
        problems.append(Complaint(message, name, hint))
    return problems


def _apart(frame: Any, stated: Sequence[str], name: str) -> list[Complaint]:
    """Problems of size and tokens beside each other."""
    n, d = (frame[x].to_numpy(float) for x in ("params", "tokens"))
    with np.errstate(all="ignore"):
        per_param = d / n
    least, most = TOKENS_PER_PARAM
    middle = float(np.nanmedian(per_param)) if np.isfinite(per_param).any() else 1.0
    if {"params", "tokens"} <= set(stated) or least < middle < most:
        return []
    message = f"{middle:.3g} tokens per parameter (median) cannot be: 'params' or 'tokens' is in another unit"
    pairs = [{"params": u, "tokens": "1"} for u in likely(frame, "params")]
    pairs += [{"params": "1", "tokens": u} for u in likely(frame, "tokens")]
    if len(pairs) == 1:
        hint = "state both: ", Argument("units", pairs[0]), " if that is so"
    else:
        hint = (
            "state both by ",
            Argument("units", {"params": UNKNOWN, "tokens": UNKNOWN}),
            ", '1' for plain numbers",
        )
    return [Complaint(message, name, hint)]


def _unusual(frame: Any, stated: Sequence[str]) -> list[str]:
    """Notes on sizes, and on tokens per parameter, that few runs have."""
    if {"params", "tokens"} <= set(stated):
        return []
    size, tokens = (frame[x].to_numpy(float) for x in ("params", "tokens"))
    with np.errstate(all="ignore"):
        middles = {"parameters": np.nanmedian(size), "tokens per parameter": np.nanmedian(tokens / size)}
    return [
        f"{middle:.3g} {what} (median): if that is not so, state the units of params and tokens"
        for what, middle in middles.items()
        if not UNUSUAL[what][0] <= middle <= UNUSUAL[what][1]
    ]


def _costs(frame: Any, stated: Sequence[str], name: str) -> list[Complaint]:
    """Problems of FLOPs that are far from 6 N D of the same row."""
    n, d, c = (frame[x].to_numpy(float) for x in ("params", "tokens", "flops"))
    with np.errstate(all="ignore"):
        ratio = c / (6.0 * n * d)
    usable = np.isfinite(ratio) & (ratio > 0)
    if "flops" in stated or not usable.any():
        return []
    headings = about(frame).headings
    typical = float(np.median(ratio[usable])) / (factor("flops", headings.get("flops", "1")) or 1.0)
    fits = [u for u, scale in UNITS["flops"].items() if scale and abs(np.log10(typical * scale)) < 0.7]
    options = [
        {column: u}
        for column in ("params", "tokens")
        for u in likely(frame, column)
        if u != "1" and column not in stated and column not in headings
    ]
    if "flops" not in headings or not options:  # headings are believed before columns that say nothing
        options += [{"flops": u} for u in fits[:1]]
    how = "say ", *alternatives([Argument("units", unit) for unit in options[:1]]), " if that is so, or "
    if len(options) != 1:
        units = {column: UNKNOWN for option in options for column in option} or {"flops": UNKNOWN}
        how = "state in which unit they are by ", Argument("units", units), ", or "
    how = *how, Argument("columns", {"flops": None}), " to take 6 N D"
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
        what, units = "bits per byte, an error rate or a scaled loss?", ("bits/byte", "nats/byte", "nats")
    elif middle > most:
        what, units = "perplexity or percent?", ("perplexity", "percent", "nats")
    elif "bits_per_byte" in frame.columns and np.array_equal(values, numbers(frame["bits_per_byte"])[0]):
        what, units = "and equal to bits_per_byte in every row", ("bits/byte", "nats")
    else:
        far = values > most
        note = f"loss above {most:g} (diverged, or not in nats per token?) in {shown(frame, far)}"
        return [], [note] if far.any() else []
    ways = alternatives(Argument("units", {"loss": unit}) for unit in units)
    message = f"column 'loss' is {middle:.3g} (median), unusual for nats per token: {what}"
    return [Complaint(message, name, ("say which it is: ", *ways))], []
