"""A study in plain text: what was found, how far to trust it, and how the forecast fared."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.backtest import BackTest
from analysis.forecasts import Forecast, Score
from analysis.isoflop import IsoFlop, Line
from analysis.result import Fit
from analysis.text import count, number


def study_summary(
    fit: Fit,
    isoflop: IsoFlop | None = None,
    backtest: BackTest | None = None,
    forecast: Forecast | None = None,
    score: Score | None = None,
) -> str:
    """The text that ends a study: law or what is not identified, isoFLOP exponents, back-test beside the
    forecast, sensitivity to the offset, score."""
    blocks = ["LAW (descriptive: it summarises these runs; outside them it is a guess)", fit.summary()]
    if isoflop is not None:
        blocks += ["", "ISOFLOP", *_isoflop(isoflop)]
    if backtest is not None:
        blocks += ["", "BACK-TEST", *_backtest(backtest)]
    if forecast is not None:
        blocks += ["", forecast_summary(forecast, score, backtest)]
    return "\n".join(blocks)


def forecast_summary(forecast: Forecast, score: Score | None = None, backtest: BackTest | None = None) -> str:
    """One forecast, the back-test beside it, and its score once it is known."""
    blocks = ["FORECAST", *_forecast(forecast, backtest)]
    if score is not None:
        blocks += ["", "OUTCOME", *_score(score)]
    return "\n".join(blocks)


def _isoflop(iso: IsoFlop) -> list[str]:
    lines = []
    for m in iso.minima:
        if m.N is not None and m.D is not None and m.loss is not None:
            error = f" (+-{m.se_log_N:.0%})" if m.se_log_N is not None else ""
            found = f"N* {count(m.N)}{error}, D* {count(m.D)}, loss {m.loss:.4g}"
        else:
            found = f"no minimum: {m.reason}"
        lines.append(f"  C = {m.budget:.3g}: {m.n} runs, {found}")
    if iso.size and iso.tokens and iso.loss:
        lines.append(
            f"  N* ~ C^{_slope(iso.size)}, D* ~ C^{_slope(iso.tokens)}, best loss ~ C^{_slope(iso.loss)}"
        )
    lines.append(f"  {iso.message}; {iso.bias}")
    return lines


def _slope(line: Line) -> str:
    return f"{line.slope:.3f}" + (f" (se {line.se:.3f})" if line.se is not None else "")


def _backtest(test: BackTest) -> list[str]:
    head = f"  fitted {test.n_train} runs below C = {test.budget:.3g}"
    if not test.usable or test.bias is None or test.rms is None or test.inside is None:
        return [f"  not possible: {test.message}"]
    lines = [
        f"{head}, predicted its {len(test.runs)} runs ({test.extrapolation:.2g}x further):",
        f"  mean error {test.bias:+.2%}, rms {test.rms:.2%}, "
        f"{test.inside:.0%} inside their {test.level:.0%} intervals (before back-test widening)",
    ]
    if abs(test.bias) > 0.5 * test.rms and test.rms > 0.005:
        lines.append(
            f"  the law {'over' if test.bias > 0 else 'under'}-predicts beyond its data; "
            "expect the same of the forecast"
        )
    if test.baseline is not None:
        lines.append(f"  naive baseline (isoFLOP minima extrapolated): {test.baseline:+.2%} at the minimum")
    return lines


def _forecast(forecast: Forecast, test: BackTest | None) -> list[str]:
    target, interval = forecast.target, forecast.interval
    name = target["label"] or target["run_id"] or "the target"
    lines = [
        f"  {name}: N = {count(target['N'])}, D = {count(target['D'])}, C = {target['C']:.3g} "
        f"({forecast.extrapolation:.2g}x beyond the fitted runs)",
        f"  loss {forecast.prediction:.4f}, {interval['level']:.0%} interval for a new run "
        f"[{interval['low']:.4f}, {interval['high']:.4f}] (frozen as {forecast.hash})",
        "  standard error "
        + f"{forecast.se_log:.2%}: "
        + ", ".join(f"{k} {v:.2%}" for k, v in forecast.parts.items()),
    ]
    if test is not None and test.usable and test.bias is not None:
        lines.append(f"  back-test of the same law, {test.extrapolation:.2g}x: mean error {test.bias:+.2%}")
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


def _score(score: Score) -> list[str]:
    where = "inside" if score.inside else "OUTSIDE"
    lines = [
        f"  measured {score.loss:.4f}, forecast {score.prediction:.4f}: error {score.error:+.2%}, "
        f"{score.standard_errors:+.2f} standard errors, {where} the {score.level:.0%} interval",
    ]
    if not score.inside:
        lines.append("  the interval failed here: do not trust the law this far")
    if score.baseline_error is not None:
        better = "the law" if abs(score.error) < abs(score.baseline_error) else "the naive baseline"
        lines.append(f"  naive baseline: error {score.baseline_error:+.2%}; {better} was closer")
    return lines
