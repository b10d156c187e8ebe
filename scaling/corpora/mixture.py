"""Several corpora, each with its share of the tokens."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from scaling.corpora.documents import WrittenDocuments
from scaling.corpora.quotas import quotas
from scaling.recipe.quantities import Described, Positive, Slug


class MixtureSource(Described):
    """One corpus of a mixture."""

    corpus: WrittenDocuments
    weight: Positive
    """Its share of the training tokens, relative to the other weights."""


class Mixture(Described):
    """Sources with weights. A source that runs out is repeated; tokens and epochs are counted for each."""

    kind: Literal["mixture"]
    sources: Annotated[dict[Slug, MixtureSource], Field(min_length=2, max_length=100)]
    """The corpora by name. Each is evaluated too (loss/NAME); a BPE is trained on the heaviest one."""

    @field_validator("sources")
    @classmethod
    def _have_places(cls, sources: dict[str, MixtureSource]) -> dict[str, MixtureSource]:
        quotas({name: source.weight for name, source in sources.items()})
        return sources

    @property
    def tokenised(self) -> bool:
        """Whether a source is tokens already, so that the mixture takes no tokenizer."""
        return any(source.corpus.tokenised for source in self.sources.values())

    @property
    def quotas(self) -> dict[str, int]:
        """Places of each source in a block of the mixture's order."""
        weights = {name: source.weight for name, source in self.sources.items()}
        return dict(zip(weights, quotas(weights), strict=True))
