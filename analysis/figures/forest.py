"""Intervals of a fit, a panel each scale, and profiles: how much worse the objective gets as one
parameter is moved and all others follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.figures.residuals import usable
from analysis.fits.profile import Profile
from analysis.fits.result import Fit
from analysis.fits.summary import DERIVED, count, number
from analysis.multipliers import Multipliers

OPEN = 0.3  # of a bound, shown on its open side


@dataclass(frozen=True)
class Row:
    """An estimate; without one only the finite one of ``low, high`` holds, and the other side is open."""

    name: str
    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        if np.isnan(self.value):
            return f"< {number(self.high)}" if np.isnan(self.low) else f"> {number(self.low)}"
        ends = ["open" if np.isnan(v) else number(v) for v in (self.low, self.high)]
        return f"{number(self.value)}  [{ends[0]}, {ends[1]}]"


def intervals(fit: Fit) -> Figure:
    """Every parameter with its interval, parameters of groups together; a bound is an arrow, what is not
    identified is said below. Raises AnalysisError."""
    usable(fit)
    strips: dict[str, list[Row]] = {}
    for name, value, low, high in fit.ci()[["estimate", "low", "high"]].itertuples():
        if name not in fit.fixed and not np.isnan([value, low, high]).all():
            strips.setdefault(name.partition("[")[0], []).append(Row(_named(name), value, low, high))
    words = [f"{fit.level:.0%} intervals: {fit.intervals.method}"]
    words += [f"fixed: {name} = {number(value)}" for name, value in fit.fixed.items()]
    words += _unknown(fit)
    with style.look():
        title = f"{style.typeset(fit.law.formula)}\n{len(fit.data['L'])} runs, {fit.level:.0%} intervals"
        return forest(list(strips.values()), title, words)


def multipliers(result: Multipliers) -> Figure:
    """How many times as much each group needs, with intervals; the reference is the line at 1. A row for
    each amount asked about, where that matters."""
    drawn, words = [], [f"{result.level:.0%} intervals: {result.method}", *result.notes]
    for row in cast(Any, result.frame).itertuples():
        where = "" if result.constant else f", {result.of} = {style.label_of(result.of, row.at)(row.at)}"
        ends = [np.nan if np.isinf(v) else v for v in (row.multiplier, row.low, row.high)]
        if row.verdict == "no":
            words.append(f"not identified: {row.group}{where}: {row.reason}")
        else:
            drawn.append(Row(style.words(str(row.group)) + where, *ends))
    held = "".join(f", {x} = {count(v)}" for x, v in result.held.items())
    title = f"{result.of} needed for the loss of {style.words(result.reference)}, as a multiple of its own"
    with style.look():
        return forest([drawn] if drawn else [], title + held, words, mark=1.0)


def _named(name: str) -> str:
    base, _, group = name.partition("[")
    shown = style.typeset(base) if base.isidentifier() else style.words(base)
    words = f"   {style.typeset(DERIVED[name])}" if name in DERIVED else ""
    return shown + (f"  {style.words(group[:-1])}" if group else "") + words


def _unknown(fit: Fit) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, verdict in fit.identified.items():
        if verdict["verdict"] == "no" and name not in fit.fixed:
            reasons.setdefault(verdict["reason"], []).append(name)
    return [f"not identified: {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def forest(
    strips: Sequence[Sequence[Row]], title: str, words: Sequence[str], mark: float | None = None
) -> Figure:
    """Draw strips of rows, each strip with an axis of its own. Within :func:`style.look`.

    Args:
        strips: estimates with their intervals.
        title: above the strips.
        words: paragraphs below them.
        mark: with it, rows are ratios, and a line is drawn there.
    """
    text = "\n".join(fill(style.words(w), 118) for w in words)
    lines = text.count("\n") + 1
    figure = style.canvas(0.5 + 0.17 * lines + sum(0.42 + 0.19 * len(rows) for rows in strips))
    if strips:
        ratios = [0.1 + len(rows) for rows in strips]
        grid = figure.subplots(len(strips), 1, squeeze=False, height_ratios=ratios)
        for axes, rows in zip(grid[:, 0], strips, strict=True):
            _strip(axes, rows, mark)
    figure.suptitle(title, x=0.01, ha="left", fontsize=9.5)
    if text:
        figure.supxlabel(text, x=0.01, ha="left", fontsize=8, color=style.MUTED)
    return figure


def _strip(axes: Axes, rows: Sequence[Row], mark: float | None) -> None:
    ends = np.array([[r.value, r.low, r.high] for r in rows])
    finite = ends[np.isfinite(ends)]
    room = [r.high - OPEN * abs(r.high) if np.isnan(r.low) else r.low + OPEN * abs(r.low) for r in rows
            if np.isnan(r.value)]  # fmt: skip
    finite = np.array([*finite, *room, *([] if mark is None else [mark])])
    style.span(axes, "x", finite, log=mark is not None or style.logs(finite), pad=0.08)
    if mark is not None:
        axes.axvline(mark, color=style.MUTED, lw=1.0, ls="--", zorder=1)
    left, right = axes.get_xlim()
    for y, row in enumerate(rows):
        low, high = (edge if np.isnan(v) else v for v, edge in ((row.low, left), (row.high, right)))
        axes.plot([low, high], [y, y], "-", color=style.INK, lw=1.3, solid_capstyle="butt", zorder=2)
        for v, edge, arrow in ((row.low, left, "<"), (row.high, right, ">")):
            axes.plot(edge if np.isnan(v) else v, y, arrow if np.isnan(v) else "|", color=style.INK, ms=6,
                      clip_on=False, zorder=3)  # fmt: skip
        if not np.isnan(row.value):
            axes.plot(row.value, y, "o", color=style.INK, ms=5, mec="white", mew=0.5, zorder=4)
        axes.text(1.02, y, row.text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.spines[["top", "right", "left"]].set_visible(False)


SHOWN = 3.0  # thresholds above the optimum where a panel ends


def profile(profiles: Profile | Sequence[Profile]) -> Figure:
    """Rise of the objective over a parameter, in units of the threshold (dashed): the optimum (dot), and
    where the curve crosses (lines). A side on which it never does is open: an arrow, and words."""
    many = [profiles] if isinstance(profiles, Profile) else list(profiles)
    across = min(len(many), 3)
    down = -(-len(many) // across)
    with style.look():
        figure = style.canvas(0.5 + 2.9 * down, 4.6 if across == 1 else style.WIDTH)
        grid = figure.subplots(down, across, squeeze=False)
        for axes, one in zip(grid.ravel(), many, strict=False):
            _panel(axes, one)
        for axes in grid.ravel()[len(many) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("Rise of the objective\n(1: threshold)")
        how = sorted({f"{p.level:.0%} by {p.calibration}" for p in many})
        figure.suptitle(f"Profile: {'; '.join(how)}", x=0.01, ha="left", fontsize=9.5)
        return style.finish(figure)


def _panel(axes: Axes, one: Profile) -> None:
    x, rise = np.array(one.values), (np.array(one.objective) - one.best) / max(one.threshold, 1e-300)
    least = int(np.argmin(rise))
    near = np.flatnonzero(rise <= SHOWN)
    ends = np.array([_edge(x, rise, near[0], -1), _edge(x, rise, near[-1], 1)])
    axes.plot(x, rise, ".-", color=style.INK, ms=4, zorder=3)
    axes.axhline(1.0, ls="--", color=style.MUTED, lw=1.0, zorder=1)
    axes.plot(x[least], rise[least], "o", color=style.ACCENT, ms=6, mec="white", mew=0.6, zorder=5)
    style.span(axes, "x", ends, log=style.logs(ends), pad=0.03)
    axes.set_ylim(-0.08 * SHOWN, SHOWN)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for end, edge, arrow in ((one.low, ends[0], "<"), (one.high, ends[1], ">")):
        if end is None:
            axes.plot(edge, 1.0, arrow, color=style.ACCENT, ms=8, clip_on=False, zorder=6)
        else:
            axes.vlines(end, -SHOWN, 1.0, color=style.ACCENT, lw=1.0, zorder=2)
    low, high = one.low, one.high
    if low is None:
        text = "open to both sides" if high is None else f"< {number(high)}, open below"
    else:
        text = f"> {number(low)}, open above" if high is None else f"[{number(low)}, {number(high)}]"
    text += "" if one.connected else ", not connected"
    name = style.typeset(one.name) if one.name.isidentifier() else style.words(one.name)
    axes.set_title(f"{name}: {text}")
    axes.set_xlabel(name)


def _edge(x: np.ndarray, rise: np.ndarray, last: int, step: int) -> float:
    """Where the curve leaves the panel beyond point ``last``, or its end."""
    beyond = last + step
    if not 0 <= beyond < len(x) or not np.isfinite(rise[beyond]):
        return float(x[last])
    part = (SHOWN - rise[last]) / (rise[beyond] - rise[last])
    return float(x[last] + part * (x[beyond] - x[last]))
