"""Inks, marks and words that all figures share; sizes are shares of those in matplotlib's settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D

from analysis.figures.look import look  # noqa: F401 - what a figure needs is had from here
from analysis.figures.scales import (  # noqa: F401
    label_of,
    log_loss,
    log_x,
    log_y,
    logs,
    numbers,
    plain,
    power,
    span,
)
from analysis.fits.summary import count
from analysis.laws.notation import symbol, tex
from analysis.tables.table import Table, frame_of
from analysis.tables.units import NOT_STATED, loss_unit

if TYPE_CHECKING:
    from analysis.fits.result import Fit

INK = "#222222"
MUTED = "#8a8a8a"
ACCENT = "#c23b22"  # the outcome, the optimum: readable against viridis in grey and with colour blindness
MOST = 9  # sizes or budgets named in a legend; more get a colour bar
KEYS = 3  # of them in a row above the panels
FEW = 150  # runs, each drawn with a rim
WIDTH = 7.2  # inches, a page of two columns
NARROW = 5.0  # inches, a figure of one column of a page is narrower, at labels of 9.5 points
LABELS = 9.5  # points


def line(share: float) -> float:
    """The width of a line, as a share of that of the settings."""
    return share * mpl.rcParams["lines.linewidth"]


def mark(share: float) -> float:
    """The size of a mark, as a share of that of the settings."""
    return share * mpl.rcParams["lines.markersize"]


def small(share: float = 0.9) -> float:
    """The size of type, as a share of that of legends in the settings."""
    return share * FontProperties(size=mpl.rcParams["legend.fontsize"]).get_size_in_points()


def star(share: float = 2.0) -> dict[str, Any]:
    """How an optimum is plotted."""
    return {
        "marker": "*",
        "color": ACCENT,
        "mec": "white",
        "mew": line(0.4),
        "lw": 0,
        "zorder": 4,
        "ms": mark(share),
    }


def outcome() -> dict[str, Any]:
    """How a held-out run is scattered."""
    return {"marker": "*", "s": mark(2.2) ** 2, "color": ACCENT, "edgecolor": "white", "linewidth": line(0.3),
            "zorder": 5}  # fmt: skip


def dots(count: int) -> dict[str, Any]:
    """How ``count`` runs are scattered: where they are many, small, without a rim and as an image."""
    if count <= FEW:
        return {"s": mark(1.0) ** 2, "edgecolor": "white", "linewidth": line(0.2), "zorder": 3}
    share, alpha = max((FEW / count) ** 0.35, 0.3), max((FEW / count) ** 0.25, 0.35)
    return {
        "s": mark(share) ** 2,
        "linewidth": 0,
        "alpha": alpha,
        "zorder": 3,
        "rasterized": count > 10 * FEW,
    }


class Shades:
    """A colour-blind safe sequential palette (viridis without its palest end) over the logs of ``values``."""

    def __init__(self, values: Sequence[float] | np.ndarray):
        self.levels = np.unique(np.asarray(values, float))
        self.cmap = ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.86, 256)))
        low, high = self.levels[0], self.levels[-1]
        self.log = bool(low > 0)
        if self.log:
            self.norm: Any = LogNorm(low, high if high > low else low * 1.01)
        else:
            self.norm = Normalize(low, high if high > low else low + 1.0)

    def __call__(self, value: float) -> Any:
        return self.cmap(self.norm(value))

    def explain(
        self, figure: Any, axes: Any, title: str, label: Any = count, *, inside: bool = False
    ) -> None:
        """Explain the colours beside the axes: by a legend for few levels, a colour bar for many.

        Args:
            figure: the figure of ``axes``.
            axes: axes that the legend or bar stands beside, one or several.
            title: what the colours show.
            label: function from a level to its text.
            inside: whether the figure is not ours, so that only room of ``axes`` is taken: always a bar.
        """
        if len(self.levels) > MOST or inside:
            self._bar(figure, axes, title, label)
            return
        handles = [
            Line2D([], [], marker="o", lw=line(1), ms=mark(0.9), color=self(v), label=text)
            for v, text in zip(self.levels, distinct(self.levels, label), strict=True)
        ]
        if narrow(figure):
            figure.legend(handles=handles, title=title, loc="outside upper left", alignment="left",
                          ncols=KEYS, columnspacing=1.0, handletextpad=0.4, borderpad=0.1)  # fmt: skip
        else:
            figure.legend(handles=handles[::-1], title=title, loc="outside right upper", alignment="left")

    def _bar(self, figure: Any, axes: Any, title: str, label: Any) -> None:
        flat = narrow(figure)
        where: Any = {"location": "top", "aspect": 40} if flat else {"aspect": 30}
        bar = figure.colorbar(ScalarMappable(self.norm, self.cmap), ax=axes, pad=0.02, **where)
        bar.set_label(title)
        bar.outline.set_visible(False)
        if self.log:
            numbers(bar.ax.xaxis if flat else bar.ax.yaxis, self.levels[[0, -1]], label)


def canvas(height: float, width: float | None = None) -> Figure:
    """An empty figure that belongs to no window and no global list; of other widths than ours it is as high
    as keeps its panels in shape.

    Args:
        height: inches, at a width of 7.2.
        width: inches; left out: that of the settings.
    """
    whole = mpl.rcParams["figure.figsize"][0]
    scale = whole / WIDTH
    across = whole if width is None else min(width * max(scale, 1.0), max(whole, NARROW * scale))
    return Figure(figsize=(across, height * float(np.sqrt(scale))), layout="constrained")


def enlarged() -> float:
    """How large type is in the settings, ours being 1."""
    return FontProperties(size=mpl.rcParams["axes.labelsize"]).get_size_in_points() / LABELS


def narrow(figure: Any) -> bool:
    """Whether a figure is one column of a page wide, for its type: panels then stand below each other."""
    return figure.get_figure(root=True).get_figwidth() < NARROW * enlarged()


def distinct(levels: np.ndarray, label: Any) -> list[str]:
    """A text for each level, in more digits where two would read alike."""
    texts = [label(v) for v in levels]
    if len(set(texts)) == len(texts) or label not in (count, power):
        return texts
    return [power(v, 4) if label is power else f"{v:,.6g}" for v in levels]


def typeset(formula: str, width: int = 90) -> str:
    """A formula in mathtext, its equations on lines of some ``width`` signs; what is none as it stands."""
    head, _, rest = formula.partition(";")
    equations = tex(head)
    if equations is None:
        return fill(words(formula), width)
    lines = [""]
    for equation in equations:
        wide = len(lines[-1]) + len(re.sub(r"\\mathrm|\\[a-z]+|[{}^_\\]", "", equation)) > width
        lines += [""] if lines[-1] and wide else []
        lines[-1] += (",  " if lines[-1] else "") + f"${equation}$"
    said = re.sub(r"\b([A-Z]{1,2})\b('?)", lambda name: f"${symbol(name[1])}{name[2]}$", words(rest.strip()))
    return "\n".join([*lines, *([fill(said, width)] if rest else [])])


def name_of(name: str) -> str:
    """A parameter or column in mathtext; words as they stand."""
    return f"${symbol(name)}$" if name.isidentifier() and not name.startswith("_") else words(name)


def words(text: str) -> str:
    """``text`` as it stands, also where a dollar sign would begin a formula."""
    return text.replace("$", r"\$")


def finish(figure: Figure) -> Figure:
    """Take away the frame to the top and right of every panel."""
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


NAMES = {
    "total": ("Parameters $N$", "Training compute $C$ (FLOPs)"),
    "body": ("Body parameters $N$", "Training compute $C$ (FLOPs)"),
    "active": ("Active parameters $N$", "Training compute $C$ (FLOPs)"),
    "6nd": ("Parameters $N$", "Training compute $C = 6ND$ (FLOPs)"),
    "kaplan": ("Body parameters $N$", "Training compute $C = 6ND$ (FLOPs)"),
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
    return {"N": size, "D": "Training tokens $D$", "C": compute, "M": "Tokens per parameter $D/N$",
            "unique_tokens": "Unique tokens $U$"}.get(x) or words(x)  # fmt: skip


def target(fit: Fit) -> str:
    """The label of what was fitted."""
    return loss(fit.unit) if fit.unit else words(str(fit.setup.target))


def colours(labels: Sequence[str]) -> dict[str, Any]:
    """A colour for each of few names."""
    palette = "colorblind" if len(labels) <= 8 else "viridis"
    return dict(zip(labels, sns.color_palette(palette, len(labels)), strict=True))
