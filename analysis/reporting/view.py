"""Results as the page shows them: plain words and numbers already written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from analysis.collapse import Collapse
from analysis.errors import Complaint
from analysis.findings import Described
from analysis.fits.result import Fit
from analysis.fits.summary import DERIVED, ORIGINS, UNSURE, count, interval_text, number, verdict_text
from analysis.forecasting.forecasts import Trial
from analysis.referee.outcome import Outcome, Page
from analysis.reporting.charts.calibration import FEWEST, frozen
from analysis.reporting.formula import typeset
from analysis.reporting.words import STATUS
from analysis.summaries import study_summary

TONES = {"yes": "good", "one_sided": "fair", "no": "poor"}
VERDICTS = {
    "fail": ("failed", "poor", True),
    "unknown": ("could not be looked at", "plain", False),
    "pass": ("passed", "good", False),
}


@dataclass(frozen=True)
class Parameter:
    """An estimate in words; ``meaning`` of a derived one, ``reason`` why it is not identified."""

    name: Markup
    estimate: str
    interval: str
    verdict: str
    tone: str
    reason: str
    meaning: str


@dataclass(frozen=True)
class LawView:
    """A law with its verdict; ``text``: all that the command prints of it."""

    variant: str | None
    formula: Markup
    status: str
    tone: str
    message: str
    advice: str
    level: str
    parameters: tuple[Parameter, ...]
    text: str


def law_view(variant: str | None, described: Described) -> LawView:
    """The law of one variant."""
    fit = described.fit
    status, tone = STATUS[fit.status.code]
    return LawView(
        variant=variant,
        formula=typeset(fit.law.formula),
        status=status,
        tone=tone,
        message=fit.status.message,
        advice=fit.status.advice if fit.status.code != "ok" else "",
        level=f"{fit.level:.0%}",
        parameters=tuple(_parameters(fit)),
        text=study_summary(fit, described.isoflop, described.backtest),
    )


def _parameters(fit: Fit) -> list[Parameter]:
    found = []
    for name, (value, interval) in fit.estimates().items():
        verdict = fit.identified[name]
        unsure = f"{UNSURE} " if verdict.verdict == "no" else ""
        found.append(
            Parameter(
                name=typeset(name),
                estimate=f"{unsure}{number(value)}",
                interval=interval_text(verdict, interval),
                verdict=verdict_text(verdict),
                tone=TONES[verdict.verdict],
                reason=verdict.reason if verdict.verdict != "yes" else "",
                meaning=DERIVED.get(name, "") if name not in fit.solution else "",
            )
        )
    return found


def forecast_view(trial: Trial) -> dict[str, str]:
    """One forecast as a row."""
    forecast, score = trial.forecast, trial.score
    target, interval = forecast.target, forecast.interval
    origin = f"frozen as {forecast.hash}" if trial.origin == "frozen" else ORIGINS[trial.origin]
    outcome, tone = "no outcome yet", "plain"
    if trial.failure is not None:
        outcome = trial.failure
    elif score is not None:
        outcome, tone = ("inside", "good") if score.inside else ("outside", "poor")
    return {
        "name": target["label"] or target["run_id"] or "a run",
        "origin": origin,
        **{x: count(target[x]) for x in "ND"},
        "C": f"{target['C']:.3g}",
        "beyond": f"{forecast.extrapolation:.3g}x",
        "predicted": f"{forecast.prediction:.4f}",
        "parts": ", ".join(f"{name} {value:.2%}" for name, value in forecast.parts.items()),
        "interval": f"[{interval['low']:.4f}, {interval['high']:.4f}]",
        "level": f"{interval['level']:.0%}",
        "measured": f"{score.loss:.4f}" if score else "",
        "error": f"{score.error:+.2%}" if score else "",
        "outcome": outcome,
        "tone": tone,
    }


def check_view(page: Page, variant: str | None) -> dict[str, Any]:
    """The tests of a referee, what failed first."""
    groups = []
    for verdict, (heading, tone, is_open) in VERDICTS.items():
        outcomes = [_outcome(one) for one in page.outcomes if one.verdict == verdict]
        if outcomes:
            groups.append({"heading": heading, "tone": tone, "open": is_open, "outcomes": outcomes})
    return {"law": page.law, "variant": variant, "count": len(page.outcomes), "groups": groups}


def _outcome(one: Outcome) -> dict[str, str]:
    value = f"{one.measure}: {float(one.value):.3g}" if one.value == one.value else ""
    return {
        "title": one.title,
        "message": one.message,
        "advice": Complaint(one.advice).text(),
        "number": value.removeprefix(": "),
    }


def omitted(
    first: Described, family: Collapse, trials: Sequence[Trial], has_curves: bool, drawn: Sequence[str]
) -> list[tuple[str, str]]:
    """Figures that are not in the page, and why.

    Args:
        first: the first law and its minima.
        family: the comparison of its curves.
        trials: forecasts and what became of them.
        has_curves: whether there are training curves.
        drawn: names of the figures that are.
    """
    without_law = "" if first.fit.usable else first.fit.status.message
    scored = len(frozen(trials))
    reasons = {
        "isoflop": ("IsoFLOP curves", first.isoflop.message),
        "residuals": ("residuals", without_law),
        "curves": ("training curves", "" if has_curves else "no curves.parquet beside the table"),
        "collapse": ("collapse of curves", family.status.message if has_curves else "no training curves"),
        "calibration": (
            "calibration of forecasts",
            f"{scored} frozen forecast{'' if scored == 1 else 's'} with an outcome, of at least {FEWEST}",
        ),
    }
    return [
        (title, reason or "nothing to draw")
        for name, (title, reason) in reasons.items()
        if not any(one.startswith(name) for one in drawn)
    ]
