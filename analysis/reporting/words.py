"""What a study found, in a few sentences: what was trained, what holds, what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.errors import plural
from analysis.findings import Described, Findings
from analysis.fits.result import Fit
from analysis.fits.summary import ORIGINS, count, interval_text, number
from analysis.forecasting.backtest import BackTest
from analysis.forecasting.forecasts import Trial
from analysis.referee.outcome import Page

# how a fit's status is called in a word, and the tone of it
STATUS = {
    "ok": ("identified", "good"),
    "partly_identified": ("partly identified", "fair"),
    "none_identified": ("none identified", "poor"),
    "at_bound": ("at a bound", "fair"),
    "several_optima": ("several optima", "poor"),
    "not_converged": ("not converged", "poor"),
    "not_identified": ("not identified", "poor"),
}
SHOWN = 3  # of a list, in a sentence


@dataclass(frozen=True)
class Sign:
    """One number that a reader takes in at a glance; ``tone``: good, fair, poor or plain; ``section``: where
    more is said."""

    heading: str
    value: str
    note: str
    tone: str
    section: str


@dataclass(frozen=True)
class Missing:
    """A planned run without a result: its ``state`` (failed, pending, half-done) and ``why``."""

    label: str
    role: str
    state: str
    why: str


@dataclass(frozen=True)
class Waiting:
    """A run held out and not trained: its sizes as far as its plan has them."""

    label: str
    params: float
    tokens: float


def signs(
    findings: Findings, check: Page | None, missing: int = 0, waiting: Sequence[Waiting] = ()
) -> tuple[Sign, ...]:
    """What stands at the top of the page; ``missing`` runs have no result, held-out ones are ``waiting``."""
    fit, rows = findings.fit, len(findings.table.frame)
    fitted = sum(len(one.fit.data.get("row", ())) for one in findings.analysis.described.values())
    word, tone = STATUS[fit.status.code]
    lacking, tone_of_runs = (f"; {missing:,} more have no result", "poor") if missing else ("", "plain")
    found = [Sign("Runs", f"{rows:,}", f"{fitted:,} fitted{lacking}", tone_of_runs, "runs")]
    found.append(Sign("Law", word, fit.law.name, tone, "law"))
    found.append(_forecasts(findings.trials, len(waiting)))
    if check is not None:
        failed = len(check.failed)
        tone = "good" if not failed else "fair" if failed <= 0.2 * len(check.outcomes) else "poor"
        note = f"failed; {len(check.unknown)} could not be looked at"
        found.append(Sign("Referee", f"{failed} of {len(check.outcomes)}", note, tone, "check"))
    return tuple(found)


def _forecasts(trials: Sequence[Trial], untrained: int) -> Sign:
    scored = [t.score for t in trials if t.score is not None and t.origin == "frozen"]
    if not scored:
        waiting = sum(trial.score is None for trial in trials)
        note = f"{waiting} without an outcome" if waiting else "none was frozen beforehand"
        if untrained and not waiting:
            note = f"{plural(untrained, 'run')} held out, not trained"
        return Sign("Forecasts", "0 scored", note, "plain", "forecasts")
    inside = sum(score.inside for score in scored)
    worst = max((score.error for score in scored), key=abs)
    tone = "good" if inside == len(scored) else "poor" if inside < 0.7 * len(scored) else "fair"
    note = f"inside their interval; largest error {worst:+.2%}"
    return Sign("Forecasts", f"{inside} of {len(scored)}", note, tone, "forecasts")


def summary(
    findings: Findings, check: Page | None, missing: Sequence[Missing] = (), planned: int = 0
) -> tuple[tuple[str, str], ...]:
    """The summary: a word on what each paragraph is about, and the paragraph; ``missing`` of the ``planned``
    runs have no result."""
    variants = findings.analysis.variants
    told = [("Runs", _trained(findings))]
    if missing:
        told.append(("Incomplete", _incomplete(missing, planned)))
    for name, one in findings.analysis.described.items():
        told += [(f"{what}, {name}" if variants else what, text) for what, text in _law(one)]
    if variants is not None:
        others = len(variants.contrasts)
        text = f"{plural(others, 'variant')} compared with {variants.reference}: see The law."
        told.append(("Variants", text))
    for trial in findings.trials[:SHOWN]:
        told.append(("Forecast", _outcome(trial)))
    if len(findings.trials) > SHOWN:
        more = len(findings.trials) - SHOWN
        which = "1 more forecast is" if more == 1 else f"{more} more forecasts are"
        told.append(("", f"{which} listed under Forecasts."))
    if check is not None:
        told.append(("Referee", _referee(check)))
    return tuple(told)


def _trained(findings: Findings) -> str:
    frame: Any = findings.table.frame
    fits = [one.fit for one in findings.analysis.described.values()]
    fitted = sum(len(fit.data.get("row", ())) for fit in fits)
    others = frame["role"].value_counts().to_dict() if "role" in frame.columns else {}
    read = f"has {len(frame):,} runs"
    if findings.table.about.where:
        rows = len(frame) + len(findings.table.about.left_out)
        read = f"has {rows:,} rows, of which {len(frame):,} are read"
    said = [f"The table {read}; {fitted:,} are fitted"]
    beside = {
        "trunk": "that others branch from",
        "noise": "repeating seeds",
        "holdout": "held out",
        "tuning": "for tuning",
    }
    said += [f"{others[role]} {what}" for role, what in beside.items() if others.get(role)]
    ended = frame["status"].value_counts().to_dict() if "status" in frame.columns else {}
    said += [f"{ended['diverged']} diverged"] if ended.get("diverged") else []
    spans = []
    for x, unit in (("N", "parameters"), ("D", "tokens"), ("C", "FLOPs")):
        values = np.array([v for fit in fits for v in fit.data.get(x, ())])
        if len(values):
            how: Any = "{:.3g}".format if x == "C" else count
            ends = f"{how(values.min())} to {how(values.max())} {unit}"
            spans.append(f"{x} from {ends} (a factor {_factor(values.max() / values.min())})")
    return ", ".join(said) + "." + (f" Fitted runs span {', '.join(spans)}." if spans else "")


def _factor(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100 else f"{value:.3g}"


def _incomplete(missing: Sequence[Missing], planned: int) -> str:
    failed = [one for one in missing if one.state == "failed"]
    named = "; ".join(f"{one.label}: {one.why.splitlines()[0]}" for one in failed[:SHOWN])
    more = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    return (
        f"{len(missing):,} of {planned:,} planned runs have no result, {len(failed):,} of them failed "
        f"({named}{more}). What follows is what the others say: where the design has a gap, so have the "
        "figures."
    )


def _law(one: Described) -> list[tuple[str, str]]:
    fit = one.fit
    word = STATUS[fit.status.code][0]
    said = [f"{fit.law.name}, {word}: {fit.status.message}."]
    if fit.usable and fit.optimum:
        said.append(_exponents(fit))
    if fit.status.code != "ok" and fit.status.advice:
        said.append(f"What to do: {fit.status.advice}.")
    return [("Law", " ".join(said)), ("Back-test", _back_test(one.backtest))]


def _exponents(fit: Fit) -> str:
    estimates, said = fit.estimates(), []
    if all(fit.identified[name].verdict == "no" for name in ("a", "b") if name in estimates):
        return "How the best N and D grow with compute is not identified."
    for name, what in (("a", "the best size N* grows as C^a"), ("b", "the best token count D* as C^b")):
        if name not in estimates:
            continue
        value, interval = estimates[name]
        verdict, ends = fit.identified[name], interval_text(fit.identified[name], interval)
        if verdict.verdict == "yes":
            said.append(f"{what} with {name} = {number(value)}, {fit.level:.0%} interval {ends}")
        elif verdict.verdict == "one_sided":
            said.append(f"{what} with {name} {ends}, which is only bounded")
        else:
            said.append(f"{what} with {name} not identified")
    text = "; ".join(said)
    return f"By it {text}." if text else ""


def _back_test(test: BackTest) -> str:
    if test.bias is None or test.rms is None or test.inside is None or test.budget is None:
        return f"Not possible: {test.message}."
    over, runs = "over" if test.bias > 0 else "under", len(test.runs)
    return (
        f"Fitted to the {test.n_train} runs below {test.budget:.3g} FLOPs it {over}-predicts the "
        f"{plural(runs, 'run')} there ({test.extrapolation:.3g}x further) by {abs(test.bias):.2%} "
        f"on average, rms {test.rms:.2%}; forecasts by it are off by {test.forecast_bias:+.2%}, and "
        f"{round(test.inside * runs)} of {runs} lie inside their {test.level:.0%} intervals."
    )


def _outcome(trial: Trial) -> str:
    forecast, score = trial.forecast, trial.score
    name = forecast.target["label"] or forecast.target["run_id"] or "a run"
    interval = forecast.interval
    head = (
        f"The forecast of {name}, {_reach(forecast.extrapolation)} and "
        f"{ORIGINS[trial.origin]}, is {forecast.prediction:.4f} with {interval['level']:.0%} interval "
        f"{interval['low']:.4f} to {interval['high']:.4f}"
    )
    if score is None:
        return f"{head}; {trial.failure or 'the run has no outcome yet'}."
    where = "inside" if score.inside else "outside"
    return f"{head}; measured {score.loss:.4f}, {where} it, an error of {score.error:+.2%}."


def _reach(extrapolation: float) -> str:
    return (
        "within the fitted compute"
        if extrapolation <= 1
        else f"{extrapolation:.3g}x beyond the fitted compute"
    )


def _referee(check: Page) -> str:
    titles = [check[name].title for name in check.failed]
    failed = f"{len(titles)} of {len(check.outcomes)} tests of a referee failed"
    return f"{failed}{': ' if titles else ''}{', '.join(titles)}. {len(check.unknown)} could not look."
