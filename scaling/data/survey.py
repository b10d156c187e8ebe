"""The first reading of a corpus: its documents by digests, and those that may be held out.

Each process surveys a group of parts at a time and leaves one file, so that a survey can be resumed: a line
of JSON (:class:`Surveyed`), the digests of all documents in order, and the content of the candidates.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from scaling.corpora.base import DocumentCorpus, Part, Tally
from scaling.data.facts import MOST_HELD_OUT, MOST_HELD_OUT_BYTES
from scaling.files import aside
from scaling.recipe.quantities import Frozen

GROUP_BYTES = 1 << 26  # of files, that a process reads at a time
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
class Group:
    """Parts that follow each other in the corpus; ``size`` of their files in bytes, about."""

    number: int
    parts: tuple[Part, ...]
    size: int


def grouped(parts: Sequence[Part]) -> list[Group]:
    """Join small parts that follow each other to about 64 MB of files."""
    shares = Counter(part.file for part in parts)
    sizes = {file: os.stat(file).st_size // count for file, count in shares.items()}
    groups, held, size = list[Group](), list[Part](), 0
    for part in parts:
        if held and size + sizes[part.file] > GROUP_BYTES:
            groups.append(Group(len(groups), tuple(held), size))
            held, size = [], 0
        held.append(part)
        size += sizes[part.file]
    return [*groups, Group(len(groups), tuple(held), size)] if held else groups


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
        return self.size // (BYTES_PER_TOKEN if text else 4)


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
                self.bound = min(self.bound, power_above(candidate.hash))
                break
        self.kept = {digest: item for digest, item in ordered if item[1].hash < self.bound}
        self.bytes = sum(item[1].size + 200 for item in self.kept.values())

    def ordered(self) -> list[tuple[tuple[int, int], Candidate, Content | None]]:
        """Return (group and place, candidate, content) in the order of hashes."""
        self.trim()
        return [item for _, item in sorted(self.kept.items())]


def power_above(value: int) -> int:
    """Return the smallest power of two above a hash."""
    return 1 << value.bit_length()


class SurveyedPart(Frozen):
    """``sha256`` is over the digests of the documents of a part."""

    documents: int
    sha256: str


class Surveyed(Frozen):
    """What a group of parts holds; ``bytes`` of text, or of tokens in 4 bytes each. ``candidates`` lie in its
    file in this order."""

    parts: tuple[SurveyedPart, ...]
    documents: int
    bytes: int
    tally: dict[str, int]
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class SurveyTask:
    """A group to survey: candidates below ``bound`` are kept, none where nothing is ``wanted``."""

    corpus: DocumentCorpus
    group: Group
    text: bool
    wanted: Wanted | None
    bound: int
    file: Path


def survey(task: SurveyTask) -> tuple[Group, Surveyed]:
    """Read a group and write its file.

    Raises:
        UserError: as ``DocumentCorpus.documents``.
    """
    tally, digests, parts, size = Tally(), bytearray(), list[SurveyedPart](), 0
    candidates = Candidates(task.wanted, task.text, task.bound) if task.wanted else None
    for part in task.group.parts:
        first = len(digests)
        for document in task.corpus.documents(part, tally):
            content = document.content
            digest, length = digest_of(content), len(content) * (1 if isinstance(content, bytes) else 4)
            if candidates is not None and hash_of(digest) < candidates.bound:
                place = len(digests) // DIGEST_BYTES
                candidate = Candidate(name=document.name, digest=digest.hex(), place=place, size=length)
                candidates.add(task.group.number, candidate, content)
            digests += digest
            size += length
        own = bytes(digests[first:])
        parts.append(SurveyedPart(documents=len(own) // DIGEST_BYTES, sha256=sha256(own).hexdigest()))
    kept = candidates.ordered() if candidates else []
    surveyed = Surveyed(
        parts=tuple(parts),
        documents=len(digests) // DIGEST_BYTES,
        bytes=size,
        tally=dict(tally.counts),
        candidates=tuple(candidate for _, candidate, _ in kept),
    )
    with aside(task.file) as draft, draft.open("wb") as file:
        file.write(surveyed.model_dump_json().encode() + b"\n" + digests)
        file.writelines(raw(content) for _, _, content in kept if content is not None)
    return task.group, surveyed


def read_survey(file: Path) -> Surveyed | None:
    """Return what an earlier attempt found, if its file is whole."""
    try:
        with file.open("rb") as survey_file:
            line = survey_file.readline()
            surveyed = Surveyed.model_validate_json(line)
            rest = os.fstat(survey_file.fileno()).st_size - len(line)
    except (FileNotFoundError, ValidationError):
        return None
    whole = surveyed.documents * DIGEST_BYTES + sum(candidate.size for candidate in surveyed.candidates)
    return surveyed if rest == whole else None


def content_sha256(files: Iterable[Path]) -> str:
    """Hash the digests of all documents in order: the same however they are spread over files."""
    total = sha256()
    for path in files:
        with path.open("rb") as file:
            left = Surveyed.model_validate_json(file.readline()).documents * DIGEST_BYTES
            while left:
                chunk = file.read(min(left, 1 << 20))
                total.update(chunk)
                left -= len(chunk)
    return total.hexdigest()


def contents(path: Path, wanted: set[str], text: bool) -> Iterator[tuple[str, Content]]:
    """Read the (digest, content) of the candidates in a survey's file whose digests are wanted."""
    with path.open("rb") as file:
        surveyed = Surveyed.model_validate_json(file.readline())
        file.seek(surveyed.documents * DIGEST_BYTES, os.SEEK_CUR)
        for candidate in surveyed.candidates:
            if candidate.digest not in wanted:
                file.seek(candidate.size, os.SEEK_CUR)
                continue
            read = file.read(candidate.size)
            yield candidate.digest, read if text else np.frombuffer(read, "<u4")
