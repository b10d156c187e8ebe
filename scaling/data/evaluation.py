"""Which windows of the held-out documents are evaluated: a fixed set, the same for all runs.

A held-out document of n text tokens is the sequence separator, token 1, ..., token n. Its window j has the
``context + 1`` tokens from place ``j * context`` on, so that every predicted token is text and none is
predicted twice; the last window may be padded.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence


def places(windows: int, used: int) -> list[int]:
    """Return ``used`` of ``windows`` places, spread evenly, the first one included."""
    return [i * windows // used for i in range(used)]


def predicted(tokens: int, context: int, used: int) -> int:
    """Count the tokens that the ``used`` windows of a document of ``tokens`` text tokens predict."""
    windows = -(-tokens // context)
    return tokens if used == windows else used * context  # the last one, which may be short, comes last


def evaluated(tokens: Iterable[int], least_documents: int, least_tokens: int) -> int:
    """Count the first documents (given by the tokens that they predict) that are enough to be evaluated.

    All of them, where they are too few.
    """
    documents = total = 0
    for predictable in tokens:
        if documents >= least_documents and total >= least_tokens:
            break
        documents, total = documents + 1, total + predictable
    return documents


def allocate(documents: Sequence[int], context: int, eval_tokens: int) -> list[int]:
    """Return how many windows to use of each document (given by its text tokens), as equal as their lengths
    allow.

    The windows predict at least ``eval_tokens`` tokens, and fewer than ``context`` + one window a document
    more.

    Raises:
        ValueError: the documents have fewer than ``eval_tokens`` tokens.
    """
    if sum(documents) < eval_tokens:
        raise ValueError(f"{eval_tokens} evaluation tokens asked of {sum(documents)}")
    capacity = [-(-tokens // context) for tokens in documents]

    def reached(total: int) -> int:
        used = _level(capacity, total)
        return sum(predicted(n, context, k) for n, k in zip(documents, used, strict=True))

    totals = range(sum(capacity) + 1)
    least = bisect_left(totals, eval_tokens, lo=-(-eval_tokens // context), key=reached)
    return _level(capacity, least)


def _level(capacity: Sequence[int], total: int) -> list[int]:
    """Split ``total`` over boxes of given ``capacity``, filled to one level; the first take the rest."""
    levels = range(max(capacity) + 1)
    level = bisect_right(levels, total, key=lambda level: sum(min(c, level) for c in capacity)) - 1
    used = [min(c, level) for c in capacity]
    above = [i for i, c in enumerate(capacity) if c > level]
    for i in above[: total - sum(used)]:
        used[i] += 1
    return used
