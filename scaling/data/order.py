"""The order of training windows: a pure function of (seed, place), in O(1) memory.

Place p of a training run is window ``permute(seed, p // n, p % n, n)``: each epoch visits all ``n`` windows
once, in an order of its own. The permutation is a Feistel network on Z_a x Z_b with a * b >= n, walked
along its cycle until it lands below n (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
Round functions are the finaliser of splitmix64. Integer arithmetic only: it is the same on every machine and
with every version of numpy, which makes no such promise for its random streams.
"""

from __future__ import annotations

import math

import numpy as np

ROUNDS = 8
GOLDEN = 0x9E3779B97F4A7C15
MASK = 2**64 - 1
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)


def _mix(z: np.ndarray) -> np.ndarray:
    """Apply the finaliser of splitmix64 (Steele, Lea and Flood, 2014); uint64 -> uint64, elementwise,
    wraps."""
    z = (z ^ (z >> _S30)) * _A
    z = (z ^ (z >> _S27)) * _B
    return z ^ (z >> _S31)


def _encipher(x: np.ndarray, key: np.ndarray, a: int, b: int) -> np.ndarray:
    """Permute {0, ..., a * b - 1}, differently for each key."""
    modulus = (np.uint64(a), np.uint64(b))
    halves = list(np.divmod(x, modulus[1]))
    for r in range(ROUNDS):
        mixed = _mix(halves[1 - r % 2] + (key + np.uint64((r + 1) * GOLDEN & MASK)))
        side = r % 2
        halves[side] = (halves[side] + mixed % modulus[side]) % modulus[side]
    return halves[0] * modulus[1] + halves[1]


def windows_at(seed: int, first: int, count: int, windows: int) -> np.ndarray:
    """Return the windows at places ``first .. first + count - 1`` of a run with ``seed``, int64 (count,).

    Args:
        seed: of the run.
        first: the first place.
        count: how many.
        windows: training windows in an epoch, at least 1.
    """
    place = np.arange(first, first + count, dtype=np.uint64)
    epoch, at = np.divmod(place, np.uint64(windows))
    base = _mix(np.array([(seed + 1) * GOLDEN & MASK], np.uint64))
    key = _mix(base ^ _mix(epoch + np.uint64(GOLDEN)))
    a = math.isqrt(windows - 1) + 1
    b = -(-windows // a)
    out = _encipher(at, key, a, b)
    astray = np.flatnonzero(out >= windows)
    while len(astray):
        out[astray] = _encipher(out[astray], key[astray], a, b)
        astray = astray[out[astray] >= windows]
    return out.astype(np.int64)
