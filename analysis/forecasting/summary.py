"""The calibration of forecasts in plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from analysis.errors import plural
from analysis.results import Interval

if TYPE_CHECKING:
    from analysis.fits.discrepancy import Discrepancy
    from analysis.forecasting.calibration import Calibration, Coverage, Reach
    from analysis.forecasting.ratio import Ratio


def calibration_text(found: Calibration) -> str:
    """Coverage, spread, mean error, the naive forecast and the table by extrapolation, in lines."""
    n, groups = len(found.outcomes), found.groups
    shared = (
        f"  {plural(n, 'forecast')} in {plural(groups, 'independent group')}: what shares fitted "
        "runs, a target or a source is one, and counts once in intervals"
    )
    lines = [shared, f"  status: {found.status.code} - {found.status.message}"]
    lines += [f"  advice: {found.status.advice}"] if found.status.advice else []
    if found.coverage:
        lines += ["", f"  nominal   inside   mean over groups, {found.level:.0%} interval"]
        lines += [_coverage(one) for one in found.coverage]
    if found.spread is not None and found.spread_interval is not None:
        lines += [
            "",
            f"  rms of z {found.spread:.2f}{_ends(found.spread_interval)} (1: errors as large as said)",
        ]
    bias = f"  mean error {found.bias:+.2%}"
    if found.bias_interval is not None:
        bias += f" [{found.bias_interval.low:+.2%}, {found.bias_interval.high:+.2%}]"
    lines.append(f"{bias}, rms {found.rms:.2%} (positive: over-predicted)")
    if found.baseline_rms is not None and found.rms_beside is not None:
        lines.append(
            f"  the law's rms error is {found.rms_beside / found.baseline_rms:.2g} times that of the naive "
            f"forecast ({found.baseline_rms:.2%})"
            if found.baseline_rms
            else "  the naive forecast made no error"
        )
    if found.reaches:
        lines += ["", f"  extrapolation     forecasts  groups  {found.level:.0%} inside  mean error     rms"]
        lines += [_reach(one) for one in found.reaches]
    if found.without_reach and found.reaches:
        lines.append(
            f"  {plural(found.without_reach, 'forecast')} without an extrapolation: compute is not known"
        )
    return "\n".join(lines)


def shipped_text(constants: Discrepancy, level: float) -> str:
    """The shipped constants in a line: how wide the discrepancy is, and by what factor families differ."""
    reach = float(np.exp(stats.norm.ppf(0.5 + level / 2) * constants.spread))
    return (
        f"shipped: kappa {constants.kappa:.2g}, of {len(constants.origin['sets'])} sets of published runs "
        f"({constants.origin['date']}); families of them lie within {1 / reach:.2g} to {reach:.2g} times it "
        f"({level:.0%})"
    )


def ratio_text(ratio: Ratio) -> str:
    """The ratio in a line, with what it rests on."""
    text = (
        f"your errors beyond noise: {ratio.value:.2g} times the shipped discrepancy"
        f"{_ends(ratio.interval)}, from {plural(ratio.forecasts, 'forecast')} in "
        f"{plural(ratio.groups, 'group')}"
    )
    if ratio.smaller:
        return f"{text}; they are smaller than run noise and the law's interval alone let expect"
    if ratio.interval.low > 1:
        return f"{text}: forecasts here deserve wider intervals than they get"
    if ratio.interval.high < 1:
        return f"{text}: forecasts here are better than the shipped discrepancy says"
    return f"{text}: no contradiction"


def _ends(interval: Interval) -> str:
    return f" [{interval.low:.2f}, {interval.high:.2f}]"


def _coverage(one: Coverage) -> str:
    counted = f"{one.inside} of {one.n}"
    return f"  {one.level:7.0%}  {counted:>7}   {one.share:.2f}{_ends(one.interval)}"


def _reach(one: Reach) -> str:
    span = f"beyond {one.above:g}x" if one.to is None else f"{one.above:g}x to {one.to:g}x"
    if not one.above:
        span = f"up to {one.to:g}x"
    inside = f"{one.inside} of {one.with_interval}" if one.with_interval else "-"
    return f"  {span:16}  {one.n:9}  {one.groups:6}  {inside:>10}  {one.bias:+10.2%}  {one.rms:6.2%}"
