"""What magnitudes speak for: sizes, tokens, FLOPs and losses that cannot be, or seldom are, in our units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.errors import Argument, Complaint, alternatives, some
from analysis.tables.headings import UNITS, factor
from analysis.tables.reading import numbers, shown
from analysis.tables.table import about

UNKNOWN = "UNIT"  # in advice: a unit that only the user knows
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
