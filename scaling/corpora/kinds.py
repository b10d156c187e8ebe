"""The kinds of corpora that there are: of documents, and generated."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.generated import GeneratedCorpus
from scaling.corpora.hf import HuggingFace
from scaling.corpora.hierarchy import Hierarchy
from scaling.corpora.jsonl import Jsonl
from scaling.corpora.parquet import Parquet
from scaling.corpora.santa_fe import SantaFe
from scaling.corpora.text import Text
from scaling.corpora.tokens import Tokens
from scaling.corpora.zipf_markov import ZipfMarkov

AnyDocumentCorpus = Annotated[Text | Jsonl | Parquet | Tokens | HuggingFace, Field(discriminator="kind")]

CORPORA: dict[str, type[DocumentCorpus]] = {
    "text": Text,
    "jsonl": Jsonl,
    "parquet": Parquet,
    "tokens": Tokens,
    "hf": HuggingFace,
}

AnyGeneratedCorpus = Annotated[SantaFe | Hierarchy | ZipfMarkov, Field(discriminator="kind")]

GENERATED: dict[str, type[GeneratedCorpus]] = {
    "santa-fe": SantaFe,
    "hierarchy": Hierarchy,
    "zipf-markov": ZipfMarkov,
}
