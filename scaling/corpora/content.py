"""The data of a plan: which prepared stores, or which generator, in numbers. No rule and no path is left."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scaling.corpora.quotas import BLOCK
from scaling.corpora.sources import WrittenGenerated
from scaling.recipe.quantities import Frozen

HELD_OUT = "held-out"  # the evaluation set that a corpus gives by its own split


class StoredSource(Frozen):
    """What training reads from one store (named by its fingerprint): ``quota`` of every BLOCK windows."""

    name: str
    store: str
    quota: int = BLOCK


class EvalSet(Frozen):
    """The first documents of a store's held-out text, at least ``documents`` and at least ``tokens`` of their
    tokens. ``target``: whether ``loss`` is over them, alone or with the other targets."""

    name: str
    store: str
    documents: int
    tokens: int
    target: bool = True


class StoredContent(Frozen):
    """Prepared text. ``unique_tokens`` limits training to a fixed part of it, nested by size."""

    kind: Literal["stored"]
    sources: tuple[StoredSource, ...]
    sets: tuple[EvalSet, ...]
    unique_tokens: int | None = None


class GeneratedContent(Frozen):
    """A source that generates its tokens: ``tokens`` to evaluate on."""

    kind: Literal["generated"]
    corpus: WrittenGenerated
    tokens: int
    unique_tokens: int | None = None


class ExternalContent(Frozen):
    """So many tokens that a trainer of one's own reads. It evaluates by itself."""

    kind: Literal["external"]
    tokens: int
    name: str | None = None
    unique_tokens: None = None


Content = Annotated[StoredContent | GeneratedContent | ExternalContent, Field(discriminator="kind")]
