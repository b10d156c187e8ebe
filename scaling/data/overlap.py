"""Exact search for runs of bytes that two texts share.

Every window of ``WINDOW`` bytes is hashed by a polynomial modulo 2^64 (Karp and Rabin, 1987), built by
doubling: hash(2k bytes) = hash(first k) * base^k + hash(last k). Equal hashes are only candidates;
their bytes are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

WINDOW = 128  # bytes, a power of two: about 20 words, more than a formula of address, less than a paragraph
BASE = 0x9E3779B97F4A7C15  # odd, so that no byte's weight vanishes modulo 2^64
SIEVE_BITS = 24  # the first bits of a hash, the well mixed ones: a table that a cache holds


def window_hashes(text: bytes, window: int = WINDOW) -> np.ndarray:
    """uint64 (len(text) - window + 1,): the hash of the window that starts at each byte."""
    hashes = np.frombuffer(text, np.uint8).astype(np.uint64)
    span, power = 1, BASE
    while span < window:
        hashes = hashes[:-span] * np.uint64(power) + hashes[span:]
        span, power = 2 * span, power * power % 2**64
    return hashes


def overlapping_documents(texts: Sequence[bytes], window: int = WINDOW) -> set[int]:
    """Positions of texts that may share a run of ``window`` bytes with another text (by hash alone)."""
    hashes = [window_hashes(text, window) for text in texts]
    owner = np.repeat(np.arange(len(texts)), [len(h) for h in hashes])
    joined = np.concatenate(hashes)
    ordered = np.sort(joined)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    at, group = _members_of(repeated)(joined)
    first, last = np.full(len(repeated), len(texts)), np.full(len(repeated), -1)
    np.minimum.at(first, group, owner[at])
    np.maximum.at(last, group, owner[at])
    return set(owner[at][(first != last)[group]].tolist())


def shared_run(held_out: Sequence[bytes], others: Sequence[bytes], window: int = WINDOW) -> bytes | None:
    """A run of ``window`` bytes that occurs in ``held_out`` and in ``others``, or None if there is none."""
    hashes = [window_hashes(text, window) for text in held_out]
    wanted, group = np.unique(np.concatenate(hashes), return_inverse=True)
    ends, members = np.cumsum([len(h) for h in hashes]), _members_of(wanted)
    for text in others:
        for start, value in zip(*members(window_hashes(text, window)), strict=True):
            run = text[start : start + window]
            for place in np.flatnonzero(group == value):
                document = int(np.searchsorted(ends, place, side="right"))
                at = place - (ends[document] - len(hashes[document]))
                if held_out[document][at : at + window] == run:
                    return run
    return None


def _members_of(wanted: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """A function of hashes: positions of those that occur in the sorted ``wanted``, and where there.

    Nearly all are told apart by their first bits; a binary search for each would miss the cache all the time.
    """
    shift = np.uint64(64 - SIEVE_BITS)
    sieve = np.zeros(1 << SIEVE_BITS, bool)
    sieve[wanted >> shift] = True

    def members(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.flatnonzero(sieve[hashes >> shift])
        place = np.minimum(np.searchsorted(wanted, hashes[at]), len(wanted) - 1)
        hit = wanted[place] == hashes[at]
        return at[hit], place[hit]

    return members
