"""Designs that change a field of the study from cell to cell: repeated text, and the size of the batch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Literal

from scaling.recipe.quantities import Positive
from scaling.spec.base import Amounts, Counts
from scaling.spec.designs.cells import Point
from scaling.spec.designs.design import Crossed
from scaling.spec.families import Family
from scaling.spec.source import Override, Path

TRUNK: Path = ("design", "trunk_tokens")


class Repetition(Crossed):
    """Every size on parts of the text, each gone through several times: D = unique tokens x epochs
    (Muennighoff et al., arXiv:2305.16264)."""

    kind: Literal["repetition"]
    unique_tokens: Counts
    """The parts, as data.unique_tokens: smaller ones lie within larger ones."""
    epochs: Amounts
    """How often a run goes through its part. Below 1: not through all of it."""

    def points(self, family: Family) -> Iterator[Point]:
        for size in family.members:
            for override in self.overrides:
                for i, epochs in enumerate(self.epochs):
                    path: Path = ("design", "epochs", i)
                    yield Point(size, "tokens", override.value * epochs, path, path, (override,))

    @cached_property
    def overrides(self) -> tuple[Override, ...]:
        return _changes(("data", "unique_tokens"), "unique_tokens", self.unique_tokens)


class CriticalBatch(Crossed):
    """Every size and horizon at several batches: beyond the critical one, larger batches need more tokens for
    the same loss (McCandlish et al., arXiv:1812.06162)."""

    kind: Literal["critical-batch"]
    tokens: Amounts
    """Horizons in training tokens, the same at every batch."""
    batches: Counts
    """As recipe.batch_tokens; the learning rate should follow them, by a rule of batch_tokens."""
    trunk_tokens: Positive | None = None
    """Training tokens of a run of each size at recipe.batch_tokens, without a decay, that is trained first:
    all batches branch from its weights. Left out: each is trained from the start."""

    def points(self, family: Family) -> Iterator[Point]:
        for size in family.members:
            trunk = (
                None if self.trunk_tokens is None else Point(size, "tokens", self.trunk_tokens, TRUNK, TRUNK)
            )
            for override in self.overrides:
                for i, tokens in enumerate(self.tokens):
                    path: Path = ("design", "tokens", i)
                    yield Point(size, "tokens", tokens, path, path, (override,), trunk)

    @cached_property
    def overrides(self) -> tuple[Override, ...]:
        return _changes(("recipe", "batch_tokens"), "batches", self.batches)


def _changes(field: Path, name: str, values: tuple[int, ...]) -> tuple[Override, ...]:
    """Return the changes of ``field`` to the values that are written in the field ``name`` of the design."""
    place: Path = ("design", name)
    return tuple(Override(field, value, (*place, i), place) for i, value in enumerate(values))
