"""Jumps of the training loss, as a curve shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from scaling.store.metrics import Row

WINDOW = 16  # rows before one, to which it is compared
LEAST = 0.1  # nats above their median
DEVIATIONS = 8.0  # of theirs, by the median, above it


def has_spike(rows: Sequence[Row]) -> bool:
    """Tell whether the training loss of some row is far above that of the rows before it.

    A row of fewer steps than those varies more, by the root of its share of steps, and is taken that much
    less seriously. A curve of at most :data:`WINDOW` rows has no spike.
    """
    steps, losses = list[int](), list[float]()
    for row in rows:
        loss = row.get("train/loss")
        if loss is not None and math.isfinite(loss):
            steps.append(row["step"])
            losses.append(loss)
    lengths = [step - before for before, step in zip([0, *steps], steps, strict=False)]
    for i in range(WINDOW, len(losses)):
        usual = median(losses[i - WINDOW : i])
        deviation = median(abs(loss - usual) for loss in losses[i - WINDOW : i])
        share = min(1.0, lengths[i] / median(lengths[i - WINDOW : i]))
        if (losses[i] - usual) * math.sqrt(share) > max(LEAST, DEVIATIONS * deviation):
            return True
    return False
