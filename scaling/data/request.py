"""What a caller wants of a corpus, and the store that was prepared for it, if it still is. No numpy here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from pydantic import SerializeAsAny, ValidationError

from scaling.canonical import short_hash
from scaling.corpora.base import DocumentCorpus
from scaling.data.facts import Overlap, StoreFacts, read_facts
from scaling.errors import Complaint, UserError
from scaling.files import cache_dir
from scaling.recipe.quantities import Count, Fraction, Frozen
from scaling.tokenizers.base import TextTokenizer

# Raised when the same request would give other tokens or another split: it is part of fingerprints.
FORMAT = 2


SplitKind = Literal["hash", "spread", "none", "all"]


class Request(Frozen):
    """A corpus, how it is cut into tokens, and which of its documents are held out.

    ``label`` is the name of a shipped corpus, else the kind. ``tokenizer`` is None for a corpus of tokens;
    ``tokenizer_of`` is the fingerprint of a store whose tokenizer file is taken, rather than training one on
    this corpus.

    ``split``: ``hash`` holds out the documents whose hash lies in the first ``share`` of all hashes (auto:
    the smallest of four significant bits that gives ``documents`` documents and ``tokens`` tokens);
    ``spread`` holds out ``documents`` documents, spread evenly over the corpus; ``none`` nothing; ``all``
    everything: the corpus is an evaluation set of its own.

    ``folder`` is what relative paths are relative to.
    """

    corpus: SerializeAsAny[DocumentCorpus]
    label: str
    tokenizer: SerializeAsAny[TextTokenizer] | None
    tokenizer_of: str | None = None
    split: SplitKind = "hash"
    share: Literal["auto"] | Fraction = "auto"
    documents: Count = 24
    tokens: Count = 131072
    separator: Literal["keep", "none"] = "keep"
    folder: Path

    def fields_key(self) -> str:
        """Hash the fields and the folder, whatever the files hold."""
        return short_hash(self._fields() | {"folder": os.path.abspath(self.folder)})

    def _fields(self) -> dict[str, Any]:
        fields = self.model_dump(mode="json", exclude={"folder"}) | {"format": FORMAT}
        fields["corpus"] = {"kind": self.corpus.kind, "fields": fields["corpus"]}
        return fields

    def key(self) -> str:
        """Hash the fields, and absolute path, size and time of change of every file.

        It is the same from every working directory.

        Raises:
            UserError: no file matches, or one cannot be read; ``where`` is the field.
        """
        given = self.tokenizer.files(self.folder) if self.tokenizer else ()
        files = dict.fromkeys([*given, *(part.file for part in self.corpus.inputs(self.folder))])
        return short_hash({"fields": self._fields(), "files": [_seen(file) for file in files]})


def find(request: Request) -> StoreFacts | None:
    """Return the store of a request if it was prepared from the files as they are now, and none of its own
    files is missing or cut short.

    It asks for the state of every file and reads two: quick enough for every plan.

    Raises:
        UserError: no file matches, or one cannot be read; ``where`` is the field of the corpus.
    """
    return find_by_key(request.key()) if request.corpus.is_here(request.folder) else None


def find_by_key(key: str) -> StoreFacts | None:
    """Return the store that answered the request of this key, if it is there and whole."""
    facts = answered(key)
    return None if facts is None or misfits(facts) else facts


def answered(key: str) -> StoreFacts | None:
    """Return the store that answered the request of this key, if it is there, whole or not."""
    try:
        answer = json.loads(answer_path(key).read_bytes())
        return read_facts(answer["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def whole(fingerprint: str) -> StoreFacts | None:
    """Return the store of a fingerprint if none of its files is missing or cut short."""
    try:
        facts = read_facts(fingerprint)
    except UserError:
        return None
    return None if misfits(facts) else facts


def find_overlap(evaluated: StoreFacts, training: StoreFacts, documents: int | None = None) -> Overlap | None:
    """Return what the first held-out ``documents`` of one store (None: all) share with the training text of
    another, or of the same one, if it was measured."""
    stored = len(evaluated.held_out)
    count = stored if documents is None else min(documents, stored)
    own = evaluated.overlap if evaluated.fingerprint == training.fingerprint else None
    if own is not None and count == (own.documents or stored):
        return own
    try:
        return Overlap.model_validate_json(overlap_path(evaluated, training, count).read_bytes())
    except (OSError, ValidationError):
        return None


def overlap_path(evaluated: StoreFacts, training: StoreFacts, documents: int) -> Path:
    """Return the file that keeps what so many documents of a store share with another."""
    name = f"{evaluated.fingerprint}-{documents}-{training.fingerprint}.json"
    return cache_dir() / "data" / "overlaps" / name


def answer_path(key: str) -> Path:
    """Return the file that says which store answered a request."""
    return cache_dir() / "data" / "requests" / f"{key}.json"


def file_sizes(facts: StoreFacts) -> dict[str, int]:
    """Return the bytes that each file of tokens, of documents' places and of bytes must have."""
    width = {"uint8": 1, "uint16": 2, "uint32": 4}[facts.tokenizer.dtype]
    sizes = {shard.name: shard.tokens * width for shard in facts.shards}
    sizes |= {documents_name(shard.name): shard.documents * 8 for shard in facts.shards}
    if facts.evaluation is not None:
        sizes[facts.evaluation.name] = facts.evaluation.tokens * width
    if facts.evaluation_bytes is not None:
        sizes[facts.evaluation_bytes.name] = facts.evaluation_bytes.tokens * 4
    return sizes


def documents_name(shard: str) -> str:
    """Return the name of the file beside a shard that holds the places of its documents."""
    return Path(shard).with_suffix(".documents").name


def misfits(facts: StoreFacts) -> list[str]:
    """Return the files of a store that are missing or not of their size."""
    found = {entry.name: entry.stat().st_size for entry in os.scandir(facts.folder)}
    return [name for name, size in file_sizes(facts).items() if found.get(name) != size]


def _seen(file: Path) -> list[Any]:
    try:
        stat = os.stat(file)
    except OSError as error:
        raise UserError(Complaint(f"cannot read {file}: {error.strerror}", "files")) from None
    return [os.path.abspath(file), stat.st_size, stat.st_mtime_ns]
