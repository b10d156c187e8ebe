"""The corpora of documents that there are. To add one: a module with its class, and two lines here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.jsonl import Jsonl
from scaling.corpora.parquet import Parquet
from scaling.corpora.shipped import Shipped, known
from scaling.corpora.text import Text
from scaling.corpora.tokens import Tokens

AnyDocuments = Shipped | Text | Jsonl | Parquet | Tokens
DOCUMENTS: dict[str, type[DocumentCorpus]] = {
    "text": Text,
    "jsonl": Jsonl,
    "parquet": Parquet,
    "tokens": Tokens,
}


def by_name(written: Any) -> Any:
    """Take a name alone for that of a shipped corpus."""
    return {"kind": "shipped", "name": known(written)} if isinstance(written, str) else written


WrittenDocuments = Annotated[
    Annotated[AnyDocuments, Field(discriminator="kind")],
    BeforeValidator(by_name, json_schema_input_type=str | AnyDocuments),
]
"""As a spec writes it: a mapping with a kind, or the name of a shipped corpus."""
