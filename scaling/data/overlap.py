"""Search for runs of words, of tokens or of bytes that two texts share, by hashes of 64 bits.

A run of n units is hashed by a polynomial modulo 2^64 (Karp and Rabin, 1987), built by doubling:
hash(2k units) = hash(first k) * base^k + hash(last k). Equal runs have equal hashes, so a text whose hashes
occur nowhere else shares nothing; of 10^6 runs looked for among 10^10 others, 5e-4 are found by chance.

Training and evaluation text are compared by 13-grams of words, as by Brown et al., "Language models are
few-shot learners" (2020), appendix C: long enough that what is shared was copied. A word is a run of ASCII
letters, digits and bytes beyond ASCII, without regard to case; Han characters and kana, which no blanks
divide, are a word each. A document of fewer than 13 words has no 13-gram.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

WINDOW = 128  # bytes: about 20 words, more than a formula of address, less than a paragraph
NGRAM = 13  # words, or tokens where there is no text
BASE = 0x9E3779B97F4A7C15  # odd, so that no unit's weight vanishes modulo 2^64
PASS_BYTES = 1 << 25  # of text, whose hashes are sorted at a time
BLOCK = 1 << 16  # bytes hashed at a time: what is made of them stays in the processor's cache
_LETTER_BASE, _FACTOR, _SHIFT = 0xD1342543DE82EF95, np.uint64(0xBF58476D1CE4E5B9), np.uint64(32)


def run_hashes(units: np.ndarray, length: int) -> np.ndarray:
    """Hash the run of ``length`` units that starts at each unit, uint64 (max(0, n - length + 1),)."""
    count = len(units) - length + 1
    blocks = [units[first : first + BLOCK + length - 1] for first in range(0, count, BLOCK)]
    return np.concatenate([np.zeros(0, np.uint64), *(_run_hashes(block, length) for block in blocks)])


def _run_hashes(units: np.ndarray, length: int) -> np.ndarray:
    span, power, doubled = 1, BASE, units.astype(np.uint64)
    hashes, covered = np.zeros(len(units) + 1, np.uint64), 0
    while True:
        if length & span:
            count = len(units) - covered - span + 1
            hashes = hashes[:count] * np.uint64(power) + doubled[covered : covered + count]
            covered += span
        if covered == length:
            return hashes
        doubled = doubled[:-span] * np.uint64(power) + doubled[span:]
        span, power = 2 * span, power * power % 2**64


def overlapping_documents(texts: Sequence[bytes], window: int = WINDOW) -> set[int]:
    """Return the positions of texts that may share a run of ``window`` bytes with another text (by hash
    alone).

    About ``PASS_BYTES`` of hashes are compared at a time, 50 bytes of memory for each.
    """
    passes, found = -(-sum(map(len, texts)) // PASS_BYTES), set[int]()
    for number in range(passes):
        found |= _in_several([_hashes_of_pass(text, window, number, passes) for text in texts])
    return found


def _hashes_of_pass(text: bytes, window: int, number: int, passes: int) -> np.ndarray:
    hashes = run_hashes(np.frombuffer(text, np.uint8), window)
    return hashes if passes == 1 else hashes[hashes % np.uint64(passes) == number]


def _in_several(hashes: Sequence[np.ndarray]) -> set[int]:
    """Return the positions of the arrays that have a value in common with another."""
    owner = np.repeat(np.arange(len(hashes)), [len(own) for own in hashes])
    joined = np.concatenate(hashes)
    order = np.argsort(joined, kind="stable")
    ordered, owners = joined[order], owner[order]
    shared = (ordered[1:] == ordered[:-1]) & (owners[1:] != owners[:-1])
    return {*owners[1:][shared].tolist(), *owners[:-1][shared].tolist()}


def ngrams_of_text(*documents: bytes) -> np.ndarray:
    """Hash the 13-grams of words of documents, none across two of them: uint64, one for each place.

    About 100 MB/s; give many short documents at once, a few megabytes together.
    """
    text = b"\n".join(documents)
    starts, words = _words(text)
    ends = np.cumsum([len(document) + 1 for document in documents])
    return _ngrams(words, np.searchsorted(starts, ends))


def ngrams_of_tokens(*documents: np.ndarray) -> np.ndarray:
    """Hash the 13-grams of tokens of documents, none across two of them: uint64, one for each place."""
    if not documents:
        return np.zeros(0, np.uint64)
    tokens = np.concatenate(documents).astype(np.uint64)
    return _ngrams(_scattered(tokens + np.uint64(BASE)), np.cumsum([len(document) for document in documents]))


@dataclass(frozen=True)
class NGrams:
    """The hashes of what is looked for: ``values``, unique and sorted, uint64 (n,)."""

    values: np.ndarray
    bucket_taken: np.ndarray  # bool (2^k,): of the first k bits of a value; most hashes looked up end here
    shift: np.uint64

    @classmethod
    def of(cls, hashes: np.ndarray) -> NGrams:
        values = np.unique(hashes)
        bits = min(26, max(8, 4 + len(values).bit_length()))
        taken, shift = np.zeros(1 << bits, bool), np.uint64(64 - bits)
        taken[values >> shift] = True
        return cls(values, taken, shift)

    def __len__(self) -> int:
        return len(self.values)

    def shared(self, hashes: np.ndarray) -> np.ndarray:
        """Return which of :attr:`values` are among ``hashes``, bool (n,): combine parts of a corpus by
        ``|``."""
        found = np.zeros(len(self.values), bool)
        likely = hashes[self.bucket_taken[hashes >> self.shift]]
        if len(likely):
            places = np.minimum(np.searchsorted(self.values, likely), len(self.values) - 1)
            found[places[self.values[places] == likely]] = True
        return found


def windows_within(windows: np.ndarray, tokens: np.ndarray, block: int = 1 << 20) -> np.ndarray:
    """Return which windows, (W, length), occur verbatim anywhere in ``tokens``, bool (W,); by hash alone.

    About 100 million tokens a second, ``block`` of them at a time, so that ``tokens`` may be memory-mapped.
    """
    if not len(windows):
        return np.zeros(0, bool)
    length = windows.shape[1]
    own = np.concatenate([_runs_of_tokens(window, length) for window in windows])
    looked_for = NGrams.of(own)
    found = np.zeros(len(looked_for), bool)
    for first in range(0, max(1, len(tokens) - length + 1), block):
        found |= looked_for.shared(_runs_of_tokens(tokens[first : first + block + length - 1], length))
    return found[np.searchsorted(looked_for.values, own)]


def _runs_of_tokens(tokens: np.ndarray, length: int) -> np.ndarray:
    return _scattered(run_hashes(tokens, length))


def _ngrams(units: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Hash the 13-grams of hashed units, within each of the documents that end at ``ends``."""
    hashes = run_hashes(units, NGRAM)
    across = (ends[:, None] - np.arange(1, NGRAM)).ravel()  # they begin in one document and end in another
    inside = np.ones(len(hashes), bool)
    inside[across[(across >= 0) & (across < len(hashes))]] = False
    return hashes[inside]


def _scattered(hashes: np.ndarray) -> np.ndarray:
    """Spread hashes over all 64 bits, one to one."""
    return (hashes ^ (hashes >> _SHIFT)) * _FACTOR


def _words(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return the places at which words begin, int64 (n,), and their hashes, uint64 (n,).

    A word longer than a block is cut into words of a block.
    """
    letters, begins_word, powers, inverses = _tables()
    codes = np.frombuffer(text, np.uint8)
    starts, words = [np.zeros(0, np.int64)], [np.zeros(0, np.uint64)]
    first = 0
    while first < len(codes):
        block = codes[first : first + BLOCK]
        weights = letters[block]
        inside = weights != 0
        begins = inside.copy()
        begins[1:] &= ~inside[:-1] | begins_word[block[1:]]
        here = np.flatnonzero(begins)
        following = first + len(block)
        if len(here) and here[-1] > 0 and inside[-1] and following < len(codes):  # may go on: in the next
            following = first + int(here[-1])
            weights, here = weights[: here[-1]], here[:-1]
        if len(here):
            weights *= powers[: len(weights)]
            starts.append(here + first)
            words.append(_scattered(np.add.reduceat(weights, here) * inverses[here]))
        first = following
    return np.concatenate(starts), np.concatenate(words)


@cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the weight of each byte, 0 between words, uint64 (256,); whether a byte begins a word of its
    own, bool (256,); and powers of the base and of its inverse, uint64 (BLOCK,)."""
    codes = np.arange(256)
    lower = np.where((codes >= ord("A")) & (codes <= ord("Z")), codes + 32, codes)
    weights = lower.astype(np.uint64)
    for _ in range(3):
        weights = _scattered(weights + np.uint64(BASE))
    weights[[c for c in range(128) if not chr(c).isalnum()]] = 0
    alone = (codes >= 0xE3) & (codes <= 0xE9)  # first bytes of U+3000 to U+9FFF in UTF-8
    steps = np.full(BLOCK, _LETTER_BASE, np.uint64)
    back = np.full(BLOCK, pow(_LETTER_BASE, -1, 2**64), np.uint64)
    steps[0] = back[0] = 1
    return weights, alone, np.cumprod(steps), np.cumprod(back)
