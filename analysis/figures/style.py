"""One look for all figures, applied inside a context so that nobody's settings change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.fits.summary import count
from analysis.tables.table import Table, frame_of
from analysis.tables.units import NOT_STATED, loss_unit

if TYPE_CHECKING:
    from analysis.fits.result import Fit

INK = "#222222"
MUTED = "#8a8a8a"
ACCENT = "#c23b22"  # the outcome, the optimum: readable against viridis in grey and with colour blindness
STAR: Any = {"marker": "*", "color": ACCENT, "mec": "white", "mew": 0.6, "lw": 0, "zorder": 4}  # an optimum
DOTS: Any = {"s": 24, "edgecolor": "white", "linewidth": 0.3, "zorder": 3}  # of a scatter
OUTCOME: Any = DOTS | {
    "marker": "*",
    "s": 110,
    "color": ACCENT,
    "zorder": 5,
}  # of a held-out run
MOST = 9  # sizes or budgets named in a legend; more get a colour bar
WIDTH = 7.2  # inches, a two-column page
WIDE = 4.0  # largest over smallest value, beyond which ticks are 1-2-5 or decades
GREEK = ("alpha", "beta", "gamma", "delta", "eta")


@contextmanager
def look() -> Iterator[None]:
    """Settings of every figure: seaborn ticks, paper context, small legible type."""
    own = {
        "font.size": 9, "axes.labelsize": 9.5, "axes.titlesize": 9.5, "legend.fontsize": 8,
        "legend.title_fontsize": 8, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "axes.edgecolor": INK,
        "axes.labelcolor": INK, "text.color": INK, "axes.titlelocation": "left", "legend.frameon": False,
        "axes.linewidth": 0.8, "lines.linewidth": 1.4, "xtick.major.size": 4, "ytick.major.size": 4,
        "xtick.minor.size": 2, "ytick.minor.size": 2, "xtick.major.width": 0.8, "ytick.major.width": 0.8,
        "xtick.minor.width": 0.5, "ytick.minor.width": 0.5,
    }  # fmt: skip
    settings: Any = {**sns.axes_style("ticks"), **sns.plotting_context("paper"), **own}
    with mpl.rc_context(settings):
        yield


def canvas(height: float, width: float = WIDTH) -> Figure:
    """An empty figure that belongs to no window and no global list."""
    return Figure(figsize=(width, height), layout="constrained")


class Shades:
    """A colour-blind safe sequential palette (viridis without its palest end) over the logs of ``values``."""

    def __init__(self, values: Sequence[float] | np.ndarray):
        self.levels = np.unique(np.asarray(values, float))
        cut = mpl.colormaps["viridis"](np.linspace(0.0, 0.86, 256))
        self.cmap = ListedColormap(cut)
        low, high = self.levels[0], self.levels[-1]
        self.log = bool(low > 0)
        if self.log:
            self.norm: Any = LogNorm(low, high if high > low else low * 1.01)
        else:
            self.norm = Normalize(low, high if high > low else low + 1.0)

    def __call__(self, value: float) -> Any:
        return self.cmap(self.norm(value))

    def explain(self, figure: Figure, axes: Any, title: str, label: Any = count) -> None:
        """Explain the colours beside the axes: by a legend for few levels, a colour bar for many.

        Args:
            figure: the figure of ``axes``.
            axes: axes that the legend or bar stands beside, one or several.
            title: what the colours show.
            label: function from a level to its text.
        """
        if len(self.levels) > MOST:
            bar = figure.colorbar(ScalarMappable(self.norm, self.cmap), ax=axes, pad=0.02, aspect=30)
            bar.set_label(title)
            bar.outline.set_visible(False)
            if self.log:
                numbers(bar.ax.yaxis, self.levels[[0, -1]], label)
            return
        handles = [
            Line2D([], [], marker="o", lw=1.4, ms=4.5, color=self(v), label=label(v)) for v in self.levels
        ]
        figure.legend(handles=handles[::-1], title=title, loc="outside right upper", alignment="left")


def power(value: float) -> str:
    """2 x 10^11 in mathtext."""
    exponent = int(np.floor(np.log10(value) + 1e-9))
    lead = value / 10.0**exponent
    return rf"$10^{{{exponent}}}$" if abs(lead - 1) < 1e-6 else rf"${lead:.2g}\times10^{{{exponent}}}$"


def numbers(axis: Any, ends: Sequence[float] | np.ndarray, label: Any) -> None:
    """Round ticks 1-2-5 (or decades, for a wide range) on a logarithmic axis, with ``label``."""
    low, high = np.log10(ends[0]), np.log10(ends[-1])
    leads = (1, 2, 5) if high - low < 1.5 else (1, 3) if high - low < 2.4 else (1,)
    if high - low < 0.9 and label is count:
        leads = (1, 2, 3, 5, 7)
    decades = np.arange(np.floor(low) - 1, np.ceil(high) + 2)
    step = max(1, int(np.ceil((high - low) / 7)))
    if leads == (1,):
        decades = decades[::step]
    ticks = [lead * 10.0**d for d in decades for lead in leads]
    axis.set_major_locator(ticker.FixedLocator(ticks))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: label(v)))
    axis.set_minor_formatter(ticker.NullFormatter())
    axis.set_minor_locator(ticker.LogLocator(subs=range(2, 10), numticks=50))


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


def plain(axis: Any, low: float, high: float) -> None:
    """Evenly spaced decimal ticks on a logarithmic axis."""
    ticks = np.asarray(ticker.MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    decimals = next((d for d in range(5) if np.allclose(ticks, np.round(ticks, d), atol=1e-9)), 5)
    axis.set_major_locator(ticker.FixedLocator(ticks.tolist()))
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:.{decimals}f}"))
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
        numbers(axis, (low, high), label_of(name, values)) if high / low > WIDE else plain(axis, *ends)
        return
    axis.set_major_locator(ticker.MaxNLocator(6))
    if high >= 1e4:
        label = label_of(name, values)
        axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: label(v) if v > 0 else f"{v:g}"))


def logs(values: Any) -> bool:
    """Whether a logarithmic axis shows ``values`` better."""
    return bool(np.min(values) > 0 and np.max(values) > WIDE * np.min(values))


def label_of(name: str, values: Any) -> Any:
    """How the numbers of a column are written."""
    small = np.min(values) > 0 and np.min(values) < 1e-3
    return power if name == "C" or small or np.max(values) >= 1e15 else count


def typeset(formula: str) -> str:
    """A sum of powers in mathtext: Greek exponents, raised; names of several letters upright. Any other
    formula as it stands."""
    if re.search(r"[^\w\s=+/^]|\^\W", formula):
        return fill(words(formula), 90)

    def name(match: re.Match[str]) -> str:
        text = match[0]
        if text in GREEK:
            return "\\" + text
        return text if len(text) == 1 else r"\mathrm{" + text.replace("_", r"\_") + "}"

    spelt = re.sub(r"[^\W\d]\w*", name, re.sub(r"\^(\w+)", r"^{\1}", formula))
    return f"${spelt.replace(' / ', '/').replace(' ', chr(92) + ' ')}$"


def words(text: str) -> str:
    """``text`` as it stands, also where a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def finish(figure: Figure) -> Figure:
    sns.despine(fig=figure)
    return figure


NAMES = {
    "total": ("Parameters N", "Training compute C (FLOPs)"),
    "body": ("Body parameters N", "Training compute C (FLOPs)"),
    "6nd": ("Parameters N", "Training compute C = 6ND (FLOPs)"),
    "kaplan": ("Body parameters N", "Training compute C = 6ND (FLOPs)"),
}


def loss(unit: str | None) -> str:
    """The label of a loss in ``unit``; None: the table does not state it."""
    return f"Loss ({unit or NOT_STATED})"


def stated(table: pd.DataFrame | Table) -> str:
    """The unit of a table's losses, as far as it is known."""
    return loss_unit(frame_of(table))


def quantity(x: str, convention: str) -> str:
    """The label of an input."""
    size, compute = NAMES[convention]
    return {"N": size, "D": "Training tokens D", "C": compute}.get(x) or words(x)


def target(fit: Fit) -> str:
    """The label of what was fitted."""
    return loss(fit.unit) if fit.unit else words(str(fit.setup.target))


def colours(labels: Sequence[str]) -> dict[str, Any]:
    """A colour for each of few names."""
    palette = "colorblind" if len(labels) <= 8 else "viridis"
    return dict(zip(labels, sns.color_palette(palette, len(labels)), strict=True))
