"""Designs that cross the sizes of a family with horizons: grid, ladder, over-trained rays, Kaplan's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from scaling.recipe.quantities import Positive
from scaling.spec.base import Amounts, Counts
from scaling.spec.designs.cells import Point
from scaling.spec.designs.design import Candidate, Counted, Crossed, per_param, product
from scaling.spec.families import Family
from scaling.spec.source import Finding, Path

OF: Path = ("design", "of")


class Grid(Crossed):
    """Every size at every horizon: exactly one of tokens and steps."""

    kind: Literal["grid"]
    tokens: Amounts | None = None
    """Horizons in training tokens."""
    steps: Counts | None = None
    """Horizons in optimizer steps."""

    def points(self, family: Family) -> Iterator[Point]:
        if self.tokens:
            return product(family, "tokens", self.tokens, "tokens")
        return product(family, "steps", self.steps or (), "steps")

    def findings(self, family: Family | None) -> Iterator[Finding]:
        if (self.tokens is None) == (self.steps is None):
            yield Finding(("design",), "needs exactly one of tokens and steps", "give the horizons once")


class _Multiples(Crossed):
    """Every size at multiples of its own number of parameters."""

    multiples: Amounts
    """Training tokens per parameter."""
    of: Counted = "total"
    """Which parameters: all, or those outside embedding and head."""

    def points(self, family: Family) -> Iterator[Point]:
        return product(family, per_param(self.of), self.multiples, "multiples")

    @property
    def body_field(self) -> Path | None:
        return OF if self.of == "body" else None


class Ladder(_Multiples):
    """Every size at multiples of its own number of parameters."""

    kind: Literal["ladder"]


class OverTraining(_Multiples):
    """Rays of fixed tokens per parameter, beyond the ratio that is best for compute: each from the smallest
    size to the largest that a run's compute allows, so that the longest rays end at small sizes (Gadre et
    al., arXiv:2403.08540)."""

    kind: Literal["over-training"]
    max_flops: Positive
    """Leave out, and list, runs of more FLOPs than this."""

    @property
    def narrows(self) -> bool:
        return True

    def left_out(self, candidates: Sequence[Candidate]) -> Mapping[Point, str]:
        return {
            one.point: f"{one.flops:.3g} FLOPs, more than max_flops = {self.max_flops:.3g}"
            for one in candidates
            if one.flops > self.max_flops
        }


class Kaplan(Crossed):
    """Large sizes and few tokens: every size at the horizons that give it few tokens per parameter. It is
    where Kaplan et al. (arXiv:2001.08361) trained; what it says of the best size at a given compute is an
    extrapolation (Hoffmann et al., arXiv:2203.15556)."""

    kind: Literal["kaplan"]
    tokens: Amounts
    """Horizons in training tokens."""
    max_multiple: Positive = 5.0
    """Leave out, and list, runs of more tokens per parameter than this."""
    of: Counted = "total"
    """Which parameters: all, or those outside embedding and head."""

    @property
    def narrows(self) -> bool:
        return True

    def points(self, family: Family) -> Iterator[Point]:
        return product(family, "tokens", self.tokens, "tokens")

    @property
    def body_field(self) -> Path | None:
        return OF if self.of == "body" else None

    def left_out(self, candidates: Sequence[Candidate]) -> Mapping[Point, str]:
        ratios = {one.point: one.tokens / one.size(self.of) for one in candidates}
        return {
            point: f"{ratio:.3g} tokens per parameter, more than max_multiple = {self.max_multiple:g}"
            for point, ratio in ratios.items()
            if ratio > self.max_multiple
        }
