"""Data that a trainer of one's own reads: nothing is known of them but how much there is."""

from __future__ import annotations

from typing import ClassVar, Literal

from scaling.recipe.quantities import Count, Described, Slug


class External(Described):
    """Tokens that a trainer of one's own finds by itself."""

    tokenised: ClassVar[bool] = True

    kind: Literal["external"]
    tokens: Count
    """Tokens to train on: what a run reads beyond them is read again, and counted as epochs."""
    name: Slug | None = None
    """What the data are called, where a study has several; part of the ids of runs."""
