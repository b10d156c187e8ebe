"""A comparison of variants in plain text."""

from __future__ import annotations

import numpy as np

from analysis.fits.summary import number
from analysis.variants.contrast import Contrast, Worth
from analysis.variants.pairing import Difference

EQUAL = {"params": "size", "flops": "compute"}  # columns in words; others as they are called


def contrast_lines(found: Contrast) -> list[str]:
    """Everything that is known of one variant, the verdict last."""
    lines = [f"  {found.variant} against {found.reference}"]
    if found.difference is not None:
        lines += paired_lines(found.difference)
    elif not found.unlike:
        lines.append("    no two pairs of runs of the same cell and seed")
    if found.test is not None:
        lines.append(f"    {_exponents(found)}")
    for worth in found.worth:
        lines.append(f"    {_worth(worth, found.reference)}")
        lines += [f"      with exponents of its own: {_multiple(own)}" for own in found.own_worth
                  if own.at == worth.at]  # fmt: skip
    if found.speed is not None:
        speed = found.speed
        lines.append(
            f"    a FLOP takes {_span(speed.seconds, *speed.seconds_ends)} the time ({speed.pairs} pairs on "
            f"{speed.device}): effective speedup {_span(speed.speedup, *speed.ends)}"
        )
    elif found.no_speed and not found.reason:
        lines.append(f"    no effective speedup: {found.no_speed}")
    return [*lines, f"    verdict: {verdict(found)}", *(f"    note: {note}" for note in found.notes)]


def verdict(found: Contrast) -> str:
    """What a reader may quote."""
    said = found.said
    match found.code:
        case "needs_more" | "needs_less" if said is not None:
            return (
                f"{found.variant} needs {_multiple(said)} the compute of {found.reference} for the same loss"
                + _where(said)
            )
        case "no_difference" if said is not None:
            loss, paired = "", found.difference
            if paired is not None and "flops" in paired.alike:
                loss = f", {percent(paired.within)} of loss at equal compute"
            return f"no difference within {percent(said.within)} of compute{_where(said)}{loss}"
        case _:
            worth = _multiple(found.worth[-1]) if found.worth else "nothing to go by"
            return f"not identified: {found.unlike or found.reason or worth}"


def _where(said: Worth) -> str:
    return " (at the target)" if said.target else f" (at C = {said.at:.3g})"


def paired_lines(apart: Difference) -> list[str]:
    """The paired difference, and what it does over compute."""
    words = [EQUAL.get(name, name) for name in apart.alike]
    alike = ", ".join(words[:-1]) + f" and {words[-1]}" if len(words) > 1 else words[0]
    low, high = (_change(end) for end in apart.ends)
    lines = [
        f"    same {alike}, {apart.pairs} pairs: loss {_change(apart.mean)} [{low}, {high}]; a pair differs "
        f"from that by {percent(apart.sd)} (sd), {apart.clusters} clusters"
    ]
    if apart.slope is not None and apart.slope_ends is not None:
        low, high = apart.slope_ends
        what = _trend(apart) if low > 0 or high < 0 else "no trend told apart from 0"
        lines.append(
            f"    with ten times the compute the difference changes by {_change(apart.slope)} "
            f"[{_change(low)}, {_change(high)}]: {what}"
        )
    return lines


def _trend(apart: Difference) -> str:
    """What a trend does to the difference."""
    rises = (apart.slope or 0.0) > 0
    if apart.ends.low <= 0 <= apart.ends.high:
        return "it rises" if rises else "it falls"
    return "it grows" if rises == (apart.mean > 0) else "it shrinks"


def _exponents(found: Contrast) -> str:
    test = found.test
    assert test is not None
    how = f"p = {test.p:.2g}, wild cluster bootstrap of {test.replicates}"
    alike = "" if found.alike is None else f"; residuals of a pair correlate by {found.alike:.2f}"
    if test.shared:
        return f"exponents: shared, own ones fit no better than by chance ({how}){alike}"
    return f"exponents: of its own, shared ones fit worse than by chance ({how}){alike}"


def _worth(worth: Worth, reference: str) -> str:
    place = "the target, " if worth.target else ""
    return (
        f"compute for the loss of {reference} at {place}C = {worth.at:.3g} ({number(worth.loss)}): "
        f"{_multiple(worth)}"
    )


def _multiple(worth: Worth) -> str:
    low, high = worth.ends
    match worth.verdict:
        case "yes":
            return _span(worth.multiplier, low, high)
        case "one_sided":
            return f"more than {low:.3g}x" if np.isfinite(low) else f"less than {high:.3g}x"
        case _:
            return worth.reason


def _span(value: float, low: float, high: float) -> str:
    return f"{value:.3g}x [{low:.3g}, {high:.3g}]"


def percent(share: float) -> str:
    """A share with two digits."""
    return f"{float(f'{100 * share:.2g}'):g} %"


def _change(log: float) -> str:
    """A difference of log loss as a relative change."""
    return f"{100 * np.expm1(log):+.2f} %"
