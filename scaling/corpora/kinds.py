"""The kinds of corpora of documents that there are."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.jsonl import Jsonl
from scaling.corpora.text import Text

AnyDocumentCorpus = Annotated[Text | Jsonl, Field(discriminator="kind")]

CORPORA: dict[str, type[DocumentCorpus]] = {"text": Text, "jsonl": Jsonl}
