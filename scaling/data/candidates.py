"""Documents that may be held out by hash: those of least hash, as many as are needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from scaling.data.facts import MOST_HELD_OUT, MOST_HELD_OUT_BYTES
from scaling.recipe.quantities import Frozen

DIGEST_BYTES = 16
HASHES = 1 << 64
BYTES_PER_TOKEN = 16  # of text, at most: candidates are kept until they surely have the tokens asked for

Content = bytes | np.ndarray


def raw(content: Content) -> bytes:
    """Return the bytes of a document: its text, or its tokens in 4 bytes each whatever their type was."""
    return content if isinstance(content, bytes) else content.astype("<u4").tobytes()


def digest_of(content: Content) -> bytes:
    """Identify the content of a document."""
    return blake2b(raw(content), digest_size=DIGEST_BYTES).digest()


def hash_of(digest: bytes) -> int:
    """Return the place of a document among all hashes, 0 to 2^64 - 1."""
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True)
class Wanted:
    """How much is to be held out by hash: ``share`` of all hashes, or as many as give enough where None."""

    documents: int
    tokens: int
    share: float | None

    def first_bound(self) -> int:
        return HASHES if self.share is None else int(self.share * HASHES)


class Candidate(Frozen):
    """A document that may be held out: ``place`` is its number in its group, ``size`` of :func:`raw`."""

    name: str
    digest: str
    place: int
    size: int

    @property
    def hash(self) -> int:
        return hash_of(bytes.fromhex(self.digest))

    def least_tokens(self, text: bool) -> int:
        """Return how many tokens can surely be predicted; the first cannot where no separator precedes it."""
        return max(0, self.size // (BYTES_PER_TOKEN if text else 4) - 1)


@dataclass
class Candidates:
    """The documents of least hash that are surely enough, each content once; :attr:`bound` falls as more is
    seen. What is kept of a corpus does not depend on the order in which its parts are seen."""

    wanted: Wanted
    text: bool
    bound: int
    kept: dict[str, tuple[tuple[int, int], Candidate, Content | None]] = field(default_factory=dict)
    bytes: int = 0
    limit: int = 1 << 22

    def add(self, group: int, candidate: Candidate, content: Content | None) -> None:
        """Keep a candidate if its hash is below the bound; of equal ones the first in the corpus."""
        if candidate.hash >= self.bound:
            return
        place, known = (group, candidate.place), self.kept.get(candidate.digest)
        if known is not None and known[0] <= place:
            return
        self.bytes += candidate.size + 200 if known is None else 0
        self.kept[candidate.digest] = (place, candidate, content)
        if self.bytes > self.limit:
            self.trim()
            self.limit = max(2 * self.bytes, self.limit)

    def trim(self) -> None:
        """Drop what is beyond enough."""
        ordered = sorted(self.kept.items())
        documents = tokens = size = 0
        for digest, (_, candidate, _) in ordered:
            size += candidate.size
            if documents == MOST_HELD_OUT or (documents and size > MOST_HELD_OUT_BYTES):
                self.bound = min(self.bound, hash_of(bytes.fromhex(digest)))
                break
            documents, tokens = documents + 1, tokens + candidate.least_tokens(self.text)
            if (
                self.wanted.share is None
                and documents >= self.wanted.documents
                and tokens >= self.wanted.tokens
            ):
                self.bound = min(self.bound, bound_above(candidate.hash))
                break
        self.kept = {digest: item for digest, item in ordered if item[1].hash < self.bound}
        self.bytes = sum(item[1].size + 200 for item in self.kept.values())

    def ordered(self) -> list[tuple[tuple[int, int], Candidate, Content | None]]:
        """Return (group and place, candidate, content) in the order of hashes."""
        self.trim()
        return [item for _, item in sorted(self.kept.items())]


def bound_above(value: int) -> int:
    """Return the smallest number of four significant bits above a hash: close to it, and seldom another one
    when documents are added."""
    step = 1 << max(0, value.bit_length() - 4)
    return (value // step + 1) * step
