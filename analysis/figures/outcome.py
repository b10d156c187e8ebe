"""The forecast against its outcome, with the back-test that preceded it."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.figures.page import Given, page
from analysis.fits.summary import ORIGINS, count, number
from analysis.forecasting.backtest import BackTest
from analysis.forecasting.forecasts import Trial


def forecast_and_outcome(
    trial: Trial, backtest: BackTest | None = None, *, unit: str | None = None, axes: Given | None = None
) -> np.ndarray:
    """Left (with a usable back-test): signed error of the law fitted below the largest budget, per run of
    that budget. Right: the forecast with its interval and its sensitivity to the offset, the naive baseline,
    the outcome; the title says so where it was not frozen before.

    Args:
        trial: the forecast, and what became of it.
        backtest: of the same law, before; left out: the forecast alone.
        unit: of the loss.
        axes: two to draw on, without a usable back-test one; left out: a new figure.
    """
    tested = backtest is not None and backtest.usable
    layout, width = ([["backtest", "forecast"]], None) if tested else ([["forecast"]], 4.6)
    widths = (1.15, 1) if tested else None
    with page(axes, layout, 3.5, width=width, widths=widths) as sheet:
        if backtest is not None and tested:
            _backtest(sheet["backtest"], backtest)
        _forecast(sheet["forecast"], trial, unit)
        return sheet.axes


def _backtest(axes: Axes, test: BackTest) -> None:
    n = np.array([r["N"] for r in test.runs])
    law, error = (
        100 * np.array([r[x] / r["loss"] - 1 for r in test.runs]) for x in ("predicted", "forecast")
    )
    low = 100 * np.array([r["low"] / r["loss"] - 1 for r in test.runs])
    high = 100 * np.array([r["high"] / r["loss"] - 1 for r in test.runs])
    axes.axhline(0, color=style.ACCENT, lw=style.line(0.86), zorder=1)
    axes.errorbar(
        n, error, [error - low, high - error], fmt="o", ms=style.mark(0.94), color=style.INK,
        elinewidth=style.line(0.71), capsize=style.mark(0.52), zorder=3,
        label=f"forecast, {test.level:.0%} interval",
    )  # fmt: skip
    axes.plot(n, law, "_", ms=style.mark(3), mew=style.line(1), color=style.MUTED, zorder=2, label="the law")
    style.log_x(axes, n, count, pad=0.1)
    reach = 1.35 * np.nanmax(np.abs([law, error, low, high]))
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_locator(MaxNLocator(7))
    axes.set(xlabel=style.NAMES[test.convention][0], ylabel="Predicted / measured − 1 (%)")
    title = f"Back-test, {test.extrapolation:.2g}× beyond its fitted runs"
    axes.set_title(title if test.budget is None else f"{title}\nC = {style.power(test.budget)}")
    means = (100 * (mean or 0) for mean in (test.forecast_bias, test.bias))
    axes.text(0.98, 0.03, "mean error {:+.1f} %, of the law {:+.1f} %".format(*means),
              transform=axes.transAxes, ha="right", fontsize=style.small(1))  # fmt: skip
    axes.legend(loc="upper left", borderaxespad=0.2)


def _forecast(axes: Axes, trial: Trial, unit: str | None) -> None:
    forecast, score = trial.forecast, trial.score
    interval, rows = forecast.interval, forecast.sensitivity
    names, values = [f"forecast,\n{interval['level']:.0%} interval"], [forecast.prediction]
    reach = [[forecast.prediction - interval["low"]], [interval["high"] - forecast.prediction]]
    axes.errorbar(
        0,
        forecast.prediction,
        reach,
        fmt="o",
        ms=style.mark(1.25),
        color=style.INK,
        elinewidth=style.line(1.14),
        capsize=style.mark(0.83),
        zorder=3,
    )
    if forecast.law_loss is not None:
        axes.plot(0, forecast.law_loss, "_", ms=style.mark(4), mew=style.line(1), color=style.MUTED, zorder=2)
        names[0] += "\n(dash: the law)"
        values.append(forecast.law_loss)
    if rows:
        offset = next(key for key in rows[0] if key not in ("prediction", "objective"))
        spread = [row["prediction"] for row in rows]
        at = len(names)
        axes.plot(
            [at] * len(rows),
            spread,
            "_",
            ms=style.mark(2.5),
            mew=style.line(0.93),
            color=style.MUTED,
            zorder=3,
        )
        axes.vlines(at, min(spread), max(spread), color=style.MUTED, lw=style.line(0.71), zorder=2)
        names.append(
            f"law, {offset} held\n{number(round(rows[0][offset], 2))} … {number(round(rows[-1][offset], 2))}"
        )
        values += spread
    if forecast.baseline is not None:
        axes.plot(
            len(names), forecast.baseline, "D", ms=style.mark(1.15), mfc="white", mec=style.INK, zorder=3
        )
        names.append("isoFLOP\nminima")
        values.append(forecast.baseline)
    if score is not None:
        place = (
            f", {'inside' if score.inside else 'outside'} its interval" if trial.origin == "frozen" else ""
        )
        text = f"measured {score.loss:.3f}\n(forecast {100 * score.error:+.1f} %{place})"
        axes.axhline(score.loss, color=style.ACCENT, lw=style.line(0.86), zorder=1, label=text)
        axes.legend(loc="upper right", borderaxespad=0.2)
        values.append(score.loss)
    elif trial.failure is not None:
        axes.text(0.98, 0.97, "no outcome: the run diverged", transform=axes.transAxes, ha="right", va="top")
    everything = [*values, interval["low"], interval["high"]]
    low, high = min(everything), max(everything)
    room = 0.12 if score is None and trial.failure is None else 0.4  # for the words above
    axes.set_ylim(low - 0.12 * (high - low), high + room * (high - low))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(style.loss(unit))
    n, c = count(forecast.target["N"]), style.power(float(f"{forecast.target['C']:.2g}"))
    head = f"Forecast, {forecast.extrapolation:.2g}× beyond its fitted runs"
    if trial.origin != "frozen":
        head = ORIGINS[trial.origin][0].upper() + ORIGINS[trial.origin][1:]
    axes.set_title(f"{head}\nN = {n}, C = {c}")
