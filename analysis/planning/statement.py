"""What a design can identify and what would help, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from analysis.errors import plural
from analysis.fits.summary import count, interval_text, number, verdict_text
from analysis.planning.ahead import Ahead
from analysis.planning.expectation import Expectation, Expected
from analysis.planning.help import HALF, SLIGHT, Advice, Help
from analysis.planning.simulate import Seen, Simulated
from analysis.results import Interval

OPEN = 1e6  # as a factor: an interval further off says nothing
VERDICTS = {
    "identifiable": "yes",
    "partly": "partly",
    "not_identifiable": "NOT IDENTIFIABLE",
}
FAR = 5.0  # times an exponent
SHOWN = 12  # runs listed


def expected_text(found: Expected) -> str:
    """The statement of one law, in lines."""
    law, weak = found.prior.law, ", ".join(found.weak)
    head = f"What this design can identify of {law.name}: {VERDICTS[found.verdict]}"
    if found.reason:
        head += f": {found.reason}"
    elif weak:
        head += f"; not to the stated width: {weak}"
    noise, values = found.prior.noise.text, found.prior.params.items()
    ranges = {x: f" ({number(low)} to {number(high)})" for x, (low, high) in found.prior.ranges.items()}
    at = ", ".join(f"{name} = {number(value)}{ranges.get(name, '')}" for name, value in values)
    lines = [
        head,
        f"  {law.formula}",
        f"  assumed: {at} ({found.prior.source}); noise {noise}",
        f"  {found.runs} fitted runs in {found.clusters} clusters by {found.by}; {found.level:.0%} intervals "
        "as a fit is expected to report them",
    ]
    if found.target is not None and np.isfinite(found.extrapolation):
        far = f"{found.extrapolation:.3g}x the compute of the largest run"
        lines.append(f"  target {found.target.label}: {far}")
    if found.repetition is not None:
        lines.append(f"  {found.repetition.text}")
    if any(np.isfinite(one.spread) for one in found.quantities):
        lines += ["", *_table(found.quantities)]
    if found.ahead is not None:
        one = found.ahead
        over = found.aheads
        ends = f"; {_about(over.low)} to {_about(over.high)} over the prior" if over else ""
        lines.append(f"  forecast of {one.name}: {ahead_text(one)}{ends}")
    if not found.reason and found.condition > 1e3 and found.weak:
        lines.append(
            f"  hardest to tell apart: {', '.join(found.confounded)} (condition {found.condition:.2g})"
        )
    return "\n".join(lines)


def ahead_text(one: Ahead) -> str:
    """Half of the interval of a forecast, and the standard deviations that make it up, where there are
    several."""
    half = _about(one.half_width)
    if not one.run and not one.discrepancy:
        return half
    return f"{half} (sd: law {share_text(one.law)}, run {one.run:.2%}, discrepancy {one.discrepancy:.2%})"


def _table(quantities: Sequence[Expectation]) -> list[str]:
    rows = [("quantity", "assumed", "expected interval", "+-", "verdict")]
    rows += [
        (one.name, _shown(one.name, one.value), _interval(one), _half(one), verdict_text(one.verdict))
        for one in quantities
    ]
    return [f"  {line}" for line in aligned(rows, left=(0, 2, 4))]


def aligned(rows: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """One line a row, its columns in ``left`` aligned left and the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = (
        [
            cell.ljust(w) if i in left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return ["  ".join(cells).rstrip() for cells in padded]


def _shown(name: str, value: float) -> str:
    """A value as its quantity is written: N* and D* as counts; those too far out to be known as a dash."""
    if np.isnan(value):
        return "-"
    return count(value) if name[:2] in ("N*", "D*") else number(value)


def _interval(one: Expectation) -> str:
    if one.verdict.verdict == "one_sided":
        return interval_text(one.verdict, Interval(one.low, one.high))
    if _open(one, one.half_width):
        return "open"
    return f"[{_shown(one.name, one.low)}, {_shown(one.name, one.high)}]"


def _open(one: Expectation, half: float) -> bool:
    """Whether an interval reaches so far that its ends say nothing."""
    return half > (np.log(OPEN) if one.log else FAR * abs(one.value))


def _half(one: Expectation) -> str:
    """The half-width, or its range over the prior: a percentage, or a factor where it is large."""

    def shown(half: float) -> str:
        if _open(one, half):
            return "-"
        if one.log:
            return share_text(half)
        return f"{half / abs(one.value):.0%}" if one.value else number(half)

    if one.widths is None:
        return shown(one.half_width)
    return " to ".join(dict.fromkeys(map(shown, one.widths)))


def help_text(found: Help, labels: Mapping[int, str], so_far: float) -> str:
    """What would halve the interval of a target.

    Args:
        found: the runs.
        labels: of the cells on offer, by row.
        so_far: FLOPs of the runs that are there, beside which costs are shown.
    """
    goal, what = found.name, "the forecast of" if found.goal == "loss" else "the interval of"
    if not found.runs:
        return f"What would help {what} {goal}, now {ahead_text(found.now)}: {nothing_text(found)}"
    one = len(found.runs) == 1
    share = f", {found.cost / so_far:.0%} of what is there," if so_far else ""
    halved = found.aim >= HALF * found.before
    if found.reaches:
        did = f"halve{'s' * one} it" if halved else f"bring{'s' * one} it to what can be claimed"
    else:
        none = "halves it" if halved else f"brings it to {_about(found.aim)}, which could be claimed"
        did = f"do{'es' * one} most ({found.offered} cells on offer: none {none})"
    head = (
        f"What would help {what} {goal}, now {ahead_text(found.now)}:\n"
        f"  {plural(len(found.runs), 'run')} for {found.cost:.3g} FLOPs{share} {did}, to "
        f"{ahead_text(found.then)}"
    )
    more = [f"  and {len(found.runs) - SHOWN} more"] if len(found.runs) > SHOWN else []
    listed = [f"  {line}" for line in help_table(found.runs, labels)[: SHOWN + 1]]
    return "\n".join([head, *listed, *more])


MAINS = {
    "law": "the law, {:.2%}, is nearly all of it: more of its runs, or other sizes and D/N, would tell",
    "run": "the noise of one run, {:.2%}, is nearly all of it: more runs of a law do not lessen it",
    "discrepancy": "the discrepancy, {:.2%}, is nearly all of it: only runs nearer the target lessen it",
}  # the part that an interval is made of, and what follows


def nothing_text(found: Help) -> str:
    """Why no run is proposed."""
    text = f"none of the {found.offered} cells on offer narrows it by {SLIGHT:.0%} or more"
    main = found.now.main if found.goal == "loss" else None
    return text if main is None else f"{text}; {MAINS[main].format(getattr(found.now, main))}"


def help_table(runs: Sequence[Advice], labels: Mapping[int, str]) -> list[str]:
    """One line a run, in the order in which they help, and a heading."""
    rows = [("run", "N", "D", "cost", "interval then", "why")]
    rows += [
        (
            labels[run.offer],
            count(run.N),
            count(run.D),
            f"{run.cost:.3g}",
            _about(run.after),
            run.why,
        )
        for run in runs
    ]
    return aligned(rows, left=(0, 5))


def share_text(half: float) -> str:
    """Half of an interval in logs: a percentage, or a factor where it is large."""
    if half > np.log(OPEN):
        return "open"
    return f"{half:.2%}" if half < 0.5 else f"x{np.exp(half):.3g}"


def _about(half: float) -> str:
    return f"+-{share_text(half)}" if half < 0.5 else share_text(half)


def simulated_text(found: Simulated) -> str:
    """What simulated studies say, beside what was expected."""
    codes = ", ".join(f"{code} {number}" for code, number in found.status.items())
    head = f"{found.studies} studies of {found.law} simulated and fitted: {codes}"
    if found.reason:
        return f"{head}\n  none has a fit to look at: {found.reason}"
    rows = [("quantity", "truth", "+- of estimates", "+- reported", "covers the truth", "identified")]
    for one in found.seen:
        spread, reported = _spread(one, one.spread), _spread(one, one.half_width)
        truth = _shown(one.name, one.truth)
        rows.append((one.name, truth, spread, reported, f"{one.covered:.0%}", f"{one.identified:.0%}"))
    lines = [f"  {line}" for line in aligned(rows, left=(0,))]
    return "\n".join([head, *lines])


def _spread(one: Seen, half: float) -> str:
    if not np.isfinite(half):
        return "open"
    if one.log:
        return share_text(half)
    return f"{half / abs(one.truth):.0%}" if one.truth else number(half)
