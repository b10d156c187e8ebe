"""Fits as text. What is not identified is printed as such or as a bound, never as a number."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from analysis.tables.runs import CONVENTIONS

if TYPE_CHECKING:
    from analysis.fits.result import Fit

DERIVED = {"a": "N* ~ C^a", "b": "D* ~ C^b"}
# where a forecast comes from (Trial.origin)
ORIGINS = {
    "frozen": "frozen before the run was begun",
    "hindsight": "computed after the outcome was known",
    "recomputed": "recomputed from the table, not frozen",
}


def number(value: float) -> str:
    """Four digits, powers of ten where they read better."""
    return f"{value:.4g}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3e}"


def count(value: float) -> str:
    """12.3k, 4.56M, 7.8B: parameters or tokens."""
    for factor, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(float(f"{value:.3g}")) >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def fit_text(fit: Fit) -> str:
    law, objective = fit.law, fit.objective
    unit = fit.unit
    unit = f"L in {unit}" if unit else f"{law.formula.partition(' ')[0]} is the column {fit.setup.target!r}"
    named = f"  {CONVENTIONS[fit.convention][2]}; " if {*law.inputs} & {*"NC"} else "  "
    lines = [f"{law.name}: {law.formula}", named + unit]
    if not law.terms:  # whose formula is its author's, not to be read off its terms
        about = {"parameters": "" if law.text else ", ".join(law.names), "source": law.source,
                 "assumes": law.assumptions}  # fmt: skip
        lines += [f"  {what}: {said}" for what, said in about.items() if said]
    lines += [f"  status: {fit.status.code} - {fit.status.message}"]
    if fit.status.code != "ok":
        lines.append(f"  advice: {fit.status.advice}")
    if fit.usable:
        lines += ["", *parameters(fit), ""]
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


def parameters(fit: Any) -> list[str]:
    """A line for each that is identified or bounded, and one for each reason why others are not."""
    derived = fit.optimum.exponents if fit.optimum else {}
    lines, unknown, width = [], {}, max(6, *map(len, fit.identified))
    for name, verdict in fit.identified.items():
        kind = verdict.verdict
        value = fit.solution.get(name, derived.get(name))
        if name in fit.fixed:
            lines.append(f"  {name:<{width}} {number(fit.fixed[name]):>10}  fixed")
        elif kind == "yes" and value is not None:
            low, high = fit.intervals.params[name]
            tail = f"   {DERIVED[name]}" if name in DERIVED and name not in fit.solution else ""
            lines.append(f"  {name:<{width}} {number(value):>10}  [{number(low)}, {number(high)}]{tail}")
        elif kind == "one_sided":
            side, bound = next(iter(verdict.bound.items()))
            sign = "<" if side == "upper" else ">"
            shown = sign + " " + number(bound)
            lines.append(f"  {name:<{width}} {shown:>10}  one-sided: {verdict.reason}")
        else:
            unknown.setdefault(verdict.reason, []).append(name)
    return lines + [f"  not identified: {', '.join(names)}: {reason}" for reason, names in unknown.items()]


def _noise(fit: Fit) -> str:
    log, form = fit.setup.space == "log", ".2%" if fit.setup.space == "log" else ".4g"
    text = f"{fit.noise.sd:{form}} (robust {fit.noise.robust_sd:{form}})"
    p = fit.noise.clusters_alike_p
    if log and p is not None and p <= 0.05:
        text += f"; runs of one cluster are alike (permutation p = {p:.2g})"
    seeds = fit.noise.seeds
    return text + (f"; repeated seeds differ by {seeds.sd_log:.2%} ({seeds.degrees} d.f.)" if seeds else "")


def left_out(fit: Any) -> list[str]:
    """How many rows were left out, by reason."""
    reasons = Counter(item["reason"] for item in fit.excluded)
    return [f"  left out: {n} row{'s' if n > 1 else ''}, {reason}" for reason, n in reasons.items()]


def fit_html(fit: Any, formula: str) -> str:
    """A result as HTML for a notebook: its status, a table of parameters, and the rest of the summary
    folded."""
    rows = ""
    for name, row in fit.ci().to_dict("index").items():
        value, low, high = (
            ("" if x != x else escape(number(x))) for x in (row["estimate"], row["low"], row["high"])
        )
        cells = (escape(str(name)), value, low, high, row["verdict"], escape(row["reason"]))
        rows += "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    head = "".join(f"<th>{x}</th>" for x in ("", "estimate", "low", "high", "identified", "reason"))
    status = f"{fit.status.code}: {fit.status.message}"
    return (
        f"<p><b>{escape(formula)}</b><br>{escape(status)}</p><table><tr>{head}</tr>{rows}</table>"
        f"<details><summary>summary</summary><pre>{escape(fit.summary())}</pre></details>"
    )
