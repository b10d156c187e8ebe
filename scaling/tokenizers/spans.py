"""From where tokens end in a text to the bytes that each stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def bytes_per_token(ends: np.ndarray, single: np.ndarray, size: int) -> np.ndarray:
    """Return the bytes of a text that each token stands for: they sum to ``size``, unless there is no token.

    What lies between two tokens is counted with the later one, what follows the last with the last. Tokens of
    one character that is cut into bytes share its end: they get a byte each.

    Args:
        ends: byte of the text before which each token ends, int64 (n,).
        single: whether a token stands for one byte, bool (n,).
        size: bytes of the text.
    """
    import numpy as np

    reached = np.maximum.accumulate(ends)
    reached[-1:] = size
    counts = np.diff(reached, prepend=0)
    edges = np.flatnonzero(np.diff(single.astype(np.int8), prepend=0, append=0))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        spare = int(counts[first:last].sum()) - (last - first)
        if spare >= 0:
            counts[first:last] = 1
            counts[first] += spare
    return counts.astype(np.uint32)
