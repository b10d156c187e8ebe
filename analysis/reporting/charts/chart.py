"""What a figure of the page is: traces as plotly.js takes them, and the runs they were drawn from.

Colours are names (``@ink``, ``@muted``, ``@accent``, ``@at:0.4`` of a scale), which the page settles for the
theme it is read in. A trace of runs has ``rows``, their places in the table of the page, and names of its
columns as ``x`` and ``y``: no number of a run stands twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from analysis.codec import plain
from analysis.fits.summary import count

Trace = dict[str, Any]
DIGITS = 6
NAMED = 9  # sizes named beside a colour bar; of more, round numbers


@dataclass(frozen=True)
class Chart:
    """One figure. ``name`` is its anchor in the page, ``caption`` says in words what is drawn; ``height`` in
    pixels."""

    name: str
    title: str
    caption: str
    traces: tuple[Trace, ...]
    layout: Mapping[str, Any]
    height: int = 430

    @property
    def rows(self) -> np.ndarray:
        """Places of the runs drawn, each once, rising."""
        drawn = [row for trace in self.traces for row in trace.get("rows", ())]
        return np.unique(np.array([row for row in drawn if row is not None], int))

    def to_dict(self) -> dict[str, Any]:
        """What the page draws from."""
        return {
            "name": self.name,
            "height": self.height,
            "traces": plain(self.traces),
            "layout": plain(self.layout),
        }


def short(values: Any) -> list[float | None]:
    """Numbers as they are sent to a page, None where unknown."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in np.asarray(values, float)]


def words(text: Any) -> str:
    """Text as it stands, where plotly.js would take a tag for one."""
    return escape(str(text), quote=False)


def runs_at(rows: Any, x: str, y: str, name: str, **marker: Any) -> Trace:
    """Runs as dots.

    Args:
        rows: their places in the table of the page.
        x: the column on the x axis.
        y: the column on the y axis.
        name: what the legend calls them.
        marker: as plotly.js has it.
    """
    dot = {"size": 7, "color": "@ink", "line": {"width": 0.7, "color": "@paper"}, **marker}
    places = [int(row) for row in rows]
    return {"mode": "markers", "rows": places, "x": x, "y": y, "name": words(name), "marker": dot}


def line(
    x: Any, y: Any, name: str = "", colour: str = "@ink", dash: str = "solid", width: float = 1.8
) -> Trace:
    """A curve that is no run's; without a name it is not in the legend.

    Args:
        x: (m,).
        y: (m,); nan breaks the curve.
        name: what the legend calls it.
        colour: of the line.
        dash: as plotly.js has it.
        width: in pixels.
    """
    return {
        "mode": "lines", "x": short(x), "y": short(y), "name": words(name), "showlegend": bool(name),
        "hoverinfo": "skip", "line": {"color": colour, "dash": dash, "width": width},
    }  # fmt: skip


def band(x: Any, low: Any, high: Any, name: str = "", colour: str = "@band") -> list[Trace]:
    """Between ``low`` and ``high`` (m,), where both are known."""
    x, low, high = (np.asarray(v, float) for v in (x, low, high))
    known = np.isfinite(low) & np.isfinite(high)
    x, low, high = x[known], low[known], high[known]
    area = line([*x, *x[::-1]], [*low, *high[::-1]], name, width=0)
    return [{**area, "fill": "toself", "fillcolor": colour}] if len(x) > 1 else []


def axis(title: str, form: str | None = None, **more: Any) -> dict[str, Any]:
    """An axis: logarithmic where a ``form`` says how the page writes its ticks (count: 2M, power: 2 x 10^12,
    number), else linear, with ticks by plotly.js."""
    return {"title": {"text": title}, **({"type": "log", "form": form} if form else {}), **more}


class Shades:
    """Where sizes lie on the colour scale, by their logarithms."""

    def __init__(self, values: Any, title: str):
        known = np.asarray(values, float)
        self.levels = np.unique(known[np.isfinite(known) & (known > 0)])
        self.title = title
        self.low, self.high = np.log10(self.levels[[0, -1]]) if len(self.levels) else (0.0, 1.0)

    def at(self, value: float) -> str:
        """The colour of a value."""
        wide = self.high - self.low
        return f"@at:{(np.log10(value) - self.low) / wide if wide > 0 else 0.5:.3f}"

    def marker(self, column: str) -> dict[str, Any]:
        """The colours of runs, by a column, with the bar that explains them."""
        if len(self.levels) < 2:
            return {}
        return {
            "color": f"@log:{column}", "cmin": float(self.low), "cmax": float(self.high),
            "colorscale": "@scale", "showscale": True, "colorbar": self._bar(),
        }  # fmt: skip

    def _bar(self) -> dict[str, Any]:
        ticks = self.levels if len(self.levels) <= NAMED else _round(*self.levels[[0, -1]])
        ticks = _apart(np.log10(ticks), (self.high - self.low) / 7)
        return {
            "orientation": "h", "thickness": 9, "len": 0.46, "x": 1, "xanchor": "right", "y": 1,
            "yanchor": "top", "yref": "container", "ypad": 2, "outlinewidth": 0, "tickvals": ticks,
            "tickfont": {"size": 11}, "ticktext": [count(10**t) for t in ticks],
            "title": {"text": self.title, "side": "top"},
        }  # fmt: skip


def _round(low: float, high: float) -> np.ndarray:
    """1, 2 and 5 times powers of ten within a range."""
    decades = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    ticks = np.sort((10.0 ** decades[:, None] * np.array([1, 2, 5])).ravel())
    return ticks[(ticks >= low * 0.999) & (ticks <= high * 1.001)]


def _apart(ticks: Sequence[float] | np.ndarray, least: float) -> list[float]:
    """Those at least so far from the one before."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick - kept[-1] >= least:
            kept.append(float(tick))
    return kept
