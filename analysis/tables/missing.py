"""Columns that a table lacks: derived where they follow from others, else how to say what they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, Argument, Complaint, alternatives, some
from analysis.tables.columns import ALIASES, candidates, file_names
from analysis.tables.expressions import quantity, quoted
from analysis.tables.headings import PER_BYTE, folded, unit
from analysis.tables.magnitudes import FACTOR, LEAST, MOST, TOKENS_PER_PARAM, unsized
from analysis.tables.reading import numbers
from analysis.tables.table import about, tell

# what columns that are none of ours hold, by their names as `folded` spells them
PARTS = {
    "sequences": ("batch", "batch_size", "global_batch_size", "train_batch_size", "global_train_batch_size",
                  "batch_size_sequences", "sequences_per_batch", "sequences_per_step", "gbs", "bs"),
    "ratio": ("tokens_per_param", "tokens_per_params", "tokens_per_parameter", "token_multiplier",
              "tokens_param_ratio", "token_param_ratio", "tokens_to_params", "tokens_to_params_ratio",
              "token_to_param_ratio", "param_data_ratio", "data_param_ratio", "target_param_data_ratio",
              "tpp", "d_n", "d_over_n", "tokens_params", "tokens_param"),
}  # fmt: skip
WAYS = {
    "tokens": ("{steps} * {batch_tokens}", "{steps} * {sequences} * {context}", "{params} * {ratio}",
               "{flops} / (6 * {params})"),
    "params": ("{tokens} / {ratio}", "{flops} / (6 * {tokens})"),
}  # fmt: skip
IN_TOKENS = 2**14  # a batch of as many may be counted in tokens as well as in sequences
AGREE = 1.5  # ways to derive a column differ by less, as ends of an epoch and rounding make them
SEARCHED = {
    "params": r"param|size|^n_(active|dense|total)",
    "tokens": r"token|data|examples",
    "loss": r"loss|bpb|bits_per_byte|ppl|perplex|entropy|nll",
    "flops": r"flop|compute",
}
# words of names that speak against it, anywhere and as their beginning
OTHER = frozenset(
    {"per", "second", "sec", "s", "rate", "throughput", "ratio", "multiplier", "id", "name", "std", "stderr",
     "se", "norm", "time", "frac", "fraction", "word"}
)  # fmt: skip
NOT = {
    "params": ("embed", "head", "wte", "lm", "batch", "vocab", "data", "token", "scalar", "hidden",
               "context"),
    "tokens": ("batch", "context", "length", "vocab", "unique", "eval", "val", "test", "warmup", "decay",
               "loss", "step", "param", "embed", "seq"),
    "loss": ("weight", "aux", "scale"),
    "flops": ("util", "mfu", "peak", "tflop"),
}  # fmt: skip
PLAIN = {"loss": (0.05, 20.0), "flops": (1e9, 1e30)}
# one of ours that may also be meant by another
ALSO = {"loss": ("bits_per_byte", "train_loss"), "params": ("params_body",), "flops": ("budget",)}


def derive(
    frame: pd.DataFrame, stated: Mapping[str, str], unused: Collection[str], name: str
) -> tuple[pd.DataFrame, list[Complaint]]:
    """Add stated quantities, and size and tokens where they follow from other columns.

    Size and tokens are added where they are not given and follow in one way only.

    Args:
        frame: the table, columns under our names.
        stated: quantities by the column they make, ``{"tokens": "steps * batch_tokens"}``.
        unused: columns that are not to be derived.
        name: what messages call the table.

    Returns:
        The table with these columns, and problems.
    """
    problems, notes, columns = list[Complaint](), list[str](), dict[str, np.ndarray]()
    for ours, text in stated.items():
        try:
            columns[ours] = quantity(text, frame)
        except AnalysisError as error:
            problems += [
                Complaint(str(p), (f"{name}: ", Argument("columns", {ours: text}))) for p in error.problems
            ]
        else:
            notes.append(f"{ours} = {text}, as stated")
    frame = frame.assign(**columns)
    for ours in (x for x in WAYS if x not in frame.columns and x not in unused):
        if problems or (_texts(ours, frame) and (problems := unsized(frame, name))):
            break
        found = ways(ours, frame)
        if len(found) == 1 and not alike(ours, frame):
            text = found[0]
            frame = frame.assign(**{ours: quantity(text, frame)})
            notes.append(f"{ours} = {text} in every row (no {ours} given)")
    tell(frame, read=(*about(frame).read, *notes))
    return frame, problems


def ways(ours: str, frame: pd.DataFrame) -> list[str]:
    """Quantities of other columns that ``ours`` may be: of those that agree, the first."""
    kept: dict[str, np.ndarray] = {}
    for text in _texts(ours, frame):
        values = quantity(text, frame)
        exact = "6 *" not in text
        if _sized(ours, values, frame) and not any(_near(values, other, exact) for other in kept.values()):
            kept[text] = values
    return list(kept)


def _texts(ours: str, frame: pd.DataFrame) -> list[str]:
    """Quantities that the columns give, whatever their size."""
    parts = _parts(frame)
    known = [way for way in WAYS.get(ours, ()) if set(re.findall(r"{(\w+)}", way)) <= set(parts)]
    texts = [way.format_map(parts) for way in known]
    if {"sequences", "steps"} <= set(parts) and ours == "tokens" and "batch_tokens" not in parts:
        batch = numbers(frame[_named("sequences", frame)[0]])[0]
        if np.nanmedian(batch) >= IN_TOKENS:
            texts.insert(0, f"{parts['steps']} * {parts['sequences']}")
    return texts


def _near(values: np.ndarray, other: np.ndarray, exact: bool) -> bool:
    ratio = np.nanmedian(values / other)
    limit = AGREE if exact else FACTOR  # 6 N D is not every convention's C
    return bool(1 / limit < ratio < limit)


def _parts(frame: pd.DataFrame) -> dict[str, str]:
    """Columns from which others follow, as a quantity names them."""
    names = file_names(frame)
    ours = ("steps", "batch_tokens", "context", "params", "tokens", "flops")
    found = {x: names.get(x, x) for x in ours if list(frame.columns).count(x) == 1}
    found |= {part: columns[0] for part in PARTS if len(columns := _named(part, frame)) == 1}
    return {
        part: quoted(column)
        for part, column in found.items()
        if not numbers(frame[column if column in frame.columns else part])[1].any()
    }


def _named(part: str, frame: pd.DataFrame) -> list[str]:
    ends = {c: (folded(str(c)), folded(re.split(r"[/.]", str(c))[-1])) for c in frame.columns}
    return [c for c, names in ends.items() if set(names) & set(PARTS[part])]


def _sized(
    ours: str, values: np.ndarray, frame: pd.DataFrame, ratios: tuple[float, float] = TOKENS_PER_PARAM
) -> bool:
    """Whether these may be ``ours``, by their size alone and beside the other."""
    if not np.isfinite(values).any() or not LEAST <= np.nanmedian(values) <= MOST[ours]:
        return False
    other = {"tokens": "params", "params": "tokens"}[ours]
    if other not in frame.columns or list(frame.columns).count(other) > 1:
        return True
    with np.errstate(all="ignore"):
        ratio = values / numbers(frame[other])[0]
        ratio = np.nanmedian(ratio if ours == "tokens" else 1 / ratio) if np.isfinite(ratio).any() else 1.0
    return bool(ratios[0] < ratio < ratios[1])


def alike(ours: str, frame: pd.DataFrame) -> list[str]:
    """Columns of the file that may be ``ours`` by name, unit and size, though no alias says so, and that are
    none of the others."""
    names, found = file_names(frame), []
    for column in frame.columns:
        file = str(names.get(column, column))
        name = folded(file)
        if column == ours or not re.search(SEARCHED.get(ours, ours), name):
            continue
        if column not in ALSO.get(ours, ()) and (
            _against(ours, PER_BYTE.sub("", name)) or _other(ours, file)
        ):
            continue
        if list(frame.columns).count(column) == 1 and _plausible(ours, frame[column], frame):
            found.append(file)
    return found


def _against(ours: str, name: str) -> bool:
    words = re.sub(r"(^|_)(no|non|without)_?(embed|vocab|head)[a-z]*", "", name).split("_")
    return bool(OTHER & set(words)) or any(word.startswith(NOT.get(ours, ())) for word in words)


def _other(ours: str, file: str) -> bool:
    return any(candidates(other, [file]) or other == file for other in ALIASES if other != ours)


def _plausible(ours: str, series: Any, frame: pd.DataFrame) -> bool:
    values, bad = numbers(series)
    if bad.any() or not np.isfinite(values).any() or not np.nanmedian(values) > 0:
        return False
    if ours in PLAIN:
        least, most = PLAIN[ours]
        return bool(least <= np.nanmedian(values) <= most)
    if ours in WAYS:
        alone = len(values) > 1 and np.nanmax(values) == np.nanmin(values) and ours == "tokens"
        return not alone and _sized(ours, values, frame, (0.05, 1e5))
    return True


def missing(ours: str, frame: pd.DataFrame) -> tuple[str | Argument, ...]:
    """How to say what ``ours`` is in a table that lacks it."""
    columns = sorted(alike(ours, frame), key=_second)
    counted = ours == "params" and "params_body" in columns  # better than what compute says of it
    derived = () if counted else ways(ours, frame)
    options = [Argument("columns", {ours: text}) for text in (*columns, *derived)]
    if not options and ours == "tokens" and {"steps", "sequences"} <= set(parts := _parts(frame)):
        text = f"{parts['steps']} * {parts['sequences']} * LENGTH"
        return "with the length of sequences, say ", Argument("columns", {ours: text})
    if not options:
        names = file_names(frame)
        hint = f"columns here: {some(names.get(c, c) for c in frame.columns)}"
        return (hint + ("; a number for all rows may stand in place of a column" if ours in WAYS else ""),)
    hint = "say which it is: ", *alternatives(options)
    if ours == "loss" and columns and unit(columns[0], "loss")[1] == "bits/byte":
        stated = Argument("units", {"loss": "bits/byte"})
        hint = *hint, "; bits per byte are not nats per token: add ", stated, " with such a column"
    return hint


def _second(column: str) -> int:
    """Of columns that may be the loss, those of the test set first, then others units, then of training."""
    return 2 if "train" in folded(column).split("_") else int(unit(column, "loss")[1] is not None)


def stated_quantities(given: Mapping[str, str | None], columns: Sequence[str]) -> dict[str, str]:
    """Of what is stated to be a column, what is no column of the file but a quantity."""
    return {
        ours: text
        for ours, text in given.items()
        if text is not None and text not in columns and re.search(r"[*/]|^\s*[\d.]", text)
    }
