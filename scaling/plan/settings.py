"""What runs are trained with: the sections of a study after its axes and variants were applied."""

from __future__ import annotations

from dataclasses import dataclass

from scaling.counts.shape import Shape
from scaling.data.index import DataIndex
from scaling.spec.families import Family, Size
from scaling.spec.models import Data, Recipe


@dataclass(frozen=True, eq=False)
class Setting:
    """One choice of data, family and recipe; many runs have the same."""

    data: Data
    index: DataIndex
    family: Family
    recipe: Recipe

    def shape(self, size: Size) -> Shape:
        """Spell out a size of the family."""
        return self.family.member(size).shape(self.index.vocab_size, self.data.context)
