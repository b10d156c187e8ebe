"""A fit or an estimate as a table in LaTeX: parameters, intervals, verdicts, and how they were obtained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.fits.summary import UNSURE, verdict_text
from analysis.laws.notation import DERIVED, number, symbol, tex
from analysis.results import Interval, Verdict

if TYPE_CHECKING:
    from analysis.fits.result import Fit

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
}
SPECIAL |= {sign: f"\\{sign}" for sign in "&%$#_{}"}


def escaped(text: str) -> str:
    """``text`` as LaTeX prints it."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def latex(result: Any, formula: str, about: str) -> str:
    """A ``table`` in the form of booktabs, with a caption; what is not identified has a question mark.

    Args:
        result: a fit or an estimate.
        formula: of its law.
        about: what was fitted, and the residuals, for the caption.
    """
    estimates = result.estimates() if result.usable else {}
    rows = [_row(result, name, value, interval) for name, (value, interval) in estimates.items()]
    equations = tex(formula.partition(";")[0])
    law = escaped(formula) if equations is None else ", ".join(f"${part}$" for part in equations)
    said = [f"{law}. {escaped(about)}", *_reasons(result)]
    if estimates:
        said.append(escaped(f"{result.level:.0%} intervals: {result.intervals.method}"))
    if result.status.code not in ("ok", "partly_identified", "none_identified"):  # whose reasons are given
        said.append(escaped(result.status.message))
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{'; '.join(said)}.}}",
        r"  \begin{tabular}{lrll}",
        r"    \toprule",
        rf"    parameter & estimate & {result.level:.0%} interval & verdict \\".replace("%", r"\%"),
        r"    \midrule",
        *(f"    {' & '.join(row)} \\\\" for row in rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(["% needs \\usepackage{booktabs}", *lines])


def fit_latex(fit: Fit) -> str:
    """The table of a fit."""
    rows = len(fit.data.get("L", ()))
    spread = f"{100 * fit.noise.sd:.2g} %" if fit.setup.space == "log" else f"{fit.noise.sd:.3g}"
    about = f"{fit.law.name}, {rows} runs" + (f", residual s.d. {spread}" if fit.usable else "")
    return latex(fit, fit.law.formula, about)


def _row(result: Any, name: str, value: float, interval: Interval) -> tuple[str, str, str, str]:
    verdict = result.identified[name]
    text = f"${number(value)}$"
    if verdict.verdict == "no":
        text = f"({UNSURE}) {text}"
    base, _, group = name.partition("[")
    said = f" ({escaped(group[:-1])})" if group else ""
    meaning = f", ${DERIVED[name]}$" if name in DERIVED and name not in result.solution else ""
    return f"${symbol(base)}${said}{meaning}", text, _interval(verdict, interval), verdict_text(verdict)


def _interval(verdict: Verdict, interval: Interval) -> str:
    if verdict.code == "fixed":
        return ""
    if verdict.verdict == "one_sided":
        ((side, bound),) = verdict.bound.items()
        return f"${'<' if side == 'upper' else '>'} {number(bound)}$"
    if all(end != end for end in interval):
        return "--"
    low, high = ("open" if end != end else f"${number(end)}$" for end in interval)
    return f"[{low}, {high}]"


def _reasons(result: Any) -> list[str]:
    """Why parameters are not identified, or only to one side; those of one reason together."""
    reasons: dict[str, list[str]] = {}
    for name, verdict in result.identified.items():
        if verdict.verdict != "yes" and result.usable:
            reasons.setdefault(verdict.reason, []).append(f"${symbol(name.partition('[')[0])}$")
    return [f"{', '.join(dict.fromkeys(names))}: {escaped(reason)}" for reason, names in reasons.items()]
