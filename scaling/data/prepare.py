"""From a corpus to a store: survey, tokenizer, split, tokens.

Documents are read twice, by as many processes as are given, a group of about 64 MB of files at a time. What a
group gave is kept until the store is whole, so that an attempt that was killed is resumed there.

Memory does not grow with the corpus. A process holds one document, or 1 MB of short ones, with their tokens
and hashes, about 40 bytes for each byte of text; the digests and places of the documents of its group, 24
bytes each; the candidates for evaluation of its group, and the hashes of the evaluated 13-grams. The first
process also holds the held-out documents that are stored (at most 10,000 of 64 MB together) and the list of
parts. ``split: spread`` holds all documents, and is refused above 1 GB.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from platform import python_version

import numpy as np

from scaling.corpora.base import Document, Tally
from scaling.data.facts import INDEX, Overlap, StoreFacts, read_facts, store_folder
from scaling.data.processes import shared_out
from scaling.data.progress import Meter, Progress, Report, Step, quiet
from scaling.data.request import FORMAT, Request, answer_path, find_by_key, misfits, short_hash
from scaling.data.shards import (
    Coding,
    ShardTask,
    Written,
    ngrams,
    write_evaluation,
    write_shard,
    written_before,
)
from scaling.data.split import (
    MOST_SPREAD_BYTES,
    Exclusion,
    Split,
    all_held_out,
    candidates_of,
    split_by_hash,
    split_spread,
    training_texts,
)
from scaling.data.survey import (
    HASHES,
    Candidates,
    Group,
    Surveyed,
    SurveyTask,
    Wanted,
    content_sha256,
    grouped,
    raw,
    read_survey,
    survey,
)
from scaling.data.work import Work, alone
from scaling.errors import Complaint, UserError
from scaling.files import sync, write_json, write_text
from scaling.tokenizers.base import TokenizerFacts

SMALL_CORPUS = 1 << 24  # bytes of files that are not worth starting processes for


def prepare(request: Request, processes: int = 1, report: Report = quiet) -> StoreFacts:
    """Return the store of a request; prepare it if it is not there.

    Of several processes that want the same, one works and the others wait.

    Raises:
        UserError: the corpus, its tokenizer or the split cannot be had as requested.
        OSError: the store cannot be written.
    """
    parts = request.corpus.parts(request.folder)
    key = request.key(parts)
    if (known := find_by_key(key)) is not None:
        return known
    with alone(key, report):
        if (known := find_by_key(key)) is not None:
            return known
        with Work.begin(request, key, _versions()) as work:
            groups = grouped(parts)
            if sum(group.size for group in groups) < SMALL_CORPUS:
                processes = 1
            facts = _Preparation(request, groups, work, processes, report).store()
            write_json(answer_path(key), {"fingerprint": facts.fingerprint})
        return facts


def _versions() -> dict[str, str]:
    packages = ("scaling-laws", "numpy", "tokenizers")
    return {"python": python_version(), **{name: version(name) for name in packages}}


@dataclass(frozen=True)
class _Corpus:
    """What the survey found. ``content_sha256`` is of the documents in order, wherever they lie."""

    surveys: dict[int, Surveyed]
    candidates: Candidates | None
    content_sha256: str

    @property
    def documents(self) -> int:
        return sum(surveyed.documents for surveyed in self.surveys.values())

    @property
    def bytes(self) -> int:
        return sum(surveyed.bytes for surveyed in self.surveys.values())

    @property
    def tally(self) -> dict[str, int]:
        counts = sum((Counter(surveyed.tally) for surveyed in self.surveys.values()), Counter[str]())
        return dict(sorted(counts.items()))


@dataclass(frozen=True)
class _Preparation:
    """One attempt, under the lock of its request."""

    request: Request
    groups: Sequence[Group]
    work: Work
    processes: int
    report: Report

    @property
    def text(self) -> bool:
        return self.request.tokenizer is not None

    def store(self) -> StoreFacts:
        corpus = self._survey()
        if not corpus.documents:
            raise UserError(Complaint("the corpus has no text: every document is empty", "files"))
        spread = self._split_spread(corpus) if self.request.split == "spread" else None
        coding = self._coding(corpus, spread)
        split = spread or self._split(corpus, coding)
        fingerprint = self._fingerprint(corpus, coding.facts, split)
        with suppress(UserError):
            if not misfits(known := read_facts(fingerprint)):
                return known
        return self._write(fingerprint, corpus, coding, split)

    def _wanted(self) -> Wanted | None:
        match self.request.split:
            case "hash":
                share = self.request.share
                return Wanted(self.request.documents, self.request.tokens, None if share == "auto" else share)
            case "all":
                return Wanted(self.request.documents, self.request.tokens, 1.0)
            case _:
                return None

    def _survey(self) -> _Corpus:
        wanted, surveys = self._wanted(), dict[int, Surveyed]()
        candidates = Candidates(wanted, self.text, wanted.first_bound()) if wanted else None

        def note(group: Group, surveyed: Surveyed) -> None:
            surveys[group.number] = surveyed.model_copy(update={"candidates": ()})
            if candidates is not None:
                for candidate in surveyed.candidates:
                    candidates.add(group.number, candidate, None)
                candidates.trim()

        missing = list[Group]()
        for group in self.groups:
            before = read_survey(self.work.survey(group.number))
            note(group, before) if before is not None else missing.append(group)
        meter = self._meter("surveying", missing)
        tasks = (
            SurveyTask(
                corpus=self.request.corpus,
                group=group,
                text=self.text,
                wanted=wanted,
                bound=candidates.bound if candidates else HASHES,
                file=self.work.survey(group.number),
            )
            for group in missing
        )
        for group, surveyed in shared_out(survey, tasks, self.processes):
            note(group, surveyed)
            meter.add(group.size)
        files = [self.work.survey(group.number) for group in self.groups]
        return _Corpus(surveys, candidates, content_sha256(files))

    def _meter(self, step: Step, missing: Sequence[Group]) -> Meter:
        total = sum(group.size for group in self.groups)
        return Meter(self.report, step, total, total - sum(group.size for group in missing))

    def _documents(self) -> Iterator[Document]:
        tally = Tally()
        for group in self.groups:
            for part in group.parts:
                yield from self.request.corpus.documents(part, tally)

    def _split_spread(self, corpus: _Corpus) -> Split:
        if corpus.bytes > MOST_SPREAD_BYTES:
            message = f"split = spread: it holds all documents in memory, here {corpus.bytes / 1e9:.1f} GB"
            raise UserError(Complaint(message, "evaluation.split", "use split: hash"))
        documents = list(self._documents())
        if self.request.corpus.kind == "shipped":
            text = sha256(b"".join(raw(document.content) for document in documents)).hexdigest()
            if text != self.request.corpus.identity()["text_sha256"]:
                raise RuntimeError(
                    f"{self.request.label} is damaged (sha256 differs); install scaling-laws again"
                )
        return split_spread(documents, self.request.documents)

    def _coding(self, corpus: _Corpus, spread: Split | None) -> Coding:
        """Open the tokenizer. One that is trained here sees no document that may be held out."""
        tokenizer = self.request.tokenizer
        if tokenizer is None:
            raise NotImplementedError("a corpus of tokens")
        if self.request.tokenizer_of is not None:
            other = read_facts(self.request.tokenizer_of)
            file = other.folder / other.coder_file if other.coder_file else None
        else:
            self.report(Progress("training the tokenizer"))
            exclusion = spread.exclusion if spread else Exclusion()
            if corpus.candidates is not None:
                exclusion = Exclusion(bound=min(corpus.candidates.bound, HASHES // 2))
            file = tokenizer.prepared(
                self.request.folder,
                self.work.tokenizers,
                short_hash({"content": corpus.content_sha256, "without": exclusion.facts()}),
                lambda: training_texts(self._documents(), exclusion),
            )
        return Coding(self._separated(tokenizer.open(file).facts), tokenizer, file)

    def _separated(self, facts: TokenizerFacts) -> TokenizerFacts:
        return facts if self.request.separator == "keep" else facts.model_copy(update={"separator": None})

    def _split(self, corpus: _Corpus, coding: Coding) -> Split:
        if corpus.candidates is None:
            return Split({"kind": "none"}, Exclusion(), ())
        files = {group.number: self.work.survey(group.number) for group in self.groups}
        candidates = candidates_of(corpus.candidates, files)
        if self.request.split == "all":
            return all_held_out(candidates)
        return split_by_hash(candidates, corpus.candidates.wanted, coding.open())

    def _fingerprint(self, corpus: _Corpus, tokenizer: TokenizerFacts, split: Split) -> str:
        """Cover all that decides the tokens and which of them are held out.

        The shipped corpora, as bytes, keep the fingerprints that they had when there was nothing else.
        """
        identity, kind = self.request.corpus.identity(), self.request.corpus.kind
        of_old = (kind, split.facts["kind"], tokenizer.name, tokenizer.separator)
        if of_old == ("shipped", "spread", "bytes", 0):
            old = {"kind": "corpus", "format": 1, "tokenizer": "bytes"}
            count = self.request.documents
            return short_hash(old | {"text_sha256": identity["text_sha256"], "eval_documents": count})
        return short_hash(
            {
                "kind": "corpus",
                "format": FORMAT,
                "content_sha256": corpus.content_sha256,
                "corpus": identity,
                "tokenizer": tokenizer.model_dump(mode="json"),
                "split": split.facts,
            }
        )

    def _write(self, fingerprint: str, corpus: _Corpus, coding: Coding, split: Split) -> StoreFacts:
        folder, done = self.work.store(fingerprint), self.work.done(fingerprint)
        coder_file = None
        if coding.file is not None:
            coder_file = f"tokenizer{coding.file.suffix}"
            shutil.copyfile(coding.file, folder / coder_file)
        held_out, evaluation, evaluation_bytes = (), None, None
        if split.stored:
            held_out, evaluation, evaluation_bytes = write_evaluation(folder, split.stored, coding)
        looked_for = None
        if split.stored and self.request.split != "all":
            looked_for = done / "ngrams.npy"
            hashes = [ngrams([document.content]) for document in split.stored]
            np.save(looked_for, np.unique(np.concatenate(hashes)))
        written = self._write_shards(corpus, coding, split, looked_for, folder, done)
        shards = tuple(each.shard for each in written if each.shard is not None)
        tokens, documents = sum(s.tokens for s in shards), sum(s.documents for s in shards)
        separators = documents if coding.facts.separator is not None else 0
        size = sum(each.bytes for each in written)
        facts = StoreFacts(
            schema=2,
            fingerprint=fingerprint,
            corpus=self.request.label,
            content_sha256=corpus.content_sha256,
            tokenizer=coding.facts,
            split=split.facts,
            documents=corpus.documents,
            bytes=corpus.bytes if self.text else None,
            train_documents=documents,
            train_tokens=tokens,
            separators=separators,
            bytes_per_token=size / (tokens - separators) if self.text and tokens > separators else None,
            shards=shards,
            evaluation=evaluation,
            evaluation_bytes=evaluation_bytes,
            held_out=held_out,
            held_out_documents=corpus.documents - documents,
            tally=corpus.tally,
            overlap=_overlap(looked_for, written, done),
            coder=self.request.tokenizer and self.request.tokenizer.model_dump(mode="json"),
            coder_file=coder_file,
            versions=_versions(),
        )
        return _move(folder, facts)

    def _write_shards(
        self,
        corpus: _Corpus,
        coding: Coding,
        split: Split,
        looked_for: Path | None,
        folder: Path,
        done: Path,
    ) -> list[Written]:
        if self.request.split == "all":
            return []
        tasks = [
            ShardTask(
                corpus=self.request.corpus,
                group=group,
                surveyed=corpus.surveys[group.number].parts,
                coding=coding,
                exclusion=split.exclusion,
                ngrams=looked_for,
                folder=folder,
                result=done / f"{group.number:05d}.json",
            )
            for group in self.groups
        ]
        before = {task.group.number: written_before(task) for task in tasks}
        written = {number: each for number, each in before.items() if each is not None}
        missing = [task for task in tasks if task.group.number not in written]
        meter = self._meter("tokenising", [task.group for task in missing])
        for group, each in shared_out(write_shard, missing, self.processes):
            written[group.number] = each
            meter.add(group.size)
        return [written[group.number] for group in self.groups]


def _overlap(looked_for: Path | None, written: Iterable[Written], done: Path) -> Overlap | None:
    """Join what the groups share with the evaluated documents."""
    if looked_for is None:
        return None
    count = len(np.load(looked_for, mmap_mode="r"))
    shared = np.zeros(-(-count // 8), np.uint8)
    for each in written:
        if each.shared is not None:
            shared |= np.fromfile(done / each.shared, np.uint8)
    return Overlap(ngrams=count, shared_ngrams=int(np.unpackbits(shared).sum()))


def _move(folder: Path, facts: StoreFacts) -> StoreFacts:
    """Complete a store by its index and put it where stores lie; one that is damaged makes room."""
    write_text(folder / INDEX, facts.model_dump_json(by_alias=True, indent=1) + "\n")
    place = store_folder(facts.fingerprint)
    if place.exists():
        broken = folder.with_name(f"{folder.name}-broken")
        place.rename(broken)
        shutil.rmtree(broken)
    folder.rename(place)
    sync(place.parent)
    return facts
