"""Intervals of a fit, a panel each scale, and profiles: how much worse the objective gets as one
parameter is moved and all others follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.figures.page import BLANK, Given, page
from analysis.figures.residuals import usable
from analysis.fits.profile import Profile
from analysis.fits.result import Fit
from analysis.fits.summary import count, number
from analysis.laws.notation import DERIVED
from analysis.laws.notation import number as tex_number
from analysis.multipliers import Multipliers

OPEN = 0.3  # of a bound, shown on its open side
FEW = 3  # steps between ticks, on a narrow page


@dataclass(frozen=True)
class Row:
    """An estimate; without one only the finite one of ``low, high`` holds, and the other side is open."""

    name: str
    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        value, low, high = (
            "open" if np.isnan(v) else f"${tex_number(v)}$" for v in (self.value, self.low, self.high)
        )
        if np.isnan(self.value):
            return f"$<$ {high}" if np.isnan(self.low) else f"$>$ {low}"
        return f"{value}  [{low}, {high}]"


def intervals(fit: Fit, *, axes: Given | None = None) -> np.ndarray:
    """Every parameter with its interval, parameters of groups together; a bound is an arrow, what is not
    identified is said below. ``axes``: one for each parameter that is identified, at least to one side; left
    out: a new figure. Raises AnalysisError."""
    usable(fit)
    strips: dict[str, list[Row]] = {}
    for name, value, low, high in fit.ci()[["estimate", "low", "high"]].itertuples():
        if name not in fit.fixed and not np.isnan([value, low, high]).all():
            strips.setdefault(name.partition("[")[0], []).append(Row(_named(name), value, low, high))
    words = [f"{fit.level:.0%} intervals: {fit.intervals.method}"]
    words += [f"fixed: {name} = {number(value)}" for name, value in fit.fixed.items()]
    words += _unknown(fit)
    title = f"{style.typeset(fit.law.formula)}\n{len(fit.data['L'])} runs, {fit.level:.0%} intervals"
    return forest(list(strips.values()), title, words, axes=axes)


def multipliers(result: Multipliers, *, ax: Axes | None = None) -> Axes:
    """How many times as much each group needs, with intervals; the reference is the line at 1. A row for
    each amount asked about, where that matters. ``ax``: where to draw; left out: a new figure."""
    drawn, words = [], [f"{result.level:.0%} intervals: {result.method}", *result.notes]
    for row in cast(Any, result.frame).itertuples():
        where = "" if result.constant else f", {result.of} = {style.label_of(result.of, row.at)(row.at)}"
        ends = [np.nan if np.isinf(v) else v for v in (row.multiplier, row.low, row.high)]
        if row.verdict == "no":
            words.append(f"not identified: {row.group}{where}: {row.reason}")
        else:
            drawn.append(Row(style.words(str(row.group)) + where, *ends))
    held = "".join(f", {style.name_of(x)} = {count(v)}" for x, v in result.held.items())
    title = f"{result.of} needed for the loss of {style.words(result.reference)}, as a multiple of its own"
    return forest([drawn], title + held, words, mark=1.0, axes=ax)[0]


def _named(name: str) -> str:
    base, _, group = name.partition("[")
    words = f"  in  ${DERIVED[name]}$" if name in DERIVED else ""
    return style.name_of(base) + (f"  {style.words(group[:-1])}" if group else "") + words


def _unknown(fit: Fit) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, verdict in fit.identified.items():
        if verdict["verdict"] == "no" and name not in fit.fixed:
            reasons.setdefault(verdict["reason"], []).append(name)
    return [f"not identified: {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def forest(
    strips: Sequence[Sequence[Row]],
    title: str,
    words: Sequence[str],
    mark: float | None = None,
    *,
    axes: Given | None = None,
) -> np.ndarray:
    """Draw strips of rows, each strip with an axis of its own.

    Args:
        strips: estimates with their intervals.
        title: above the strips.
        words: paragraphs below them.
        mark: with it, rows are ratios, and a line is drawn there.
        axes: one for each strip; left out: a new figure.
    """
    strips = strips or [[]]
    heights = [0.42 + 0.19 * len(rows) for rows in strips]
    ratios = [0.1 + len(rows) for rows in strips]
    with page(
        axes, [[f"strip {k}"] for k in range(len(strips))], 0.3 + sum(heights), heights=ratios, typed=True
    ) as sheet:
        for panel, rows in zip(sheet.axes, strips, strict=True):
            if rows:
                _strip(panel, rows, mark)
                if sheet.narrow and panel.get_xscale() == "linear":
                    panel.xaxis.set_major_locator(MaxNLocator(FEW))
            else:
                panel.set_axis_off()
        sheet.title(title)
        sheet.foot("\n".join(sheet.filled(style.words(w)) for w in words))
        return sheet.axes


def _strip(axes: Axes, rows: Sequence[Row], mark: float | None) -> None:
    ends = np.array([[r.value, r.low, r.high] for r in rows])
    finite = ends[np.isfinite(ends)]
    room = [r.high - OPEN * abs(r.high) if np.isnan(r.low) else r.low + OPEN * abs(r.low) for r in rows
            if np.isnan(r.value)]  # fmt: skip
    finite = np.array([*finite, *room, *([] if mark is None else [mark])])
    style.span(axes, "x", finite, log=mark is not None or style.logs(finite), pad=0.08)
    if mark is not None:
        axes.axvline(mark, color=style.MUTED, lw=style.line(0.71), ls="--", zorder=1)
    left, right = axes.get_xlim()
    for y, row in enumerate(rows):
        low, high = (edge if np.isnan(v) else v for v, edge in ((row.low, left), (row.high, right)))
        axes.plot(
            [low, high], [y, y], "-", color=style.INK, lw=style.line(0.93), solid_capstyle="butt", zorder=2
        )
        for v, edge, arrow in ((row.low, left, "<"), (row.high, right, ">")):
            place, sign = (edge, arrow) if np.isnan(v) else (v, "|")
            axes.plot(place, y, sign, color=style.INK, ms=style.mark(1.25), clip_on=False, zorder=3)
        if not np.isnan(row.value):
            axes.plot(
                row.value,
                y,
                "o",
                color=style.INK,
                ms=style.mark(1.04),
                mec="white",
                mew=style.line(0.36),
                zorder=4,
            )
        axes.text(
            1.02, y, row.text, transform=axes.get_yaxis_transform(), va="center", fontsize=style.small(1.06)
        )
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.spines[["top", "right", "left"]].set_visible(False)


SHOWN = 3.0  # thresholds above the optimum where a panel ends


def profile(profiles: Profile | Sequence[Profile], *, axes: Given | None = None) -> np.ndarray:
    """Rise of the objective over a parameter, in units of the threshold (dashed): the optimum (dot), and
    where the curve crosses (lines). A side on which it never does is open: an arrow, and words. ``axes``: one
    for each profile; left out: a new figure."""
    many = [profiles] if isinstance(profiles, Profile) else list(profiles)
    across = min(len(many), 3)
    down = -(-len(many) // across)
    names = [str(k) if k < len(many) else BLANK for k in range(across * down)]
    layout = [names[k : k + across] for k in range(0, len(names), across)]
    with page(axes, layout, 0.3 + 2.9 * down, width=4.6 if across == 1 else None) as sheet:
        for panel, one in zip(sheet.axes, many, strict=True):
            _panel(panel, one)
        for row in layout:
            sheet[row[0]].set_ylabel("Rise of the objective\n(1: threshold)")
        how = sorted({f"{p.level:.0%} by {p.calibration}" for p in many})
        sheet.title(f"Profile: {'; '.join(how)}")
        return sheet.axes


def _panel(axes: Axes, one: Profile) -> None:
    x, rise = np.array(one.values), (np.array(one.objective) - one.best) / max(one.threshold, 1e-300)
    least = int(np.argmin(rise))
    near = np.flatnonzero(rise <= SHOWN)
    ends = np.array([_edge(x, rise, near[0], -1), _edge(x, rise, near[-1], 1)])
    axes.plot(x, rise, ".-", color=style.INK, ms=style.mark(0.83), zorder=3)
    axes.axhline(1.0, ls="--", color=style.MUTED, lw=style.line(0.71), zorder=1)
    axes.plot(
        x[least],
        rise[least],
        "o",
        color=style.ACCENT,
        ms=style.mark(1.25),
        mec="white",
        mew=style.line(0.43),
        zorder=5,
    )
    style.span(axes, "x", ends, log=style.logs(ends), pad=0.03)
    axes.set_ylim(-0.08 * SHOWN, SHOWN)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for end, edge, arrow in ((one.low, ends[0], "<"), (one.high, ends[1], ">")):
        if end is None:
            axes.plot(edge, 1.0, arrow, color=style.ACCENT, ms=style.mark(1.67), clip_on=False, zorder=6)
        else:
            axes.vlines(end, -SHOWN, 1.0, color=style.ACCENT, lw=style.line(0.71), zorder=2)
    low, high = one.low, one.high
    if low is None:
        text = "open to both sides" if high is None else f"< {number(high)}, open below"
    else:
        text = f"> {number(low)}, open above" if high is None else f"[{number(low)}, {number(high)}]"
    text += "" if one.connected else ", not connected"
    name = style.name_of(one.name)
    axes.set_title(f"{name}: {text}")
    axes.set_xlabel(name)


def _edge(x: np.ndarray, rise: np.ndarray, last: int, step: int) -> float:
    """Where the curve leaves the panel beyond point ``last``, or its end."""
    beyond = last + step
    if not 0 <= beyond < len(x) or not np.isfinite(rise[beyond]):
        return float(x[last])
    part = (SHOWN - rise[last]) / (rise[beyond] - rise[last])
    return float(x[last] + part * (x[beyond] - x[last]))
