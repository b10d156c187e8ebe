"""Where a figure is drawn: on a page of its own, or on axes that are given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from textwrap import fill
from typing import Any, Literal

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.transforms import ScaledTranslation

from analysis.errors import AnalysisError
from analysis.figures import style

Given = Axes | Sequence[Axes] | np.ndarray
LINE = 15  # letters an inch, of type of 8 points
BLANK = "."  # in a layout, where no panel is
DROP = 3.4  # heights of a label from a panel to a legend below it
BAR = 3  # lines that a bar of colours takes with its label
ACROSS, SMALL = 6, 1.05  # small panels in a row at most, and the least width of one, inches


@dataclass(frozen=True)
class Page:
    """The panels of one figure, by name, ``across`` in a row; ``own`` is its figure where it is ours."""

    panels: dict[str, Axes]
    own: Figure | None
    across: int

    @property
    def axes(self) -> np.ndarray:
        """All panels (n,), in the order of the layout."""
        out = np.empty(len(self.panels), object)
        out[:] = list(self.panels.values())
        return out

    def __getitem__(self, name: str) -> Axes:
        return self.panels[name]

    @property
    def narrow(self) -> bool:
        return self.own is not None and style.narrow(self.own)

    def explain(self, shades: style.Shades, title: str, label: Any = style.count) -> None:
        """Say beside the panels what colours mean, on a narrow page above them; beside axes given, in room
        taken from them."""
        axes = list(self.panels.values())
        if self.narrow:
            lines = BAR if len(shades.levels) > style.MOST else 1 - len(shades.levels) // -style.KEYS
            self._grow("\n" * lines, style.small(1.1))
        shades.explain(axes[0].get_figure(), axes, title, label, inside=self.own is None)

    def filled(self, text: str, size: float | None = None) -> str:
        """``text`` on lines as long as the page is wide, in type of ``size`` points; left out: small."""
        whole = style.WIDTH if self.own is None else self.own.get_figwidth()
        return fill(text, int(LINE * whole * 8 / (size or style.small(1))))

    def title(self, text: str) -> None:
        """Write ``text`` above all panels: over the first where the figure is not ours."""
        if self.own is None:
            next(iter(self.panels.values())).set_title(text)
        else:
            self._grow(text, style.small(1.1))
            self.own.suptitle(text, x=0.01, ha="left", fontsize=style.small(1.1))

    def head(self, axes: Axes, text: str) -> None:
        """Write ``text`` above a panel; a narrow page is made longer by it."""
        axes.set_title(text)
        if self.narrow:
            self._grow(text, points("axes.titlesize"))

    def legend(self, axes: Axes, loc: str, *entries: Any) -> None:
        """A legend of ``entries`` (handles, labels; left out: all) at ``loc``; on a narrow page, where it
        would hide runs, below the panel."""
        if not self.narrow:
            place: Any = {"loc": loc}
            axes.legend(*entries, **place)
            return
        drop = ScaledTranslation(0, -DROP * points("axes.labelsize") / 72, axes.figure.dpi_scale_trans)
        below: Any = {"loc": "upper left", "bbox_to_anchor": (0.0, 0.0), "borderaxespad": 0.0}
        shown = axes.legend(*entries, **below, bbox_transform=axes.transAxes + drop)
        self._grow("\n" * len(shown.get_texts()), style.small(1.1))

    def frame(self, x: str, y: str) -> None:
        """Label both axes of panels that share them."""
        if self.own is None:
            for axes in self.panels.values():
                axes.set(xlabel=x, ylabel=y)
        else:
            self.own.supxlabel(x, fontsize=points("axes.labelsize"))
            self.own.supylabel(y, fontsize=points("axes.labelsize"))

    def foot(self, text: str) -> None:
        """Write ``text`` below all panels of a figure of ours; beside axes given there is no room."""
        if self.own is not None and text:
            self._grow(text, style.small())
            self.own.supxlabel(text, x=0.01, ha="left", fontsize=style.small(), color=style.MUTED)

    def _grow(self, text: str, size: float) -> None:
        """Make room for lines of ``size`` points."""
        if self.own is not None:
            height = 1.3 * size / 72 * (text.count("\n") + 1)
            self.own.set_figheight(self.own.get_figheight() + height)


def points(setting: Literal["axes.labelsize", "axes.titlesize"]) -> float:
    """The size of type of a setting."""
    return FontProperties(size=rcParams[setting]).get_size_in_points()


def checked(given: Given, names: Sequence[str]) -> list[Axes]:
    """The axes of the user's, one for each name. Raises AnalysisError: they are others."""
    axes = np.ravel(np.asarray(given, object)).tolist()
    if len(axes) != len(names) or not all(isinstance(one, Axes) for one in axes):
        raise AnalysisError(f"axes: {len(axes)} given; give {len(names)}: {', '.join(names)}")
    return axes


@contextmanager
def page(
    given: Given | None,
    layout: Sequence[Sequence[str]],
    height: float,
    *,
    width: float | None = None,
    heights: Sequence[float] | None = None,
    widths: Sequence[float] | None = None,
    typed: bool = False,
    stacked: bool = True,
) -> Iterator[Page]:
    """The panels to draw on, in our look where the page is ours.

    Args:
        given: axes of the user's, as many as the layout has; None: a new figure.
        layout: names of panels, row by row; one that spans several places stands in all of them.
        height: of the figure, inches, at a width of 7.2.
        width: inches; left out: that of the settings.
        heights: ratios of the rows.
        widths: ratios of the columns.
        typed: whether ``height`` is of lines of type, and follows its size, not the width.
        stacked: whether narrow pages have one panel a row.

    Raises:
        AnalysisError: other axes are given than the layout has.
    """
    names = list(dict.fromkeys(name for row in layout for name in row if name != BLANK))
    with style.look() if given is None else nullcontext():
        if given is not None:
            yield Page(dict(zip(names, checked(given, names), strict=True)), None, len(layout[0]))
            return
        figure = style.canvas(height, width)
        if typed:
            figure.set_figheight(height * style.small(1) / 8)
        elif style.narrow(figure):
            figure.set_figheight(figure.get_figheight() * max(1.0, style.enlarged()) ** 0.5)
        heights = heights or [1.0] * len(layout)
        if stacked and style.narrow(figure) and any(len(set(row)) > 1 for row in layout):
            rows = {name: h for row, h in reversed([*zip(layout, heights, strict=True)]) for name in row}
            figure.set_figheight(figure.get_figheight() * sum(rows[n] for n in names) / sum(heights))
            layout, heights, widths = [[name] for name in names], [rows[name] for name in names], None
        options: Any = {"height_ratios": heights, "width_ratios": widths, "empty_sentinel": BLANK}
        panels: Any = figure.subplot_mosaic([list(row) for row in layout], **options)
        yield Page({name: panels[name] for name in names}, figure, len(layout[0]))
        style.finish(figure)


@contextmanager
def multiples(given: Given | None, names: Sequence[str], row: float) -> Iterator[Page]:
    """Small panels of one kind to draw on, as many in a row as the page is wide.

    Args:
        given: axes of the user's, one for each name; None: a new figure.
        names: of the panels.
        row: the height of a row, inches, at a width of 7.2.
    """
    with style.look() if given is None else nullcontext():
        fitting = int(rcParams["figure.figsize"][0] / (SMALL * style.enlarged()))
        across = max(1, min(ACROSS, len(names), fitting))
        filled = [*names, *[BLANK] * (-len(names) % across)]
        layout = [filled[k : k + across] for k in range(0, len(filled), across)]
        with page(given, layout, 0.5 + row * len(layout), stacked=False) as sheet:
            yield sheet
