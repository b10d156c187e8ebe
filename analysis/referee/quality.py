"""Tests of single runs: what their flags doubt, and whether their training curves coincide."""

from __future__ import annotations

from analysis.collapse import collapse
from analysis.errors import Argument
from analysis.referee.outcome import Outcome, judged, unseen
from analysis.referee.subject import Subject, Test
from analysis.tables import flags
from analysis.tables.table import about

DOUBTED = 0.1  # of the runs fitted, above which flags are more than single cases


def _flags(subject: Subject) -> Outcome:
    frame = subject.frame
    if flags.COLUMN not in frame.columns:
        advice = "make the table with scaling collect, or add a column flags"
        return unseen("no column says which runs are in doubt", advice)
    doubted = [row for row in flags.of_rows(frame) if row]
    share = len(doubted) / max(len(frame), 1)
    kinds = dict.fromkeys(flag for row in doubted for flag in row)
    dropped = about(frame).dropped
    named = f" ({', '.join(kinds)})" if kinds else ""
    seen = f"{len(doubted)} of {len(frame)} runs fitted have flags{named}"
    example = Argument(flags.COLUMN, {next(iter(kinds), "loss_spike"): "drop"})
    return judged(
        share > DOUBTED,
        f"{seen}; {dropped} more are left out for theirs",
        ("look at these runs, train them again, or see what the claims are without them: ", example),
        value=share,
        measure="share of the runs fitted",
    )


def _collapse(subject: Subject) -> Outcome:
    found = collapse(subject.table, subject.curves)
    if found.status.code == "not_applicable":
        return unseen(found.status.message, found.status.advice)
    names = ", ".join(curve.label for curve in found.fallen[:5])
    return judged(
        found.status.code != "collapses",
        f"{found.status.message}{f': {names}' if names else ''}",
        found.status.advice,
        value=max(curve.off for curve in found.curves),
        measure="largest distance to the other sizes",
    )


TESTS = {
    "flags": Test("flagged runs", _flags),
    "collapse": Test("training curves that coincide", _collapse),
}
