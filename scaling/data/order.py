"""The order of training windows: pure functions of (seed, place), in O(1) memory.

Place p of a training run is window ``permute(seed, p // n, p % n, n)``: each epoch visits all ``n`` windows
once, in an order of its own. The permutation is a Feistel network on Z_a x Z_b with a * b >= n, walked
along its cycle until it lands below n (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
Round functions are the finaliser of splitmix64. Integer arithmetic only: it is the same on every machine and
with every version of numpy, which makes no such promise for its random streams.

A mixture first gives each place to a source: every block of :data:`BLOCK` places holds each source's quota,
in a permutation of the block's own. A place is then a place in the order of its source, one after another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from scaling.corpora.quotas import BLOCK

ROUNDS = 8
GOLDEN = 0x9E3779B97F4A7C15
MASK = 2**64 - 1
SUBSET = np.uint64(0x5851F42D4C957F2D)  # key of the permutation that subsets are taken from
STRIDE = 1 << 14  # elements permuted at a time: the work stays in the processor's cache
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


def windows_at(seed: int, first: int, count: int, windows: int) -> np.ndarray:
    """Return the windows at places ``first .. first + count - 1`` of a run with ``seed``, int64 (count,).

    Args:
        seed: of the run.
        first: the first place.
        count: how many.
        windows: training windows in an epoch, at least 1.
    """
    return windows_of(seed, np.arange(first, first + count, dtype=np.uint64), windows)


def windows_of(seed: int, places: np.ndarray, windows: int) -> np.ndarray:
    """Return the windows at any uint64 ``places`` (n,) of a run with ``seed``, int64 (n,)."""
    epochs = places // np.uint64(windows)
    return _permute(places - epochs * np.uint64(windows), _keys(seed, epochs), windows).astype(np.int64)


def subset(numbers: np.ndarray, windows: int, used: int) -> np.ndarray:
    """Return the windows, int64 (n,), that a run on ``used`` of ``windows`` windows calls ``numbers``.

    They are the first ones of one permutation for all seeds, so that a smaller subset is contained in each
    larger one. All windows keep their own numbers.
    """
    if used == windows:
        return numbers.astype(np.int64)
    places = numbers.astype(np.uint64)
    return _permute(places, np.full_like(places, SUBSET), windows).astype(np.int64)


def mixture_at(seed: int, places: np.ndarray, quotas: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the source, int64 (n,), and the place in the order of that source, uint64 (n,), of each place.

    The places of a source come one after another: with one source they are the places of the run.

    Args:
        seed: of the run.
        places: uint64 (n,); cheap where they lie in few blocks.
        quotas: places of each source in a block; their sum is :data:`BLOCK`.
    """
    blocks, within = np.divmod(places, np.uint64(BLOCK))
    touched, row = np.unique(blocks, return_inverse=True)
    source = _sources(seed, touched, quotas)
    order = np.argsort(source, axis=1, kind="stable")  # by source, then by place
    firsts = np.cumsum([0, *quotas[:-1]])
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(BLOCK) - np.repeat(firsts, quotas), axis=1)
    at = row, within.astype(np.int64)
    chosen = source[at].astype(np.int64)
    return chosen, blocks * np.asarray(quotas, np.uint64)[chosen] + rank[at].astype(np.uint64)


def sources_seen(seed: int, done: int, quotas: Sequence[int]) -> list[int]:
    """Return how many of the first ``done`` places of a run with ``seed`` each source has had."""
    block, rest = divmod(done, BLOCK)
    begun = _sources(seed, np.array([block], np.uint64), quotas)[0, :rest]
    counts = np.bincount(begun, minlength=len(quotas))
    return [block * quota + count for quota, count in zip(quotas, counts.tolist(), strict=True)]


def _sources(seed: int, blocks: np.ndarray, quotas: Sequence[int]) -> np.ndarray:
    """Return the source of every place of some blocks, uint16 (blocks, BLOCK)."""
    places = np.tile(np.arange(BLOCK, dtype=np.uint64), len(blocks))
    slots = _permute(places, np.repeat(_keys(seed, ~blocks), BLOCK), BLOCK).astype(np.int64)
    return np.repeat(np.arange(len(quotas), dtype=np.uint16), quotas)[slots].reshape(len(blocks), BLOCK)


def _keys(seed: int, epochs: np.ndarray) -> np.ndarray:
    """Key the permutation of each epoch, or of each block by the complement of its number."""
    base = _mix(np.array([(seed + 1) * GOLDEN & MASK], np.uint64))
    return _mix(base ^ _mix(epochs + np.uint64(GOLDEN)))


def _permute(x: np.ndarray, keys: np.ndarray, n: int) -> np.ndarray:
    """Permute {0, ..., n - 1}, differently for each key; uint64 (n,), elementwise."""
    a = math.isqrt(n - 1) + 1
    b = -(-n // a)
    out = np.empty_like(x)
    for i in range(0, len(x), STRIDE):
        part = slice(i, i + STRIDE)
        out[part] = _encipher(x[part], keys[part], a, b)
    astray = np.flatnonzero(out >= n)
    while len(astray):
        out[astray] = _encipher(out[astray], keys[astray], a, b)
        astray = astray[out[astray] >= n]
    return out


def _encipher(x: np.ndarray, keys: np.ndarray, a: int, b: int) -> np.ndarray:
    """Permute {0, ..., a * b - 1}, differently for each key; uint64 -> uint64, elementwise."""
    modulus = (np.uint64(a), np.uint64(b))
    left = x // modulus[1]
    halves = (left, x - left * modulus[1])
    for r in range(ROUNDS):
        side, other = halves[r % 2], halves[1 - r % 2]
        size = modulus[r % 2]
        mixed = _mix(other + (keys + np.uint64((r + 1) * GOLDEN & MASK)))
        mixed -= mixed // size * size  # as % of numpy, in a third of the time
        side += mixed
        np.minimum(side, side - size, out=side)  # side % size, as it is below 2 * size
    return halves[0] * modulus[1] + halves[1]


def _mix(z: np.ndarray) -> np.ndarray:
    """Apply the finaliser of splitmix64 (Steele, Lea and Flood, 2014); uint64 -> uint64, elementwise,
    wraps."""
    z = z ^ (z >> _S30)
    z *= _A
    z ^= z >> _S27
    z *= _B
    z ^= z >> _S31
    return z
