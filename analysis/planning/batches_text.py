"""What is expected of the critical batch, as text."""

from __future__ import annotations

from analysis.errors import plural
from analysis.fits.summary import count, interval_text, verdict_text
from analysis.planning.batches import ExpectedBatch, ExpectedBatches
from analysis.planning.statement import VERDICTS, aligned, share_text
from analysis.results import Interval

SHOWN = 24  # groups listed
HEADINGS = (
    *("group", "loss", "noise", "batches", "Bcrit", "expected interval", "+-", "verdict"),
    "identified for Bcrit of",
)


def batches_text(found: ExpectedBatches) -> str:
    """The statement of the critical batch, in lines."""
    rows = [HEADINGS, *(_row(one) for one in found.found[:SHOWN])]
    lines = [
        f"What this design can identify of the critical batch: {_verdict(found)}",
        "  S = Smin (1 + Bcrit / B): steps to the loss that all runs of a group reach before their decay",
        f"  assumed: {found.critical.text}; each batch at its best rate",
        f"  losses of {found.prior.law.name} ({found.prior.source})",
        f"  noise {found.prior.noise.text}, branches of one trunk perhaps less; of log steps as much over "
        "the slope of the learning curve",
        f"  {found.level:.0%} intervals as analysis.criticalbatch is expected to report them",
        "",
        *(f"  {line}" for line in aligned(rows, left=(0, 5, 7))),
    ]
    if len(found.found) > SHOWN:
        lines.append(f"  and {len(found.found) - SHOWN} more")
    reasons = dict[str, list[str]]()
    for one in found.found:
        if one.verdict.verdict != "yes":
            reasons.setdefault(one.verdict.reason, []).append(one.group.name)
    lines += [
        f"  {reason} ({'all groups' if len(names) == len(found.found) else '; '.join(names)})"
        for reason, names in reasons.items()
    ]
    return "\n".join([*lines, f"  {_power_law(found)}"])


def _verdict(found: ExpectedBatches) -> str:
    text = VERDICTS[found.verdict]
    if found.verdict == "identifiable":
        return text
    bounded = sum(one.verdict.verdict == "one_sided" for one in found.found)
    groups = f"{text}: in {found.identified} of {plural(len(found.found), 'group')}"
    return f"{groups}, bounded on one side in {bounded}" if bounded else groups


def _row(one: ExpectedBatch) -> tuple[str, ...]:
    batches, verdict = one.group.batches, one.verdict
    ends = interval_text(verdict, Interval(one.low, one.high))
    return (
        one.group.name,
        f"{one.loss:.4g}",
        share_text(one.noise),
        f"{len(set(batches.tolist()))}, {count(batches.min())} to {count(batches.max())}",
        count(one.critical),
        "open" if verdict.verdict == "no" and verdict.code != "prior" else ends,
        share_text(one.half_width),
        verdict_text(verdict),
        "none" if one.reach is None else f"{count(one.reach.low)} to {count(one.reach.high)}",
    )


def _power_law(found: ExpectedBatches) -> str:
    verdict = found.exponent.verdict
    said = "exponent known to" if verdict.verdict == "yes" else "not identified:"
    return f"Bcrit as a power of the loss reached: {said} {verdict.reason}"
