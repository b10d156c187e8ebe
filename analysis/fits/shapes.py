"""FLOPs per token counted from the shapes in a table: three times the forward pass of a decoder-only
Transformer (Kaplan et al. 2020, arXiv:2001.08361, table 1; Hoffmann et al. 2022, arXiv:2203.15556, app. F).

Forward, a token costs 2 per weight of its matrices, and 4 x width in each layer for each token that it
attends to. Tables differ in what N counts of embedding and head, in whether C includes the head, and in
whether attention is causal: the count nearest to the table's own compute is believed where it comes near.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from analysis.fits.cost import BEYOND, KNOTS, tabulated
from analysis.fits.rates import Known
from analysis.tables.checks import numbers

COLUMNS = ("depth", "width", "context", "vocab_size")
NEAR = 0.02  # largest relative error of a count that is believed


@dataclass(frozen=True)
class Count:
    """A way to count. ``head``: whether C includes the head; ``tables``: how many of embedding and head are
    in N; ``attention``: causal, full or none; ``gains``: whether N includes those of two norms in each layer
    and of one at the end, which multiply nothing."""

    head: bool
    tables: int
    attention: str
    gains: bool

    @property
    def words(self) -> str:
        return f"{self.attention} attention, {'head' if self.head else 'no head'}"

    def body(self, shapes: Shapes) -> np.ndarray:
        """Parameters without embedding and head."""
        return shapes.size - self.tables * shapes.vocab_size * shapes.width

    def rate(self, shapes: Shapes) -> np.ndarray:
        """FLOPs per token."""
        depth, width, context = shapes.depth, shapes.width, shapes.context
        seen = {"causal": (context + 1) / 2, "full": context, "no": 0.0}[self.attention]
        matrices = self.body(shapes) - self.gains * (2 * depth + 1) * width
        return 3 * (2 * (matrices + self.head * shapes.vocab_size * width) + 4 * depth * width * seen)


COUNTS = tuple(
    Count(*choice) for choice in product((True, False), (0, 1, 2), ("causal", "full", "no"), (False, True))
)


@dataclass(frozen=True)
class Shapes:
    """Models (m,): N, depth, width; what they share."""

    size: np.ndarray
    depth: np.ndarray
    width: np.ndarray
    context: float
    vocab_size: float


def shapes_of(frame: Any) -> Shapes | None:
    """The models of a frame with N; None where it does not say, or they share no context and vocabulary."""
    if not set(COLUMNS) <= set(frame.columns):
        return None
    columns = {name: numbers(frame[name])[0] for name in COLUMNS}
    shared = [np.unique(columns[name]) for name in ("context", "vocab_size")]
    given = all((np.isfinite(column) & (column > 0)).all() for column in columns.values())
    if not given or any(len(values) != 1 for values in shared):
        return None
    (context,), (vocab_size,) = shared
    return Shapes(frame["N"].to_numpy(float), columns["depth"], columns["width"], context, vocab_size)


def cost_of_shapes(frame: Any) -> tuple[Known | None, str]:
    """The cost of a frame with N, D, C by the shapes of its models; None where that is not known, and why if
    the table has shapes."""
    shapes = shapes_of(frame)
    if shapes is None or len(np.unique(shapes.size)) < 2:
        return None, ""
    n, d, c = (frame[x].to_numpy(float) for x in "NDC")
    errors = [float(np.max(np.abs(count.rate(shapes) / (c / d) - 1))) for count in COUNTS]
    best = int(np.argmin(errors))
    if errors[best] > NEAR:
        near = f"the count that comes nearest ({COUNTS[best].words}) is off by {errors[best]:.0%}"
        return None, f"cost: depth, width, context and vocab_size do not explain the table's C: {near}"
    return _family(COUNTS[best], shapes, n, d, c)


def _family(
    count: Count, shapes: Shapes, n: np.ndarray, d: np.ndarray, c: np.ndarray
) -> tuple[Known | None, str]:
    """FLOPs per token of every size, with width and depth the powers of the body nearest to the table's."""
    body = count.body(shapes)
    at = np.log(body)
    powers = [np.polyfit(at, np.log(column), 1) for column in (shapes.width, shapes.depth)]
    grid = np.linspace(at.min() - np.log(BEYOND), at.max() + np.log(BEYOND), KNOTS)
    width, depth = (np.exp(np.polyval(power, grid)) for power in powers)
    size = np.exp(grid) + count.tables * shapes.vocab_size * width
    models = replace(shapes, size=size, width=width, depth=depth)
    value = count.rate(models)
    if not ((np.diff(value) > 0) & (np.diff(size) > 0)).all():
        return None, ""
    grows = [f"N^{power[0]:.2g}" for power in powers]
    return tabulated(
        size, value, n, d, c, f"counted from depth, width, context and vocab_size ({count.words})",
        f"that of models of width ~ {grows[0]} and depth ~ {grows[1]}, N without embedding and head",
    ), ""  # fmt: skip
