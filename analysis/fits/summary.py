"""Fits as text: every estimate with its interval and verdict; what is not identified is marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.errors import Argument, Complaint, plural
from analysis.fits.splits import advice
from analysis.results import Interval, Verdict
from analysis.tables.runs import CONVENTIONS
from analysis.tables.units import of_unit

if TYPE_CHECKING:
    from analysis.fits.result import Fit

DERIVED = {"a": "N* ~ C^a", "b": "D* ~ C^b"}
MOST = 3  # columns that split a table, in print
UNSURE = "?"  # before an estimate that is not identified
DIM = "\x1b[2m{}\x1b[0m"
# where a forecast comes from (Trial.origin)
ORIGINS = {
    "frozen": "frozen before the run was begun",
    "hindsight": "computed after the outcome was known",
    "recomputed": "recomputed from the table, not frozen",
}


def number(value: float) -> str:
    """Four digits, powers of ten where they read better."""
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3e}"


def uncertain(value: float, error: float) -> tuple[str, str]:
    """The ``error`` of a value to two digits, and the value to the same place."""
    if not 0 < error < np.inf:
        return number(value), number(error)
    place = 1 - int(np.floor(np.log10(float(f"{error:.1e}"))))
    shown = [f"{round(x, place):.{max(place, 0)}f}" for x in (value, error)]
    return shown[0], shown[1]


def count(value: float) -> str:
    """12.3k, 4.56M, 7.8B: parameters or tokens."""
    for factor, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(float(f"{value:.3g}")) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def fit_text(fit: Fit, *, dim: bool = False, spell: Callable[[Argument], str] = str) -> str:
    """The fit in lines, first what splits its table; ``dim`` what is not identified, for a terminal;
    ``spell`` writes arguments."""
    law, objective = fit.law, fit.objective
    unit = fit.unit
    unit = (
        of_unit("L", unit) if unit else f"{law.formula.partition(' ')[0]} is the column {fit.setup.target!r}"
    )
    named = f"  {CONVENTIONS[fit.convention][2]}; " if {*law.inputs} & {*"NC"} else "  "
    lines = split_text(fit, spell)
    lines += [f"{law.name}: {law.formula}", named + unit]
    if not law.terms:  # whose formula is its author's, not to be read off its terms
        about = {"parameters": "" if law.text else ", ".join(law.names), "source": law.source,
                 "assumes": law.assumptions}  # fmt: skip
        lines += [f"  {what}: {text}" for what, text in about.items() if text]
    lines += [f"  status: {fit.status.code} - {fit.status.message}"]
    if fit.status.code != "ok":
        lines.append(f"  advice: {fit.status.advice}")
    if fit.usable:
        lines += ["", *parameters(fit, dim=dim), ""]
        delta = f", delta {objective.delta:.3g}" if objective.delta is not None else ""
        kind = {"huber": "sum of Huber on log residuals", "log-ls": "least squares on log residuals",
                "raw-ls": "least squares on residuals",
                "log1p-ls": "least squares on residuals of log(1 + L)"}  # fmt: skip
        lines.append(f"  objective: {kind[objective.kind]}{delta}: {objective.value:.6g}, {objective.n} runs")
        starts, check = fit.starts, fit.intervals.check
        lines.append(
            f"  starts: {starts.agree} of {starts.n} agree"
            + (f"; {check.agree} of {check.n} replicates checked from many starts agree" if check.n else "")
        )
        lines.append(f"  intervals: {fit.intervals.level:.0%}, {fit.intervals.method}")
        lines.append(f"  residuals: {_noise(fit)}")
        for other in fit.others:
            moved = ", ".join(f"{n} = {number(other.params[n])}" for n in other.outside)
            tuned = f" with delta {other.delta:.3g}" if other.delta else ""
            lines.append(f"  beyond the intervals under {kind[other.kind]}{tuned}: {moved}")
    lines += left_out(fit)
    lines += [f"  note: {note}" for note in fit.notes]
    return "\n".join(lines)


def split_text(fit: Fit, spell: Callable[[Argument], str] = str) -> list[str]:
    """What splits the table of a fit, a line a column; ``spell`` writes arguments."""
    return [Complaint(advice(split)).text(spell) for split in fit.splits[:MOST]]


def verdict_text(verdict: Verdict) -> str:
    """The verdict in words."""
    match verdict.verdict:
        case "one_sided":
            return f"bounded {'above' if 'upper' in verdict.bound else 'below'}"
        case "yes":
            return "fixed" if verdict.code == "fixed" else "identified"
        case _:
            return "not identified"


def interval_text(verdict: Verdict, interval: Interval) -> str:
    """Both ends, or the bound where only that holds; a dash where there is no interval."""
    if verdict.code == "fixed":
        return ""
    if verdict.verdict == "one_sided":
        ((side, bound),) = verdict.bound.items()
        return f"{'<' if side == 'upper' else '>'} {number(bound)}"
    if all(end != end for end in interval):
        return "-"
    low, high = ("open" if end != end else number(end) for end in interval)
    return f"[{low}, {high}]"


def parameters(result: Any, *, dim: bool = False) -> list[str]:
    """A table of the estimates, then a line for each reason why one is not identified, or only bounded.

    Args:
        result: a fit or an estimate.
        dim: what is not identified, by an escape sequence of terminals.
    """
    cells = [("parameter", "estimate", f"{result.level:.0%} interval", "verdict", "")]
    reasons: dict[str, list[str]] = {}
    weak = set()
    for name, (value, interval) in result.estimates().items():
        verdict = result.identified[name]
        unsure = verdict.verdict == "no"
        if unsure:
            weak.add(len(cells))
        if verdict.verdict != "yes":
            reasons.setdefault(verdict.reason, []).append(name)
        estimate = f"{UNSURE} {number(value)}" if unsure else number(value)
        meaning = DERIVED.get(name, "") if name not in result.solution else ""
        cells.append((name, estimate, interval_text(verdict, interval), verdict_text(verdict), meaning))
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    lines = []
    for i, (name, estimate, interval, verdict, meaning) in enumerate(cells):
        row = (
            f"  {name:<{widths[0]}}  {estimate:>{widths[1]}}  {interval:<{widths[2]}}  "
            f"{verdict:<{widths[3]}}  {meaning}"
        ).rstrip()
        lines.append(DIM.format(row) if dim and i in weak else row)
    return lines + [f"  {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _noise(fit: Fit) -> str:
    log, form = fit.setup.space == "log", ".2%" if fit.setup.space == "log" else ".4g"
    text = f"{fit.noise.sd:{form}} (robust {fit.noise.robust_sd:{form}})"
    p = fit.noise.clusters_alike_p
    if log and p is not None and p <= 0.05:
        text += f"; runs of one cluster are alike (permutation p = {p:.2g})"
    seeds = fit.noise.seeds
    if seeds is None:
        return text
    words = {"init": "initial weights", "order": "order of data"}
    apart = [
        f", {words[what]} alone by {part.sd_log:.2%} ({part.degrees} d.f.)"
        for what, part in seeds.apart.items()
    ]
    if seeds.evaluation is not None:
        apart.append(f", evaluation by {seeds.evaluation:.2%} (over documents, the same for all runs)")
    return f"{text}; repeated seeds differ by {seeds.sd_log:.2%} ({seeds.degrees} d.f.){''.join(apart)}"


def left_out(fit: Any) -> list[str]:
    """How many rows were left out, by reason."""
    reasons = Counter(item["reason"] for item in fit.excluded)
    return [f"  left out: {plural(n, 'row')}, {reason}" for reason, n in reasons.items()]
