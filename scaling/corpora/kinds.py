"""The kinds of corpora of documents that there are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.hf import HuggingFace
from scaling.corpora.jsonl import Jsonl
from scaling.corpora.parquet import Parquet
from scaling.corpora.text import Text
from scaling.corpora.tokens import Tokens

AnyDocumentCorpus = Annotated[Text | Jsonl | Parquet | Tokens | HuggingFace, Field(discriminator="kind")]

CORPORA: dict[str, type[DocumentCorpus]] = {
    "text": Text,
    "jsonl": Jsonl,
    "parquet": Parquet,
    "tokens": Tokens,
    "hf": HuggingFace,
}
