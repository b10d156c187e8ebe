"""Profiles of the objective: how much worse it gets as one parameter is moved and all others follow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.fits.profile import PARTS, Profile
from analysis.fits.summary import number

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
        how = sorted({f"{p.level:.0%} by {p.calibration.removesuffix(f'; {PARTS}')}" for p in many})
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
