"""The first reading of a corpus: its documents by digests, and those that may be held out.

Each process surveys a group of parts at a time and leaves one file, so that a survey can be resumed: a line
of JSON (:class:`Surveyed`), the digests of all documents in order, and the content of the candidates.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from scaling.corpora.base import DocumentCorpus, Part, Tally
from scaling.data.candidates import (
    DIGEST_BYTES,
    HASHES,
    Candidate,
    Candidates,
    Content,
    Wanted,
    digest_of,
    hash_of,
    raw,
)
from scaling.data.processes import shared_out
from scaling.data.progress import Meter, Report
from scaling.data.request import Request
from scaling.data.work import Work
from scaling.files import aside, naming
from scaling.recipe.quantities import Frozen

GROUP_BYTES = 1 << 26  # of files, that a process reads at a time


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


class SurveyedPart(Frozen):
    """``sha256`` is over the digests of the documents of a part."""

    documents: int
    sha256: str


class Surveyed(Frozen):
    """What a group of parts holds; ``bytes`` of text, or of tokens in 4 bytes each. ``candidates`` lie in its
    file in this order: its documents with hashes below ``bound``, beyond which none is needed."""

    parts: tuple[SurveyedPart, ...]
    documents: int
    bytes: int
    tally: dict[str, int]
    bound: int
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
        bound=candidates.bound if candidates else 0,
        candidates=tuple(candidate for _, candidate, _ in kept),
    )
    with aside(task.file) as draft, naming(draft), draft.open("wb") as file:
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


@dataclass(frozen=True)
class SurveyedCorpus:
    """What a survey found: in each group, and the candidates of all."""

    groups: tuple[Group, ...]
    surveyed: dict[int, Surveyed]
    candidates: Candidates | None
    files: dict[int, Path]

    @property
    def documents(self) -> int:
        return sum(surveyed.documents for surveyed in self.surveyed.values())

    @property
    def bytes(self) -> int:
        return sum(surveyed.bytes for surveyed in self.surveyed.values())

    @property
    def tally(self) -> dict[str, int]:
        counts = sum((Counter(surveyed.tally) for surveyed in self.surveyed.values()), Counter[str]())
        return dict(sorted(counts.items()))


def survey_corpus(
    request: Request, groups: Sequence[Group], work: Work, processes: int, report: Report
) -> SurveyedCorpus:
    """Survey all groups of a corpus that have not been surveyed.

    Args:
        request: what is wanted of the corpus.
        groups: of its parts.
        work: where the files of the survey go.
        processes: how many share the work.
        report: is told how far it is.

    Raises:
        UserError: as :func:`survey`.
    """
    wanted, text, surveyed = _wanted(request), request.tokenizer is not None, dict[int, Surveyed]()
    candidates = Candidates(wanted, text, wanted.first_bound()) if wanted else None

    def note(group: Group, found: Surveyed) -> None:
        surveyed[group.number] = found.model_copy(update={"candidates": ()})
        if candidates is not None:
            candidates.bound = min(candidates.bound, found.bound)
            for candidate in found.candidates:
                candidates.add(group.number, candidate, None)
            candidates.trim()

    missing = list[Group]()
    for group in groups:
        before = read_survey(work.survey(group.number))
        missing.append(group) if before is None else note(group, before)
    total = sum(group.size for group in groups)
    meter = Meter(report, "surveying", total, total - sum(group.size for group in missing))
    tasks = (
        SurveyTask(
            corpus=request.corpus,
            group=group,
            text=text,
            wanted=wanted,
            bound=candidates.bound if candidates else HASHES,
            file=work.survey(group.number),
        )
        for group in missing
    )
    for group, found in shared_out(survey, tasks, processes):
        note(group, found)
        meter.add(group.size)
    files = {group.number: work.survey(group.number) for group in groups}
    return SurveyedCorpus(tuple(groups), surveyed, candidates, files)


def _wanted(request: Request) -> Wanted | None:
    match request.split:
        case "hash":
            share = request.share
            return Wanted(request.documents, request.tokens, None if share == "auto" else share)
        case "all":
            return Wanted(request.documents, request.tokens, 1.0)
        case _:
            return None
