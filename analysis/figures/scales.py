"""Axes with few, round, legible ticks, most of them logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes

from analysis.fits.summary import count

WIDE = 4.0  # largest over smallest value, beyond which ticks are 1-2-5 or decades
LEADS = ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))  # of ticks, the densest first
COUNTS = ("N", "D", "C", "M")  # inputs whose axis is logarithmic however little they vary


def power(value: float, digits: int = 2) -> str:
    """2 x 10^11 in mathtext."""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    lead = value / 10.0**exponent
    return rf"$10^{{{exponent}}}$" if abs(lead - 1) < 1e-6 else rf"${lead:.{digits}g}\times10^{{{exponent}}}$"


def numbers(axis: Any, ends: Sequence[float] | np.ndarray, label: Any) -> None:
    """Round ticks (1-2-5, or decades, as there is room for) on a logarithmic axis, with ``label``; even ones
    where two of them do not fit between the ``ends``."""
    low, high = sorted(axis.get_view_interval())
    low, high = (low, high) if low > 0 else (ends[0], ends[-1])
    decades = np.arange(np.floor(np.log10(low)) - 1, np.ceil(np.log10(high)) + 2)
    room = _room(axis, label)
    step = max(1, int(np.ceil(sum(low <= 10.0**d <= high for d in decades) / room)))
    choices = [[lead * 10.0**d for d in decades for lead in leads] for leads in LEADS]
    choices.append([10.0**d for d in decades if d % step == 0])
    shown = [sum(low <= tick <= high for tick in ticks) for ticks in choices]
    enough = [i for i, n in enumerate(shown) if n >= 2]
    if not enough:
        plain(axis, low, high, label)
        return
    ticks = {i: [tick for tick in choices[i] if low <= tick <= high] for i in enough}
    fits = (
        i
        for i in enough
        if shown[i] <= room and not _touching(axis, np.log(ticks[i]), np.log(high / low), label)
    )
    chosen = next(fits, enough[-1])
    axis.set_major_locator(ticker.FixedLocator(choices[chosen]))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: label(v)))
    axis.set_minor_formatter(ticker.NullFormatter())
    axis.set_minor_locator(ticker.LogLocator(subs=range(2, 10), numticks=50))


def _room(axis: Any, label: Any) -> int:
    """How many ticks an axis has room for."""
    each = (5.2 if label is power else 3.6) if axis.axis_name == "x" else 3.4  # in heights of the type
    return max(2, int(_length(axis) / each))


def _length(axis: Any) -> float:
    """Of an axis, in heights of the type of its ticks."""
    box = axis.axes.get_window_extent()
    length = box.width if axis.axis_name == "x" else box.height
    return length / axis.axes.get_figure(root=True).dpi * 72 / axis.get_major_ticks(1)[0].label1.get_size()


def _touching(axis: Any, logs: np.ndarray, wide: float, label: Any) -> bool:
    """Whether labels side by side have no air between, of ticks by their ``logs`` (m,), rising, on an axis
    as ``wide`` in logs."""
    least = 4.2 if label is power else 3.3  # in heights of the type
    return axis.axis_name == "x" and float(np.diff(logs).min()) / wide * _length(axis) < least


def log_x(axes: Axes, values: Any, label: Any, pad: float = 0.06) -> None:
    """Make a logarithmic x axis.

    Args:
        axes: the axes to change.
        values: the values to span.
        label: function from a tick to its text.
        pad: air at both ends, as a share of the span in logs.
    """
    span(axes, "x", values, log=True, pad=pad)
    numbers(axes.xaxis, (np.min(values), np.max(values)), label)


def log_y(axes: Axes, values: Any, below: float, above: float, label: Any = count) -> None:
    """Make a logarithmic y axis of sizes.

    Args:
        axes: the axes to change.
        values: the values to span; nan is passed over.
        below: factor by which the axis reaches below the least value.
        above: factor by which it reaches above the largest value.
        label: function from a tick to its text.
    """
    axes.set_yscale("log")
    axes.set_ylim(np.nanmin(values) / below, np.nanmax(values) * above)
    numbers(axes.yaxis, axes.get_ylim(), label)


def log_loss(axes: Axes, values: Any, pad: float = 0.06) -> None:
    """A logarithmic loss axis with plain decimal ticks (loss spans far less than a decade)."""
    span(axes, "y", values, log=True, pad=pad)
    plain(axes.yaxis, *axes.get_ylim())


def plain(axis: Any, low: float, high: float, label: Any = None) -> None:
    """Evenly spaced ticks on a logarithmic axis: decimals, or as ``label`` writes those from 10,000 on."""
    ticks = np.asarray(
        ticker.MaxNLocator(7 if label is None or high < 1e4 else 4, steps=[1, 2, 2.5, 5, 10]).tick_values(
            low, high
        )
    )
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    decimals = next((d for d in range(5) if np.allclose(ticks, np.round(ticks, d), atol=1e-9)), 5)
    axis.set_major_locator(ticker.FixedLocator(ticks.tolist()))
    written = f"{{:.{decimals}f}}".format if label is None or high < 1e4 else label
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: written(v)))
    axis.set_minor_locator(ticker.NullLocator())


def span(
    axes: Axes, which: Literal["x", "y"], values: Any, *, log: bool, name: str = "", pad: float = 0.06
) -> None:
    """Make an axis of any quantity that spans values with some air.

    Args:
        axes: the axes to change.
        which: x or y.
        values: the values to span.
        log: whether it is logarithmic.
        name: the column of the values, which decides how ticks are written.
        pad: air at both ends, as a share of the span.
    """
    low, high, axis = float(np.min(values)), float(np.max(values)), getattr(axes, f"{which}axis")
    if log:
        air = (high / low) ** pad if high > low else 1.2
        ends = low / air, high * air
    else:
        air = pad * (high - low) or 0.1 * abs(high) or 1.0
        ends = low - air, high + air
    axes.set(**{f"{which}lim": ends})  # before the scale, which warns of limits that are one number
    if log:
        axes.set(**{f"{which}scale": "log"})
        label = label_of(name, values)
        numbers(axis, (low, high), label) if high / low > WIDE else plain(axis, *ends, label)
        return
    axis.set_major_locator(ticker.MaxNLocator(6))
    if high >= 1e4:
        label = label_of(name, values)
        axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: label(v) if v > 0 else f"{v:g}"))


def logs(values: Any, name: str = "") -> bool:
    """Whether a logarithmic axis shows ``values``, of column ``name``, better."""
    low, high = np.min(values), np.max(values)
    return bool(low > 0 and (high > WIDE * low or (name in COUNTS and high > low)))


def label_of(name: str, values: Any) -> Any:
    """How the numbers of a column are written."""
    small = np.min(values) > 0 and np.min(values) < 1e-3
    return power if name == "C" or small or np.max(values) >= 1e15 else count
