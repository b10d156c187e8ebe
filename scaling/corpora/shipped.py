"""Corpora that ship with the package, by name; see texts/README.md for their origin and licence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_serializer
from pydantic_core import PydanticCustomError

from scaling.corpora.base import Document, DocumentCorpus, Part
from scaling.corpora.jsonl import Jsonl

TEXTS = Path(__file__).parent / "texts"


@dataclass(frozen=True)
class ShippedText:
    """``text_sha256`` is of all texts concatenated in order, which identifies the corpus."""

    corpus: Jsonl
    text_sha256: str


SHIPPED = {
    "state-of-the-union": ShippedText(
        Jsonl(files=("state-of-the-union.jsonl.xz",), text="text", name="name", position="year"),
        "805ccd2b2645318eb01caa3d4a0d374bee2544c1d5e48d2c66f8feaf7ae25790",
    ),
}


def known(name: str) -> str:
    """Return the name of a shipped corpus; raises PydanticCustomError for another."""
    if name not in SHIPPED:
        names = ", ".join(map(repr, SHIPPED))
        text = (
            "must be the name of a shipped corpus ({names}) or a mapping with the kind of a corpus, "
            "such as {example}"
        )
        raise PydanticCustomError(
            "spec",
            text,
            {"names": names, "known": tuple(SHIPPED), "example": "{kind: text, files: 'notes/*.txt'}"},
        )
    return name


class Shipped(DocumentCorpus):
    """A corpus of the package. A spec writes its name alone."""

    kind: Literal["shipped"] = "shipped"
    name: str
    """Name of the corpus."""

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return known(name)

    @model_serializer
    def _as_written(self) -> str:
        return self.name

    def parts(self, folder: Path) -> tuple[Part, ...]:
        return SHIPPED[self.name].corpus.parts(TEXTS)

    def read(self, part: Part) -> Iterator[Document]:
        return SHIPPED[self.name].corpus.read(part)

    def identity(self) -> dict[str, Any]:
        return {"text_sha256": SHIPPED[self.name].text_sha256}
