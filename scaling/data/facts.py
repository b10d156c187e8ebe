"""What a prepared store says of itself: ``index.json``, all that a plan needs of it. No numpy here.

A store is a folder of the cache named by its fingerprint. ``train-00000.tokens`` ... are raw little-endian
arrays of ``tokenizer.dtype``: the training documents in the order of the corpus, each after the separator;
training reads them as one long array. ``train-00000.documents`` holds the place of each document's separator
(of its first token where there is none) in its shard, uint64. ``eval.tokens`` holds the held-out documents
likewise, in the order in which they are evaluated, and ``eval.bytes`` (uint32) the bytes of text that each
of these tokens stands for, 0 for separators. ``index.json`` is written last: where it is, the store is whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from scaling.data.evaluation import evaluated
from scaling.errors import Complaint, UserError
from scaling.files import cache_dir
from scaling.recipe.quantities import Frozen
from scaling.tokenizers.base import TokenizerFacts

INDEX = "index.json"
# What is stored of the documents held out by hash, in the order of their hashes; the others are only counted.
MOST_HELD_OUT = 10_000  # documents
MOST_HELD_OUT_BYTES = 1 << 26  # of text, or of tokens of 4 bytes


class Shard(Frozen):
    """One file of a store; ``documents`` that begin in it."""

    name: str
    tokens: int
    documents: int
    sha256: str


class HeldOut(Frozen):
    """A document held out whole. ``start`` is the place in ``eval.tokens`` of its separator, or of its first
    token where documents have none; ``tokens`` counts its text; ``bytes`` are of its text, None where the
    corpus came as tokens and nobody said how many bytes they stand for."""

    name: str
    bytes: int | None
    start: int
    tokens: int


class Overlap(Frozen):
    """What training and held-out text share. ``ngrams`` are 13-grams of words of the evaluated documents (of
    tokens, where there is no text), ``shared_ngrams`` those that occur in the training text too.
    ``documents``: how many were compared, the first that are held out; None for all that are stored."""

    ngrams: int
    shared_ngrams: int
    documents: int | None = None

    @property
    def share(self) -> float:
        return self.shared_ngrams / self.ngrams if self.ngrams else 0.0


class StoreFacts(Frozen):
    """``index.json``.

    ``corpus`` is the name of a shipped corpus, else its kind; ``content_sha256`` is of the documents of the
    corpus. ``split`` is what decided which documents are held out, with ``share`` resolved. ``train_tokens``
    count ``separators`` too; ``tally`` counts what was met and left out or mended (``empty``,
    ``invalid_utf8``, ``nul``). ``bytes_per_token`` is of the training text; None where it is not known.
    ``coder`` is the tokenizer as the spec has it, and ``coder_file`` the name of its file in the store; None
    where the corpus came as tokens, or the tokenizer has no file.
    """

    schema_version: Literal[2] = Field(default=2, alias="schema")
    fingerprint: str
    corpus: str
    content_sha256: str
    tokenizer: TokenizerFacts
    split: dict[str, str | int | float]
    documents: int
    bytes: int | None
    train_documents: int
    train_tokens: int
    separators: int
    bytes_per_token: float | None
    shards: tuple[Shard, ...]
    evaluation: Shard | None
    evaluation_bytes: Shard | None
    held_out: tuple[HeldOut, ...]
    held_out_documents: int
    tally: dict[str, int]
    overlap: Overlap | None
    coder: dict[str, Any] | None
    coder_file: str | None
    versions: dict[str, str]

    @property
    def files(self) -> tuple[Shard, ...]:
        """Every file that has a sum."""
        return (*self.shards, *(s for s in (self.evaluation, self.evaluation_bytes) if s is not None))

    def evaluated(self, documents: int, tokens: int) -> tuple[HeldOut, ...]:
        """Return the first held-out documents: at least ``documents``, with at least ``tokens`` to predict;
        all where there are fewer."""
        return self.held_out[: evaluated(map(self.targets, self.held_out), documents, tokens)]

    def targets(self, document: HeldOut) -> int:
        """Return how many tokens of a document are predicted: all after a separator, else not the first."""
        return max(0, document.tokens - (self.tokenizer.separator is None))

    @property
    def folder(self) -> Path:
        return store_folder(self.fingerprint)


def store_folder(fingerprint: str) -> Path:
    """Return where the store of a fingerprint lies, or would."""
    return cache_dir() / "data" / fingerprint


def read_facts(fingerprint: str) -> StoreFacts:
    """Read the index of a store.

    Raises:
        UserError: there is no such store, or its index cannot be read.
    """
    path = store_folder(fingerprint) / INDEX
    hint = "prepare the corpus again: scaling data prepare SPEC"
    try:
        return StoreFacts.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(Complaint(f"no prepared store {fingerprint}", str(path), hint)) from None
    except (ValidationError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not the index of a store"
        raise UserError(Complaint(f"cannot read the index: {reason}", str(path), hint)) from error
