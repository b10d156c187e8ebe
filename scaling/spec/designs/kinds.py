"""The designs that are built in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from scaling.recipe.rules import by_kind
from scaling.spec.base import Several
from scaling.spec.designs.cells import Cell, Point
from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.designs.crossed import Grid, Kaplan, Ladder, OverTraining
from scaling.spec.designs.design import AnyDesign
from scaling.spec.designs.isoflop import IsoFLOP
from scaling.spec.designs.varied import CriticalBatch, Repetition
from scaling.spec.families import Family
from scaling.spec.source import Finding


class RunList(AnyDesign):
    """Exactly these runs, each with every seed of the study."""

    kind: Literal["list"]
    runs: tuple[Cell, ...] = Several

    def points(self, family: Family) -> Iterator[Point]:
        for i, cell in enumerate(self.runs):
            yield cell.point(family, ("design", "runs", i))

    def findings(self, family: Family | None) -> Iterator[Finding]:
        for i, cell in enumerate(self.runs):
            yield from cell.findings(("design", "runs", i), family)


_Designs = (
    IsoFLOP
    | Grid
    | Ladder
    | RunList
    | OverTraining
    | Kaplan
    | Repetition
    | CriticalBatch
    | Optimal
    | Adaptive
)
Design = Annotated[_Designs, Field(discriminator="kind")]
DESIGNS = by_kind(_Designs)
