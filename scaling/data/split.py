"""Which documents are held out of training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scaling.corpora.base import Document
from scaling.data.candidates import (
    HASHES,
    Candidate,
    Candidates,
    Content,
    Wanted,
    bound_above,
    digest_of,
    hash_of,
    raw,
)
from scaling.data.facts import MOST_HELD_OUT, MOST_HELD_OUT_BYTES
from scaling.data.overlap import WINDOW, overlapping_documents
from scaling.data.survey import contents
from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import Coder

MOST_SPREAD_BYTES = 10**9  # of documents, which `spread` holds in memory


@dataclass(frozen=True)
class Exclusion:
    """The rule by which training leaves documents out: hashes below ``bound``, or one of ``digests``."""

    bound: int = 0
    digests: frozenset[bytes] = frozenset()

    def holds(self, digest: bytes) -> bool:
        return hash_of(digest) < self.bound or digest in self.digests

    def facts(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {"bound": self.bound, "digests": sorted(digest.hex() for digest in self.digests)}


@dataclass(frozen=True)
class HeldOutText:
    """A held-out document as it will be stored."""

    name: str
    content: Content


@dataclass(frozen=True)
class Split:
    """``facts`` decide, with the content of the corpus, which documents are held out; ``stored`` are in the
    order in which they are evaluated."""

    facts: dict[str, str | int | float]
    exclusion: Exclusion
    stored: tuple[HeldOutText, ...]


def candidates_of(found: Candidates, files: Mapping[int, Path]) -> list[tuple[Candidate, Content]]:
    """Read the candidates of a surveyed corpus, in the order of their hashes."""
    ordered = [(place[0], candidate) for place, candidate, _ in found.ordered()]
    texts = dict[str, Content]()
    for group in sorted({group for group, _ in ordered}):
        wanted = {candidate.digest for number, candidate in ordered if number == group}
        texts |= contents(files[group], wanted, found.text)
    return [(candidate, texts[candidate.digest]) for _, candidate in ordered]


def untrained_bound(found: Candidates) -> int:
    """Return the bound of the hashes that a tokenizer is not trained on, before the split can be known.

    It is the share where one is given. Else it is a power of two of 1/64 to 1/2 of all hashes, not below
    that of the candidates: so coarse that a little more or less to evaluate seldom changes the tokenizer.
    """
    if found.wanted.share is not None:
        return int(found.wanted.share * HASHES)
    return min(max(1 << (found.bound - 1).bit_length(), HASHES // 64), HASHES // 2)


def split_by_hash(
    candidates: Sequence[tuple[Candidate, Content]], found: Candidates, coder: Coder | None, separated: bool
) -> Split:
    """Hold out the documents of least hash: a share given, or the smallest of four significant bits that
    gives enough.

    Args:
        candidates: in the order of hashes.
        found: them as the survey found them, and how much is wanted.
        coder: cuts text; None for documents that are tokens.
        separated: whether a separator stands before each document; if not, its first token is not predicted.

    Raises:
        UserError: there are not as many documents and tokens as wanted.
    """
    wanted, storable = found.wanted, _storable(candidates)
    documents = tokens = last = 0
    lacking = "documents"
    for candidate, content in storable:
        if documents >= wanted.documents and tokens >= wanted.tokens:
            break
        cut = coder.encode([content])[0] if coder and isinstance(content, bytes) else content
        if not len(cut):
            continue
        lacking = "documents" if documents < wanted.documents else "tokens"
        documents, last = documents + 1, candidate.hash
        tokens += max(0, len(cut) - (not separated))
    bound = bound_above(last) if wanted.share is None else int(wanted.share * HASHES)
    enough = documents >= wanted.documents and tokens >= wanted.tokens
    if not enough or (bound > HASHES // 2 and wanted.share is None):
        all_seen = found.bound == wanted.first_bound()
        raise UserError(_too_few(lacking, documents, tokens, wanted, all_seen))
    stored = tuple(HeldOutText(c.name, content) for c, content in storable if c.hash < bound)
    return Split({"kind": "hash", "share": bound / HASHES}, Exclusion(bound=bound), stored)


def _too_few(field: str, documents: int, tokens: int, wanted: Wanted, all_seen: bool) -> Complaint:
    """Say what is lacking; ``all_seen``: all documents that may be held out were there to choose from."""
    value, found = (wanted.documents, documents) if field == "documents" else (wanted.tokens, tokens)
    if not all_seen and found < value:
        message = f"{field} = {value}: a store holds {documents} of these documents at most: {tokens} tokens"
        return Complaint(message, f"evaluation.{field}", "ask for less")
    if wanted.share is not None:
        message = f"{field} = {value}: share = {wanted.share} of this corpus holds out only {found}"
        return Complaint(message, f"evaluation.{field}", "ask for less, or hold out a larger share")
    message = f"{field} = {value}: that would hold out more than half of this corpus"
    hint = "ask for less, take a larger corpus, or give evaluation text of its own (sets, split: none)"
    if all_seen and documents < 10:
        message += f", which is {documents} document{'s' if documents != 1 else ''}"
        hint = "cut files into documents (document: paragraph or line, {separator: ...}), or ask for less"
    return Complaint(message, f"evaluation.{field}", hint)


def all_held_out(candidates: Sequence[tuple[Candidate, Content]]) -> Split:
    """Hold out everything: an evaluation set of its own. In the order of hashes, each content once."""
    stored = tuple(HeldOutText(candidate.name, content) for candidate, content in _storable(candidates))
    return Split({"kind": "all"}, Exclusion(bound=HASHES), stored)


def _storable(candidates: Iterable[tuple[Candidate, Content]]) -> list[tuple[Candidate, Content]]:
    chosen, size = list[tuple[Candidate, Content]](), 0
    for candidate, content in candidates:
        size += candidate.size
        if len(chosen) == MOST_HELD_OUT or (chosen and size > MOST_HELD_OUT_BYTES):
            break
        chosen.append((candidate, content))
    return chosen


def split_spread(documents: Sequence[Document], count: int) -> Split:
    """Hold out ``count`` documents spread evenly over the corpus; see :func:`held_out`.

    Raises:
        UserError: too few documents are free of shared text.
    """
    chosen = [documents[i] for i in held_out(documents, count)]
    return Split(
        {"kind": "spread", "documents": count},
        Exclusion(digests=frozenset(digest_of(document.content) for document in chosen)),
        tuple(HeldOutText(document.name, document.content) for document in chosen),
    )


def held_out(documents: Sequence[Document], count: int) -> list[int]:
    """Return the places of ``count`` documents spread evenly over the positions that share no text with any
    other.

    For each of ``count`` evenly spaced positions the nearest document is taken, the earlier of two.

    Raises:
        UserError: too few documents are free of shared text.
    """
    unclean = overlapping_documents([raw(document.content) for document in documents])
    free = [i for i in range(len(documents)) if i not in unclean]
    if count > len(free) or count >= len(documents):
        message = (
            f"documents = {count}: at most {max(0, min(len(free), len(documents) - 1))} of the "
            f"{len(documents)} documents can be held out: one must be left, none may share {WINDOW} bytes "
            "with another"
        )
        raise UserError(Complaint(message, "evaluation.documents", "hold out fewer documents"))
    positions = [i if d.position is None else d.position for i, d in enumerate(documents)]
    first = min(positions)
    span = max(positions) - first
    chosen: list[int] = []
    for k in range(count):
        position = first + span * (2 * k + 1) / (2 * count)
        nearest = min(free, key=lambda i: (abs(positions[i] - position), i))
        free.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen)


def training_texts(documents: Iterable[Document], exclusion: Exclusion) -> Iterable[bytes]:
    """Yield the text of the documents that are not held out."""
    for document in documents:
        assert not isinstance(document.content, np.ndarray)
        if not exclusion.holds(digest_of(document.content)):
            yield document.content
