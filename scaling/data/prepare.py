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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from scaling.canonical import short_hash
from scaling.corpora.base import Document, Tally
from scaling.data.candidates import raw
from scaling.data.facts import StoreFacts, read_facts
from scaling.data.progress import Progress, Report, quiet
from scaling.data.request import FORMAT, Request, answer_path, find_by_key, whole
from scaling.data.shards import Coding
from scaling.data.split import (
    MOST_SPREAD_BYTES,
    Exclusion,
    Split,
    all_held_out,
    candidates_of,
    split_by_hash,
    split_spread,
    training_texts,
    untrained_bound,
)
from scaling.data.survey import Group, SurveyedCorpus, content_sha256, grouped, survey_corpus
from scaling.data.work import Work, alone
from scaling.data.write import Contents, write_store
from scaling.errors import Complaint, UserError
from scaling.files import cache_dir, write_json
from scaling.tokenizers.base import TokenizerFacts

SMALL_CORPUS = 1 << 24  # bytes of files that are not worth starting processes for


def prepare(request: Request, processes: int = 1, report: Report = quiet) -> StoreFacts:
    """Return the store of a request; prepare it if it is not there.

    Of several processes that want the same, one works and the others wait.

    Raises:
        UserError: the corpus, its tokenizer or the split cannot be had as requested.
        OSError: the store cannot be written.
    """
    key = request.key()
    if (known := find_by_key(key)) is not None:
        return known
    with alone(key, report):
        if (known := find_by_key(key)) is not None:
            return known
        with Work.begin(request, key) as work:
            groups = grouped(request.corpus.parts(request.folder))
            if sum(group.size for group in groups) < SMALL_CORPUS:
                processes = 1
            facts = _Preparation(request, groups, work, processes, report).store()
            write_json(answer_path(key), {"fingerprint": facts.fingerprint})
        return facts


@dataclass(frozen=True)
class _Preparation:
    """One attempt, under the lock of its request."""

    request: Request
    groups: Sequence[Group]
    work: Work
    processes: int
    report: Report

    def store(self) -> StoreFacts:
        corpus = survey_corpus(self.request, self.groups, self.work, self.processes, self.report)
        if not corpus.documents:
            raise UserError(Complaint("the corpus has no text: every document is empty", "files"))
        content = content_sha256(corpus.files.values())
        spread = self._split_spread(corpus) if self.request.split == "spread" else None
        coding = self._coding(corpus, content, spread)
        split = spread or self._split(corpus, coding)
        fingerprint = self._fingerprint(content, coding.facts, split)
        if (known := whole(fingerprint)) is not None:
            return known
        contents = Contents(self.request, corpus, content, coding, split)
        return write_store(fingerprint, contents, self.work, self.processes, self.report)

    def _documents(self) -> Iterator[Document]:
        tally = Tally()
        for group in self.groups:
            for part in group.parts:
                yield from self.request.corpus.documents(part, tally)

    def _split_spread(self, corpus: SurveyedCorpus) -> Split:
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

    def _coding(self, corpus: SurveyedCorpus, content: str, spread: Split | None) -> Coding:
        """Open the tokenizer. One that is trained here sees no document that may be held out."""
        tokenizer = self.request.tokenizer
        if tokenizer is None:
            return Coding(self._separated(self.request.corpus.facts()), None, None)
        if self.request.tokenizer_of is not None:
            other = read_facts(self.request.tokenizer_of)
            file = other.folder / other.coder_file if other.coder_file else None
        else:
            self.report(Progress("opening the tokenizer"))
            exclusion = spread.exclusion if spread else Exclusion()
            if corpus.candidates is not None:
                exclusion = Exclusion(bound=untrained_bound(corpus.candidates))
            file = tokenizer.prepared(
                self.request.folder,
                cache_dir(),
                short_hash({"content": content, "without": exclusion.facts()}),
                lambda: training_texts(self._documents(), exclusion),
            )
        return Coding(self._separated(tokenizer.open(file).facts), tokenizer, file)

    def _separated(self, facts: TokenizerFacts) -> TokenizerFacts:
        return facts if self.request.separator == "keep" else facts.model_copy(update={"separator": None})

    def _split(self, corpus: SurveyedCorpus, coding: Coding) -> Split:
        if corpus.candidates is None:
            return Split({"kind": "none"}, Exclusion(), ())
        candidates = candidates_of(corpus.candidates, corpus.files)
        if self.request.split == "all":
            return all_held_out(candidates)
        separated = coding.facts.separator is not None
        return split_by_hash(candidates, corpus.candidates, coding.open(), separated)

    def _fingerprint(self, content: str, tokenizer: TokenizerFacts, split: Split) -> str:
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
                "content_sha256": content,
                "corpus": identity,
                "tokenizer": tokenizer.model_dump(mode="json"),
                "split": split.facts,
            }
        )
