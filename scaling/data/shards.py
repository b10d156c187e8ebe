"""The second reading of a corpus: documents to tokens on disk."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from scaling.corpora.base import DocumentCorpus, Tally
from scaling.data.candidates import Content, digest_of
from scaling.data.facts import HeldOut, Shard, StoreFacts
from scaling.data.overlap import NGrams, ngrams_of_text, ngrams_of_tokens
from scaling.data.request import documents_name
from scaling.data.split import Exclusion, HeldOutText
from scaling.data.survey import Group, SurveyedPart
from scaling.errors import Complaint, UserError
from scaling.files import naming, sync, write_text
from scaling.recipe.quantities import Frozen
from scaling.tokenizers.base import Coder, TextTokenizer, TokenizerFacts
from scaling.tokenizers.kinds import TOKENIZERS

BATCH_BYTES = 1 << 20  # of text, tokenised at once
EVAL_TOKENS, EVAL_BYTES = "eval.tokens", "eval.bytes"


class TokenFile:
    """A file of documents' tokens as it grows, and the place of each document in it."""

    def __init__(self, path: Path, facts: TokenizerFacts):
        self.path, self.facts = path, facts
        self.dtype = np.dtype(facts.dtype).newbyteorder("<")
        self.tokens, self.starts, self.sum = 0, array("Q"), sha256()

    def __enter__(self) -> Self:
        self.file = self.path.open("wb")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        with naming(self.path):
            self.file.close()

    def append(self, documents: Sequence[np.ndarray], names: Sequence[str]) -> None:
        """Write documents (n,), each after the separator if there is one.

        Raises:
            UserError: a token is the separator, or outside the vocabulary; ``where`` is the document.
        """
        facts, between = self.facts, self.facts.separator is not None
        for name, tokens in zip(names, documents, strict=True):
            if int(tokens.max(initial=0)) >= facts.vocab_size:
                message = f"token {tokens.max()}: {facts.name} has a vocabulary of {facts.vocab_size}"
                raise UserError(Complaint(message, name))
            if between and (tokens == facts.separator).any():
                hint = "set data.separator: none, or take it out of the text"
                raise UserError(Complaint(f"the separator, token {facts.separator}, is in it", name, hint))
        joined = np.empty(sum(len(tokens) + between for tokens in documents), self.dtype)
        at = 0
        for tokens in documents:
            self.starts.append(self.tokens + at)
            if between:
                joined[at] = facts.separator
            joined[at + between : at + between + len(tokens)] = tokens
            at += between + len(tokens)
        self.tokens += at
        self.sum.update(joined.data)
        with naming(self.path):
            self.file.write(joined.data)

    def shard(self) -> Shard:
        """Put what was written on the disk, and describe it."""
        with naming(self.path):
            self.file.flush()
            sync(self.path)
        return Shard(
            name=self.path.name, tokens=self.tokens, documents=len(self.starts), sha256=self.sum.hexdigest()
        )


@dataclass(frozen=True)
class Coding:
    """How documents become tokens; ``tokenizer`` is None where they are tokens."""

    facts: TokenizerFacts
    tokenizer: TextTokenizer | None
    file: Path | None

    def open(self) -> Coder | None:
        return self.tokenizer.open(self.file) if self.tokenizer is not None else None


def open_coder(facts: StoreFacts) -> Coder | None:
    """Open the tokenizer of a store; None where its tokens came without one.

    Raises:
        UserError: it cannot be opened.
    """
    if facts.coder is None:
        return None
    tokenizer = TOKENIZERS[facts.coder["kind"]].model_validate(facts.coder)
    return tokenizer.open(facts.folder / facts.coder_file if facts.coder_file else None)


def encode(coder: Coder | None, contents: Sequence[Content], names: Sequence[str]) -> Sequence[np.ndarray]:
    """Cut documents into tokens, unless they are tokens.

    Raises:
        UserError: one cannot be cut; ``where`` is its name.
    """
    given: Any = contents
    if coder is None:
        return given
    try:
        return coder.encode(given)
    except UserError as error:
        if len(contents) > 1:
            return [encode(coder, [c], [name])[0] for c, name in zip(contents, names, strict=True)]
        raise UserError(*(replace(problem, where=names[0]) for problem in error.problems)) from None


@dataclass(frozen=True)
class ShardTask:
    """A group to write: ``surveyed`` are its parts as the survey met them, ``ngrams`` the file of the hashes
    that are looked for, ``result`` the file that says that it is done."""

    corpus: DocumentCorpus
    group: Group
    surveyed: tuple[SurveyedPart, ...]
    coding: Coding
    exclusion: Exclusion
    ngrams: Path | None
    folder: Path
    result: Path

    @property
    def name(self) -> str:
        return f"train-{self.group.number:05d}.tokens"


class Written(Frozen):
    """What became of a group: its shard, None if all is held out; ``bytes`` of training text (0 for tokens);
    ``empty``: documents left out because they were cut into no tokens; ``shared``: a file with one bit for
    each n-gram that was looked for."""

    shard: Shard | None
    bytes: int
    held_out: int
    empty: int
    shared: str | None


def written_before(task: ShardTask) -> Written | None:
    """Return what an earlier attempt wrote, if its files are there."""
    try:
        written = Written.model_validate_json(task.result.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    names = [task.result.with_name(written.shared)] if written.shared else []
    if written.shard is not None:
        names += [task.folder / name for name in (written.shard.name, documents_name(written.shard.name))]
    return written if all(name.exists() for name in names) else None


def write_shard(task: ShardTask) -> tuple[Group, Written]:
    """Read a group again and write its shard; the file ``result`` comes last.

    Raises:
        UserError: a file is not what was surveyed, or a document holds tokens that it must not.
    """
    path, coder = task.folder / task.name, task.coding.open()
    looked_for = NGrams.of(np.load(task.ngrams)) if task.ngrams is not None else None
    shared = np.zeros(len(looked_for), bool) if looked_for is not None else None
    held_out = text_bytes = empty = 0
    with TokenFile(path, task.coding.facts) as file:
        for names, contents, skipped in _batches(task):
            held_out += skipped
            if not contents:
                continue
            encoded = encode(coder, contents, names)
            kept = [i for i, tokens in enumerate(encoded) if len(tokens)]
            empty += len(names) - len(kept)
            if not kept:
                continue
            contents = [contents[i] for i in kept]
            file.append([encoded[i] for i in kept], [names[i] for i in kept])
            text_bytes += sum(len(c) for c in contents if isinstance(c, bytes))
            if looked_for is not None and shared is not None:
                shared |= looked_for.shared(ngrams(contents))
        shard = file.shard() if file.tokens else None
    if shard is None:
        path.unlink()
    else:
        places = task.folder / documents_name(task.name)
        _write(places, np.frombuffer(file.starts, np.uint64).astype("<u8"))
    bits = None
    if shared is not None:
        bits = task.result.with_suffix(".shared.npy")
        _write(bits, np.packbits(shared))
    written = Written(
        shard=shard, bytes=text_bytes, held_out=held_out, empty=empty, shared=bits and bits.name
    )
    write_text(task.result, written.model_dump_json())
    return task.group, written


def _batches(task: ShardTask) -> Any:
    """Yield (names, contents, documents held out since) of about ``BATCH_BYTES`` of training text."""
    names, contents, size, skipped = list[str](), list[Content](), 0, 0
    tally = Tally()
    for part, before in zip(task.group.parts, task.surveyed, strict=True):
        seen = sha256()
        for document in task.corpus.documents(part, tally):
            digest = digest_of(document.content)
            seen.update(digest)
            if task.exclusion.holds(digest):
                skipped += 1
                continue
            names.append(document.name)
            contents.append(document.content)
            size += len(document.content)
            if size >= BATCH_BYTES:
                yield names, contents, skipped
                names, contents, size, skipped = [], [], 0, 0
        if seen.hexdigest() != before.sha256:
            hint = "prepare it again when nothing writes to it"
            raise UserError(Complaint("the file changed while it was being prepared", part.name, hint))
    yield names, contents, skipped


def ngrams(contents: Sequence[Content]) -> np.ndarray:
    """Hash the 13-grams of documents: of words, or of tokens where there is no text."""
    texts: Any = contents
    return ngrams_of_text(*texts) if isinstance(contents[0], bytes) else ngrams_of_tokens(*texts)


def _write(path: Path, values: np.ndarray) -> None:
    with naming(path):
        with path.open("wb") as file:
            file.write(values.tobytes())
        sync(path)


def write_evaluation(
    folder: Path, stored: Sequence[HeldOutText], coding: Coding
) -> tuple[tuple[HeldOut, ...], tuple[Content, ...], Shard, Shard | None]:
    """Write ``eval.tokens``, and ``eval.bytes`` where there is text; return the documents
    in them, the content of each, and the two files.

    Documents that are cut into no tokens are left out.
    """
    coder, separators = coding.open(), int(coding.facts.separator is not None)
    documents, kept, widths = list[HeldOut](), list[Content](), list[np.ndarray]()
    with TokenFile(folder / EVAL_TOKENS, coding.facts) as file:
        for document in stored:
            start, content = file.tokens, document.content
            if isinstance(content, bytes):
                assert coder is not None
                tokens, width = coder.encode_with_bytes(content)
            else:
                tokens, width = content, None
            if not len(tokens):
                continue
            if width is not None:
                widths += [np.zeros(separators, "<u4"), width.astype("<u4")]
            file.append([tokens], [document.name])
            kept.append(content)
            size = len(content) if isinstance(content, bytes) else None
            documents.append(HeldOut(name=document.name, bytes=size, start=start, tokens=len(tokens)))
        shard = file.shard()
    if coder is None:
        return tuple(documents), tuple(kept), shard, None
    every = np.concatenate([np.zeros(0, "<u4"), *widths])
    _write(folder / EVAL_BYTES, every)
    digest = sha256(every.data).hexdigest()
    sizes = Shard(name=EVAL_BYTES, tokens=len(every), documents=len(documents), sha256=digest)
    return tuple(documents), tuple(kept), shard, sizes
