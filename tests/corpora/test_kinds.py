"""The union of corpora, as a spec chooses from it."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from scaling.corpora.documents import DOCUMENTS, WrittenDocuments
from scaling.corpora.sources import GENERATED, WrittenGenerated

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
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_corpus_is_chosen_by_kind(kind: str) -> None:
    union = TypeAdapter(WrittenDocuments)
    corpus = union.validate_python({"kind": kind, **FIELDS[kind]})
    assert type(corpus) is DOCUMENTS[kind]
    assert union.validate_python(corpus.model_dump(mode="json")) == corpus
    assert corpus.identity()["kind"] == kind
    assert "files" not in corpus.identity()


@pytest.mark.parametrize("kind", GENERATED)
def test_a_generated_corpus_is_chosen_by_kind(kind: str) -> None:
    union = TypeAdapter(WrittenGenerated)
    corpus = union.validate_python({"kind": kind, "seed": 3})
    assert type(corpus) is GENERATED[kind]
    assert union.validate_python(corpus.identity()) == corpus
