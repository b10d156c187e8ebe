"""Search for runs of bytes that two texts share.

Every window of ``WINDOW`` bytes is hashed by a polynomial modulo 2^64 (Karp and Rabin, 1987), built by
doubling: hash(2k bytes) = hash(first k) * base^k + hash(last k). Equal bytes have equal hashes, so a text
whose hashes occur nowhere else shares nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WINDOW = 128  # bytes, a power of two: about 20 words, more than a formula of address, less than a paragraph
BASE = 0x9E3779B97F4A7C15  # odd, so that no byte's weight vanishes modulo 2^64


def window_hashes(text: bytes, window: int = WINDOW) -> np.ndarray:
    """Hash the window that starts at each byte: uint64 (len(text) - window + 1,)."""
    hashes = np.frombuffer(text, np.uint8).astype(np.uint64)
    span, power = 1, BASE
    while span < window:
        hashes = hashes[:-span] * np.uint64(power) + hashes[span:]
        span, power = 2 * span, power * power % 2**64
    return hashes


def overlapping_documents(texts: Sequence[bytes], window: int = WINDOW) -> set[int]:
    """Return the positions of texts that may share a run of ``window`` bytes with another text (by hash
    alone)."""
    hashes = [window_hashes(text, window) for text in texts]
    owner = np.repeat(np.arange(len(texts)), [len(h) for h in hashes])
    joined = np.concatenate(hashes)
    order = np.argsort(joined, kind="stable")
    ordered, owners = joined[order], owner[order]
    shared = (ordered[1:] == ordered[:-1]) & (owners[1:] != owners[:-1])
    return {*owners[1:][shared].tolist(), *owners[:-1][shared].tolist()}
