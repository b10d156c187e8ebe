"""The corpora and tokenizers that there are: facts only, nothing is read here."""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

CORPORA_FOLDER = Path(__file__).parents[1] / "corpora" / "texts"


@dataclass(frozen=True)
class Corpus:
    """A text corpus shipped with the package; see corpora/README.md for origin and licence.

    ``archive_sha256`` is of the compressed file, ``text_sha256`` of all texts concatenated in order.
    """

    name: str
    archive: str
    archive_sha256: str
    text_sha256: str


@dataclass(frozen=True)
class Document:
    """One text of a corpus, whole; ``year`` is what held-out documents are spread over."""

    name: str
    year: int
    text: bytes


@dataclass(frozen=True)
class Tokenizer:
    """``separator`` is the token put before every document; it never occurs inside one."""

    name: str
    vocab_size: int
    separator: int
    dtype: str


CORPORA = {
    "state-of-the-union": Corpus(
        name="state-of-the-union",
        archive="state-of-the-union.jsonl.xz",
        archive_sha256="65a8b4e1bf66c3a0576887a1106d0df852886c5cd85c98998fcb70919efa9b65",
        text_sha256="805ccd2b2645318eb01caa3d4a0d374bee2544c1d5e48d2c66f8feaf7ae25790",
    ),
}

TOKENIZERS = {"bytes": Tokenizer(name="bytes", vocab_size=256, separator=0, dtype="uint8")}


def read_documents(corpus: Corpus) -> tuple[Document, ...]:
    """Return all documents of ``corpus`` in order, checked against its sums.

    Raises:
        RuntimeError: the archive is not the one that this version was released with.
    """
    packed = (CORPORA_FOLDER / corpus.archive).read_bytes()
    if sha256(packed).hexdigest() != corpus.archive_sha256:
        raise RuntimeError(f"{corpus.archive} is damaged (sha256 differs); install scaling-laws again")
    records = [json.loads(line) for line in lzma.decompress(packed).splitlines()]
    documents = tuple(Document(r["name"], r["year"], r["text"].encode("utf-8")) for r in records)
    if sha256(b"".join(document.text for document in documents)).hexdigest() != corpus.text_sha256:
        raise RuntimeError(f"{corpus.archive} does not hold the texts declared for {corpus.name}")
    return documents
