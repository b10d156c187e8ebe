"""Tokenise a corpus once: choose the held-out documents, check them, write the token store."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from scaling.data.catalog import Corpus, Document, Tokenizer, read_documents
from scaling.data.overlap import WINDOW, overlapping_documents
from scaling.errors import Complaint, UserError
from scaling.files import aside, write_json


def encode(tokenizer: Tokenizer, text: bytes) -> np.ndarray:
    """Encode one document, without separator: (tokens,) of ``tokenizer.dtype``."""
    match tokenizer.name:
        case "bytes":
            return np.frombuffer(text, np.uint8)
        case _:
            raise ValueError(f"no encoder for tokenizer {tokenizer.name!r}")


def held_out(documents: Sequence[Document], count: int) -> list[int]:
    """Return the positions of ``count`` documents spread evenly over the years that share no text with any
    other.

    For each of ``count`` evenly spaced years the nearest document is taken, the earlier of two.

    Raises:
        UserError: too few documents are free of shared text.
    """
    unclean = overlapping_documents([document.text for document in documents])
    free = [i for i in range(len(documents)) if i not in unclean]
    if count > len(free) or count >= len(documents):
        message = (
            f"eval_documents = {count}: at most {min(len(free), len(documents) - 1)} of the {len(documents)} "
            f"documents can be held out: one must be left, none may share {WINDOW} bytes with another"
        )
        raise UserError(Complaint(message, where="data.eval_documents", hint="hold out fewer documents"))
    first = min(document.year for document in documents)
    span = max(document.year for document in documents) - first
    chosen: list[int] = []
    for k in range(count):
        year = first + span * (2 * k + 1) / (2 * count)
        nearest = min(free, key=lambda i: (abs(documents[i].year - year), i))
        free.remove(nearest)
        chosen.append(nearest)
    return sorted(chosen)


def build_store(stem: Path, corpus: Corpus, tokenizer: Tokenizer, count: int) -> None:
    """Write ``<stem>.tokens`` and then ``<stem>.json``, each by an atomic rename.

    The tokens are a raw array: training documents, each after a separator, then held-out ones likewise.

    Args:
        stem: path without suffix.
        corpus: the text.
        tokenizer: of the store.
        count: documents to hold out.

    Raises:
        UserError: ``count`` documents cannot be held out.
        RuntimeError: a separator occurs in the text.
    """
    documents = read_documents(corpus)
    chosen = held_out(documents, count)
    training = [document for i, document in enumerate(documents) if i not in set(chosen)]
    evaluation = [documents[i] for i in chosen]
    checked = sum(max(0, len(d.text) - WINDOW + 1) for d in evaluation)
    train = [_with_separator(tokenizer, document) for document in training]
    test = [_with_separator(tokenizer, document) for document in evaluation]
    tokens = np.concatenate([*train, *test]).astype(np.dtype(tokenizer.dtype).newbyteorder("<"))
    starts = sum(map(len, train)) + np.cumsum([0, *map(len, test[:-1])])
    facts = {
        "schema": 1,
        "corpus": corpus.name,
        "corpus_text_sha256": corpus.text_sha256,
        "tokenizer": tokenizer.name,
        "tokens": len(tokens),
        "tokens_sha256": sha256(tokens.tobytes()).hexdigest(),
        "train_documents": len(train),
        "train_tokens": sum(map(len, train)),
        "eval_documents": [
            {"name": d.name, "year": d.year, "bytes": len(d.text), "start": int(start), "tokens": len(t) - 1}
            for d, start, t in zip(evaluation, starts, test, strict=True)
        ],
        "overlap": {"window_bytes": WINDOW, "windows_checked": checked},
    }
    with aside(stem.with_name(stem.name + ".tokens")) as draft:
        draft.write_bytes(tokens.tobytes())
    write_json(stem.with_name(stem.name + ".json"), facts)


def _with_separator(tokenizer: Tokenizer, document: Document) -> np.ndarray:
    tokens: Any = encode(tokenizer, document.text)
    if (tokens == tokenizer.separator).any():
        raise RuntimeError(f"{document.name}: separator token {tokenizer.separator} occurs in the text")
    return np.concatenate([np.array([tokenizer.separator], tokens.dtype), tokens])
