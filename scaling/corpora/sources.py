"""The generated sources that there are. To add one: a module with its class, and two lines here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from scaling.corpora.generated import GeneratedCorpus
from scaling.corpora.hierarchy import Hierarchy
from scaling.corpora.santa_fe import SantaFe
from scaling.corpora.zipf_markov import ZipfMarkov

AnyGenerated = SantaFe | Hierarchy | ZipfMarkov
GENERATED: dict[str, type[GeneratedCorpus]] = {
    "santa-fe": SantaFe,
    "hierarchy": Hierarchy,
    "zipf-markov": ZipfMarkov,
}

WrittenGenerated = Annotated[AnyGenerated, Field(discriminator="kind")]
