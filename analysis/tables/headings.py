"""Units as headings and cells state them: ``Model Size (B)``, ``FLOPs [1e21]``, ``total_gflops``,
``tokens_in_billions``, ``70M``, ``1.4 billion``."""

from __future__ import annotations

import re

import numpy as np

COUNTS: dict[str, float | None] = {
    "1": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21, "Y": 1e24,
}  # fmt: skip
LOSSES: dict[str, float | None] = {
    "nats": 1.0, "nats/byte": 1.0, "bits": np.log(2.0), "bits/byte": np.log(2.0), "perplexity": None,
    "percent": 0.01,
}  # fmt: skip
UNITS = {
    "params": COUNTS, "params_body": COUNTS, "tokens": COUNTS, "unique_tokens": COUNTS, "budget": COUNTS,
    "batch_tokens": COUNTS, "steps": COUNTS, "flops": COUNTS | {"PF-days": 8.64e19}, "loss": LOSSES,
}  # fmt: skip
# letters and words -> ours; a small letter alone says nothing in brackets, and stands for itself after "_"
MULTIPLES = {
    **{letter: letter for letter in "KMBGTPEZY"},
    **dict.fromkeys(("thousand", "thousands", "k"), "K"), **dict.fromkeys(("million", "mn", "mil", "m"), "M"),
    **dict.fromkeys(("millions", "mio"), "M"), **dict.fromkeys(("billion", "billions", "bn", "b"), "B"),
    **dict.fromkeys(("trillion", "trillions", "tn", "t"), "T"),
}  # fmt: skip
OF_LOSS = {
    **dict.fromkeys(("nat", "nats", "nats/token", "nats per token"), "nats"),
    **dict.fromkeys(("nats/byte", "nats per byte"), "nats/byte"),
    **dict.fromkeys(("bit", "bits", "bits/token", "bits per token", "bpt"), "bits"),
    **dict.fromkeys(("bits/byte", "bits per byte", "bpb"), "bits/byte"),
    **dict.fromkeys(("perplexity", "ppl"), "perplexity"), **dict.fromkeys(("%", "percent", "pct"), "percent"),
}  # fmt: skip
SI = {"kilo": "K", "mega": "M", "giga": "G", "tera": "T", "peta": "P", "exa": "E", "zetta": "Z",
      "yotta": "Y"}  # fmt: skip
PREFIX = rf"(?P<prefix>{'|'.join(SI)}|[kmgtpezy])"
FLOP = re.compile(
    rf"{PREFIX}?[ _-]?f(?P<lop>lops?|s)?(?P<rate>[/_]s(?:ec(?:ond)?)?)?(?:[ _-]*(?P<time>days?|hours?|d|h))?",
    re.I,
)
IN_NAME = re.compile(rf"(?:^|_){PREFIX}_?(?P<flop>flops?)(?=_|$)(?!_(?:s|sec|second|per)(?:_|$))")
POWER_DAYS = re.compile(r"(?:^|_)(?P<unit>[a-z]+_?f(?:lops?)?(?:_s|ps)?_(?:days?|hours?))$")
BRACKETS = re.compile(r"\s*[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*$")
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
POWER = r"(?:1_?[eE]_?\+?|10\s*(?:\^|\*\*)\s*|10(?=[⁰¹²³⁴⁵⁶⁷⁸⁹]))([0-9⁰¹²³⁴⁵⁶⁷⁸⁹]{1,2})"
LEADING = re.compile(r"^(?:in\s+|units of\s+|of\s+|[x×*]\s*)+", re.I)
NOUN = re.compile(r"\s*(?:of\s+)?(?:params?|parameters?|tokens?|tok|flops?|steps?)$", re.I)
SUFFIXES = "thousands?|millions?|billions?|trillions?|mio|mil|mn|bn|tn"
AT_END = re.compile(
    rf"(?:[\s_,/x×*-]+(?:in[\s_-]+)?(?:[x×][\s_-]*)?|(?-i:(?<=[a-z])(?=[BMKT]$)))(?P<unit>{SUFFIXES}|[kmbt]|{POWER})$",
    re.I,
)
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
CELL = re.compile(rf"\s*({NUMBER})\s*([a-zA-Z%][a-zA-Z/ -]*)?\s*")
RATIO = re.compile(r"(^|_)(ppl|perplexity)(?=_|$)")
PER_BYTE = re.compile(r"(^|_)(bpb|bits_per_byte)(_|$)")


def folded(column: str) -> str:
    """``Model Size``, ``modelSize`` and ``model-size`` -> ``model_size``."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column)
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")


def factor(ours: str, unit: str) -> float | None:
    """What a count in this unit is to be multiplied by: of a name, or a number such as ``1e18``."""
    if unit in UNITS[ours]:
        return UNITS[ours][unit]
    if ours == "loss" or not re.fullmatch(NUMBER, unit):
        return None
    return float(unit) if 0 < float(unit) < np.inf else None


def spelled(text: str, ours: str) -> str | None:
    """The unit that a text in brackets, or after a number, states of ``ours``; None: none of it."""
    text = LEADING.sub("", text.strip())
    if ours == "loss":
        return text if text in LOSSES else OF_LOSS.get(text.lower())
    if text in UNITS[ours]:
        return text
    if ours in ("flops", "budget") and (match := FLOP.fullmatch(text)):
        return _compute(match)
    if len(bare := NOUN.sub("", text)) < len(text):
        return spelled(bare, ours) if bare else "1"
    if match := re.fullmatch(POWER, text):
        return f"1e{match[1].translate(SUPERSCRIPTS)}"
    unit = MULTIPLES.get(text if len(text) == 1 else text.lower())
    return unit if len(text) > 1 or text.isupper() else None


def _compute(match: re.Match[str]) -> str | None:
    """Of ``EFLOPs``, ``petaflop``, ``PFLOP/s-days``; FLOP a second are no compute."""
    prefix = (match["prefix"] or "1").lower()
    letter = SI.get(prefix, prefix.upper())
    time = (match["time"] or "")[:1].lower()
    if time == "d" and letter == "P":
        return "PF-days"
    if time:
        return f"{(COUNTS[letter] or 1.0) * {'d': 86400.0, 'h': 3600.0}[time]:g}"
    return letter if match["lop"] and not match["rate"] else None


def unit(column: str, ours: str) -> tuple[str, str | None]:
    """A heading without the unit that it states, and that unit: ``Model Size (B)``, ``tokens_b``,
    ``total_gflops``. A heading without a unit of ``ours`` stays as it is."""
    if ours not in UNITS:
        return column, None
    if match := BRACKETS.search(column):
        stated = spelled(match[1], ours)
        return (
            (column, None) if stated is None else (column[: match.start()], None if stated == "1" else stated)
        )
    name = folded(column)
    if ours == "loss":
        if PER_BYTE.search(name):
            return column, "bits/byte"
        loss = RATIO.sub(r"\1loss", name)
        return (loss, "perplexity") if loss != name else (column, None)
    if ours in ("flops", "budget"):
        if (match := POWER_DAYS.search(name)) and (whole := FLOP.fullmatch(match["unit"])):
            return name[: match.start()] or "flops", _compute(whole)
        match = IN_NAME.search(name)
        letter = SI.get(match["prefix"], match["prefix"].upper()) if match else ""
        if match and (letter != "T" or match[0] != name):  # "tflops" alone is a speed
            return f"{name[: match.start('prefix')]}{name[match.start('flop') :]}", letter
    if (match := AT_END.search(column)) and match.start():
        word = match["unit"].lower()
        power = re.fullmatch(POWER, match["unit"])
        return column[: match.start()], f"1e{power[1].translate(SUPERSCRIPTS)}" if power else MULTIPLES[word]
    return column, None


def cell(text: str, ours: str) -> tuple[float, str] | None:
    """The number of a cell such as ``70M`` and its unit, ``1`` where it has none; None: no number."""
    match = CELL.fullmatch(text.replace("_", ""))
    if match is None:
        return None
    word = match[2] and match[2].strip()
    stated = spelled(word.upper() if word and len(word) == 1 else word, ours) if word else "1"
    return None if stated is None else (float(match[1]), stated)
