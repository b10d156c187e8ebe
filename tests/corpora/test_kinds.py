"""The union of corpora, as a spec chooses from it."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from scaling.corpora.documents import DOCUMENTS, WrittenDocuments
from scaling.corpora.jsonl import Jsonl
from scaling.corpora.sources import GENERATED, WrittenGenerated
from scaling.corpora.tokens import Tokens

FIELDS: dict[str, dict[str, object]] = {
    "text": {"files": "*.txt"},
    "jsonl": {"files": "*.jsonl"},
    "parquet": {"files": "*.parquet"},
    "tokens": {
        "files": "*.bin",
        "tokenizer": "gpt2",
        "vocab_size": 50257,
        "document": {"separator": 50256},
    },
    "hf": {"path": "allenai/c4", "name": "en"},
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_corpus_is_chosen_by_kind(kind: str) -> None:
    union = TypeAdapter(WrittenDocuments)
    corpus = union.validate_python({"kind": kind, **FIELDS[kind]})
    assert type(corpus) is DOCUMENTS[kind]
    assert union.validate_python(corpus.model_dump(mode="json")) == corpus
    assert corpus.identity() == {"kind": kind}


def test_what_documents_do_not_tell_is_part_of_the_identity() -> None:
    assert Jsonl(files=("a",), position="year").identity() == {"kind": "jsonl", "position": "year"}
    tokens = Tokens.model_validate(FIELDS["tokens"] | {"bytes_per_token": 4.2})
    assert tokens.identity() == {"kind": "tokens", "bytes_per_token": 4.2}


@pytest.mark.parametrize("kind", GENERATED)
def test_a_generated_corpus_is_chosen_by_kind(kind: str) -> None:
    union = TypeAdapter(WrittenGenerated)
    corpus = union.validate_python({"kind": kind, "seed": 3})
    assert type(corpus) is GENERATED[kind]
    assert union.validate_python(corpus.identity()) == corpus
