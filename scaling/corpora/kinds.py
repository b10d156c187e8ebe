"""All corpora that ``data.corpus`` can name: documents, mixtures of them, generated ones, and external."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from scaling.corpora.documents import DOCUMENTS, AnyDocuments, by_name
from scaling.corpora.external import External
from scaling.corpora.mixture import Mixture
from scaling.corpora.sources import GENERATED, AnyGenerated
from scaling.recipe.quantities import Described

AnyCorpus = AnyDocuments | Mixture | AnyGenerated | External
CORPORA: dict[str, type[Described]] = {**DOCUMENTS, "mixture": Mixture, **GENERATED, "external": External}

WrittenCorpus = Annotated[
    Annotated[AnyCorpus, Field(discriminator="kind")],
    BeforeValidator(by_name, json_schema_input_type=str | AnyCorpus),
]
"""As a spec writes it: a mapping with a kind, or the name of a shipped corpus."""
