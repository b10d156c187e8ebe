"""A study in plain text: what was found, how far to trust it, and how the forecast fared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.errors import plural
from analysis.fits.result import Fit
from analysis.fits.summary import ORIGINS, count, number, uncertain
from analysis.forecasting.backtest import BackTest
from analysis.forecasting.forecasts import Score, Trial
from analysis.optimal_size.isoflop import SIZES, IsoFlop, Line


def study_summary(
    fit: Fit, isoflop: IsoFlop | None = None, backtest: BackTest | None = None, trials: Sequence[Trial] = ()
) -> str:
    """Write the text that ends a study.

    Args:
        fit: the law, or what is not identified of it.
        isoflop: minima and their exponents.
        backtest: back-test of the law.
        trials: of each held-out run the forecast, with its sensitivity to the offset, and its score.
    """
    blocks = ["LAW (descriptive: it summarises these runs; outside them it is a guess)", fit.summary()]
    if isoflop is not None:
        blocks += ["", "ISOFLOP", *_isoflop(isoflop)]
    if backtest is not None:
        blocks += ["", "BACK-TEST", *_backtest(backtest)]
    for alike in _alike(trials):
        blocks += ["", forecast_summary(alike, backtest)]
    return "\n".join(blocks)


def forecast_summary(trials: Sequence[Trial], backtest: BackTest | None = None) -> str:
    """One forecast of all ``trials`` (seeds of one cell), the back-test beside it, and what became of each
    target once that is known. What was not frozen before the target was begun is compared, not scored."""
    blocks = ["FORECAST", *_forecast(trials, backtest)]
    outcomes = dict[str, list[str]]()
    for trial in trials:
        name = f"{_name(trial)}: " if len(trials) > 1 else ""
        if trial.failure is not None:
            lines = [f"  {name}no loss to hold the forecast against: {trial.failure}"]
        elif trial.score is not None:
            score = trial.score
            compared = f"measured {score.loss:.4f}, the law gives {score.prediction:.4f}: {score.error:+.2%}"
            lines = _score(name, score) if trial.origin == "frozen" else [f"  {name}{compared}"]
        else:
            continue
        tested = trial.failure is not None or trial.origin == "frozen"
        head = "OUTCOME" if tested else f"COMPARISON (no test of the law: {ORIGINS[trial.origin]})"
        outcomes.setdefault(head, []).extend(lines)
    for head, lines in outcomes.items():
        blocks += ["", head, *lines]
    return "\n".join(blocks)


def _alike(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials whose forecasts say the same of one cell, together."""
    groups = dict[Any, list[Trial]]()
    for trial in trials:
        said, target = trial.forecast, trial.forecast.target
        key = (
            trial.origin, *(target[x] for x in "NDC"), said.prediction,
            *(said.interval[x] for x in ("level", "low", "high")),
        )  # fmt: skip
        groups.setdefault(key, []).append(trial)
    return list(groups.values())


def _name(trial: Trial) -> str:
    return trial.forecast.target["label"] or trial.forecast.target["run_id"] or "the target"


def _isoflop(iso: IsoFlop) -> list[str]:
    lines, few = [], [m for m in iso.minima if len(m.sizes) < SIZES]
    if few:
        have = f"{plural(len(few), 'budget')} of {len(iso.minima)}"
        what = "has" if len(few) == 1 else "have"
        lines.append(f"  {have} {what} fewer than the {SIZES} sizes that a parabola needs")
    if len(few) == len(iso.minima):
        return lines or [f"  {iso.message}"]
    for m in iso.minima:
        if len(m.sizes) < SIZES:
            continue
        if m.N is not None and m.D is not None and m.loss is not None:
            error = f" (+-{100 * m.se_log_N:.2g}%)" if m.se_log_N is not None else ""
            what = f"N* {count(m.N)}{error}, D* {count(m.D)}, loss {m.loss:.4g}"
        else:
            what = f"no minimum: {m.reason}"
        lines.append(f"  C = {m.budget:.3g}: {plural(m.n, 'run')}, {what}")
    if iso.size and iso.tokens and iso.loss:
        lines.append(
            f"  N* ~ C^{_slope(iso.size)}, D* ~ C^{_slope(iso.tokens)}, best loss ~ C^{_slope(iso.loss)}"
        )
    lines.append(f"  {iso.message}; {iso.bias}")
    return lines


def _slope(line: Line) -> str:
    if line.se is None:
        return f"{line.slope:.3f}"
    return "{} (se {})".format(*uncertain(line.slope, line.se))


def _backtest(test: BackTest) -> list[str]:
    if test.budget is None or test.bias is None or test.rms is None or test.inside is None:
        return [f"  not possible: {test.message}"]
    unknown = sum(row["low"] != row["low"] or row["high"] != row["high"] for row in test.runs)
    lines = [
        f"  fitted {plural(test.n_train, 'run')} below C = {test.budget:.3g}, "
        f"predicted its {plural(len(test.runs), 'run')} ({test.extrapolation:.2g}x further):",
        f"  mean error of the law {test.bias:+.2%}, rms {test.rms:.2%}; of the forecast "
        f"{test.forecast_bias:+.2%}, {round(test.inside * len(test.runs))} of {len(test.runs)} inside their "
        f"{test.level:.0%} intervals" + (f"; {unknown} of these intervals open" if unknown else ""),
    ]
    if abs(test.bias) > 0.5 * test.rms and test.rms > 0.005:
        lines.append(
            f"  the law {'over' if test.bias > 0 else 'under'}-predicts beyond its data; the forecast weighs "
            "large runs more and takes the mean error of laws off"
        )
    if test.baseline is not None:
        lines.append(f"  naive baseline (isoFLOP minima extrapolated): {test.baseline:+.2%} at the minimum")
    return lines


def _forecast(trials: Sequence[Trial], test: BackTest | None) -> list[str]:
    origin, forecast = trials[0].origin, trials[0].forecast
    target, interval = forecast.target, forecast.interval
    hashes = ", ".join(trial.forecast.hash for trial in trials)
    named = f"frozen as {hashes}" if origin == "frozen" else ORIGINS[origin]
    own = forecast.law_loss
    law = "" if own is None else f"; the law itself gives {own:.4f}"
    lines = [
        f"  {', '.join(map(_name, trials))}: N = {count(target['N'])}, D = {count(target['D'])}, "
        f"C = {target['C']:.3g} "
        f"({forecast.extrapolation:.2g}x beyond the fitted runs)",
        f"  loss {forecast.prediction:.4f}, {interval['level']:.0%} interval for a new run "
        f"[{interval['low']:.4f}, {interval['high']:.4f}] ({named}){law}",
        f"  standard error {forecast.se_log:.2%}: "
        + ", ".join(f"{k} {v:.2%}" for k, v in forecast.parts.items()),
    ]
    if test is not None and test.usable and test.bias is not None:
        lines.append(
            f"  back-test of the same law, {test.extrapolation:.2g}x: mean error of the law {test.bias:+.2%}"
        )
    if forecast.baseline is not None:
        gap = forecast.baseline / forecast.prediction - 1
        lines.append(f"  naive baseline {forecast.baseline:.4f} ({gap:+.2%} from the law)")
    return lines + _sensitivity(forecast.sensitivity, forecast.prediction)


def _sensitivity(rows: Sequence[dict[str, float]], prediction: float) -> list[str]:
    if len(rows) < 2:
        return []
    name = next(key for key in rows[0] if key not in ("prediction", "objective"))
    values = [row["prediction"] for row in rows]
    moved = (max(values) - min(values)) / prediction
    pairs = ", ".join(f"{number(row[name])}: {row['prediction']:.4f}" for row in rows)
    return [f"  sensitivity to {name} ({pairs}): the forecast moves by {moved:.1%}"]


def _score(name: str, score: Score) -> list[str]:
    where = "inside" if score.inside else "OUTSIDE"
    lines = [
        f"  {name}measured {score.loss:.4f}, forecast {score.prediction:.4f}: error {score.error:+.2%}, "
        f"{score.standard_errors:+.2f} standard errors, {where} the {score.level:.0%} interval"
    ]
    if not score.inside:
        lines.append("  the interval failed here: do not trust the law this far")
    if score.baseline_error is not None:
        better = "the law" if abs(score.error) < abs(score.baseline_error) else "the naive baseline"
        lines.append(f"  naive baseline: error {score.baseline_error:+.2%}; {better} was closer")
    return lines
