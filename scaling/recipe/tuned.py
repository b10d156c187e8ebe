"""Rules fitted to a sweep of ours: the laws of optima that ``scaling basins --out FILE`` writes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from scaling.recipe.quantities import SHA256
from scaling.recipe.rules import Powers, Rule, Scale

LAWS = {"learning_rate": "lr", "batch_tokens": "batch"}
"""Field of a recipe -> name of its law in a file of basins."""


class Tuned(Rule):
    """The law of the best learning rate or batch, by the field that it stands in."""

    kind: Literal["tuned"]
    file: Annotated[str, Field(min_length=1, max_length=4096)]
    """What `scaling basins --out` wrote; relative to the spec, or else to where the command is run."""
    sha256: Annotated[str, StringConstraints(pattern=SHA256)] | None = None
    """Of the file; left out: whatever it is, which is recorded."""

    def targets(self) -> tuple[str, ...]:
        return tuple(LAWS)

    def uses(self, target: str) -> frozenset[Scale]:
        return frozenset()  # not known before the file is read: see TunedLaw

    def powers(self, target: str) -> Powers:
        raise TypeError(f"{self.file} is not read yet")


class TunedLaw(Tuned):
    """A tuned rule whose file was read."""

    coefficient: float
    exponents: dict[Scale, float]

    def uses(self, target: str) -> frozenset[Scale]:
        return frozenset(self.exponents)

    def powers(self, target: str) -> Powers:
        return Powers(self.coefficient, self.exponents)

    def __str__(self) -> str:
        return f"tuned {self.file} sha256:{self.sha256}"
