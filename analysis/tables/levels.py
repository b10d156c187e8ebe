"""Which values of an input are one: sizes read off a plot, token counts that end almost together."""

from __future__ import annotations

import numpy as np

SAME = 0.002  # relative: values that lie nearer to the least of their level are of that level


def levels(values: np.ndarray) -> np.ndarray:
    """Index of each one's level (n,), from the least value on; exact ones where values are not positive."""
    found, index = np.unique(np.asarray(values, float), return_inverse=True)
    if not len(found) or not found[0] > 0:
        return index
    codes, begin, level = np.empty(len(found), int), 0, 0
    while begin < len(found):
        end = int(np.searchsorted(found, found[begin] * (1 + SAME), side="right"))
        codes[begin:end] = level
        begin, level = end, level + 1
    return codes[index]


def count_levels(values: np.ndarray) -> int:
    """How many levels there are."""
    return int(levels(values).max(initial=-1)) + 1
