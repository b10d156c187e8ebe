"""Small corpora for tests, packed in every way that can be read."""

from __future__ import annotations

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import zstandard

from scaling.corpora.base import Document, DocumentCorpus
from scaling.errors import Complaint, UserError

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def write(folder: Path, files: dict[str, bytes | str]) -> None:
    """Write files by relative path."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def read(corpus: DocumentCorpus, folder: Path) -> list[Document]:
    """Read all documents of a corpus, part after part."""
    return [document for part in corpus.parts(folder) for document in corpus.read(part)]


def contents(corpus: DocumentCorpus, folder: Path) -> list[bytes]:
    """Return the text of all documents."""
    return [bytes(document.content) for document in read(corpus, folder)]


def complaint(error: UserError) -> Complaint:
    """Return the one complaint of an error."""
    (problem,) = error.problems
    return problem
