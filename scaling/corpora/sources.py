"""The generated sources that there are. To add one: a module with its class, and two lines here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from scaling.corpora.generated import GeneratedCorpus
from scaling.corpora.santa_fe import SantaFe

AnyGenerated = Annotated[SantaFe, Field()]
GENERATED: dict[str, type[GeneratedCorpus]] = {"santa-fe": SantaFe}
