"""Random numbers that are pure functions of a key and a counter: the same from NumPy and from ``jax.numpy``.

Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
2011), the cipher under ``jax.random``, on arrays of any namespace ``xp``: uint32 alone, since jax has no
64-bit integers by default. Distributions are integers too (:class:`Table`), so that no rounding of floats
can make two machines differ.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
WORD = 1 << 32

Pair = tuple[Any, Any]  # two arrays of uint32 that broadcast against each other


def pair(number: int, xp: Any = np) -> Pair:
    """Return the high and the low word of a 64-bit number, each of shape (1, 1)."""
    high, low = (np.full((1, 1), word, np.uint32) for word in divmod(number, WORD))
    return xp.asarray(high), xp.asarray(low)


def words_of(indices: np.ndarray) -> np.ndarray:
    """Split 64-bit indices (n,) into their high and low words, uint32 (n, 2)."""
    wide = np.asarray(indices).astype(np.uint64)
    return np.stack([wide >> np.uint64(32), wide & np.uint64(WORD - 1)], axis=-1).astype(np.uint32)


def threefry(key: Pair, counter: Pair) -> Pair:
    """Encipher a counter: two words, uniform and independent over counters and keys."""
    k0, k1 = key
    keys = (k0, k1, k0 ^ k1 ^ PARITY)
    x0, x1 = counter[0] + k0, counter[1] + k1
    for block in range(5):
        for turn in ROTATIONS[block % 2]:
            x0 = x0 + x1
            x1 = ((x1 << turn) | (x1 >> (32 - turn))) ^ x0
        x0, x1 = x0 + keys[(block + 1) % 3], x1 + (keys[(block + 2) % 3] + (block + 1))
    return x0, x1


class Table:
    """A distribution over 0 .. n - 1 in multiples of 2^-32, drawn from by one word in O(1).

    Walker's alias method (Vose, 1991) on integers: the n outcomes are padded to 2^b columns of 2^(32 - b)
    each; a column is shared by at most two outcomes.
    """

    def __init__(self, weights: np.ndarray):
        counts = _counts(np.asarray(weights, float))
        self.bits = max(1, (len(counts) - 1).bit_length())
        self.cut, self.alias = _alias(
            np.pad(counts, (0, (1 << self.bits) - len(counts))), 1 << (32 - self.bits)
        )
        self.probabilities = counts / WORD

    def draw(self, word: Any, xp: Any = np) -> Any:
        """Return an outcome for each word (uint32), int32."""
        column = (word >> (32 - self.bits)).astype(xp.int32)
        rest = word & ((1 << (32 - self.bits)) - 1)
        return xp.where(rest < xp.asarray(self.cut)[column], column, xp.asarray(self.alias)[column])

    @cached_property
    def entropy(self) -> float:
        """Of one draw, in nats: exact for the integers drawn."""
        p = self.probabilities[self.probabilities > 0]
        return float(-(p * np.log(p)).sum())


def _counts(weights: np.ndarray) -> np.ndarray:
    """Round to integers that sum to 2^32, none of a positive weight to 0; the largest takes the remainder."""
    counts = np.rint(weights / weights.sum() * WORD).astype(np.int64)
    counts = np.where(weights > 0, np.maximum(counts, 1), 0)
    counts[np.argmax(counts)] += WORD - counts.sum()
    return counts


def _alias(counts: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each column below which rest it stands for itself, uint32, and for whom above, int32."""
    left = counts.tolist()
    cut, alias = [room] * len(left), list(range(len(left)))
    small = [i for i, count in enumerate(left) if count < room]
    large = [i for i, count in enumerate(left) if count > room]
    while small:
        i, j = small.pop(), large[-1]
        cut[i], alias[i] = left[i], j
        left[j] -= room - left[i]
        if left[j] <= room:
            large.pop()
            if left[j] < room:
                small.append(j)
    return np.array(cut, np.uint32), np.array(alias, np.int32)
