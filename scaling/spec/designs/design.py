"""What every design has.

Every design has the same names: ``least_steps`` (shorter runs are left out), ``points`` (the sizes it trains
and for how long), ``findings`` (what is wrong with it) and, where they say something, ``overrides`` (what its
points change of the study), ``left_out`` and ``notes`` (which points sizes and FLOPs rule out, and what a
reader should know of that).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

from scaling.recipe.quantities import Count, Described
from scaling.spec.designs.cells import Length, Point
from scaling.spec.families import Family
from scaling.spec.source import Finding, Override, Path

Counted = Literal["total", "body"]  # which parameters are N: all, or those outside embedding and head


@dataclass(frozen=True)
class Candidate:
    """A point of a design and what it comes to: parameters (those outside embedding and head where they are
    known), training tokens as asked for, before whole steps, and FLOPs of the run as if trained alone."""

    point: Point
    params: int
    params_body: int | None
    tokens: float
    flops: float

    def size(self, of: Counted) -> int:
        """N; ``body`` only of sizes that state it."""
        if of == "total":
            return self.params
        assert self.params_body is not None, "a size that does not state it is found before"
        return self.params_body


class AnyDesign(Described):
    """What is the same in designs that say nothing else."""

    @property
    def narrows(self) -> bool:
        """Whether :meth:`left_out` may leave points out; their lengths are not in steps then."""
        return False

    @property
    def least_steps(self) -> int:
        """Runs with fewer steps are left out."""
        return 1

    @property
    def unchosen(self) -> bool:
        """Whether its cells are still to be chosen, by what plans it for a forecast."""
        return False

    @property
    def grows(self) -> bool:
        """Whether cells are decided as results come in: by an entry of ``scaling.design.growing``."""
        return False

    @property
    def for_one_recipe(self) -> tuple[str, str] | None:
        """What is chosen or decided for one recipe and one family, and what to give instead where a study has
        several; None: nothing is."""
        return None

    def continued(self, known: AnyDesign) -> Self:
        """Return the design with what ``known``, that of its results folder, has decided and it has not; what
        answers another question is left out."""
        return self

    @property
    def undecided(self) -> Self:
        """The design without what results decided of it."""
        return self

    def points(self, family: Family) -> Iterator[Point]:
        """Yield all points, before any is left out."""
        raise NotImplementedError

    def findings(self, family: Family | None) -> Iterator[Finding]:
        """Find what is wrong; ``family`` is None where it is not valid itself."""
        yield from ()

    @cached_property
    def overrides(self) -> tuple[Override, ...]:
        """All changes of the study that points make."""
        return ()

    @property
    def waiting(self) -> tuple[float, ...]:
        """The amounts whose cells are chosen when others have been trained, in the order of their turns."""
        return ()

    @property
    def unfinished(self) -> bool:
        """Whether more cells are chosen when those that are known have been trained."""
        return bool(self.waiting)

    def stage(self, spent: float) -> str:
        """Say which part of it a plan has whose fitted runs cost ``spent`` FLOPs, as if each were trained
        alone; empty: all."""
        return ""

    @property
    def body_field(self) -> Path | None:
        """Where it asks for N without embedding and head, which not every size states."""
        return None

    def left_out(self, candidates: Sequence[Candidate]) -> Mapping[Point, str]:
        """Return the points that are not trained, and why; ``candidates`` are all of one family."""
        return {}

    def notes(self, candidates: Sequence[Candidate]) -> Iterator[str]:
        """Say what a reader of the plan should know of what :meth:`left_out` leaves."""
        yield from ()


class Crossed(AnyDesign):
    """A design that crosses the sizes of a family with amounts of training."""

    min_steps: Count = 1
    """Leave out, and list, runs with fewer steps than this."""

    @property
    def least_steps(self) -> int:
        return self.min_steps


def product(family: Family, length: Length, amounts: Sequence[float], field: str) -> Iterator[Point]:
    """Cross every size with every amount, which are written in ``field`` of the design."""
    for size in family.members:
        for i, amount in enumerate(amounts):
            path: Path = ("design", field, i)
            yield Point(size, length, amount, path, path)


def per_param(of: Counted) -> Length:
    """Return the length of a training that is given in tokens per parameter."""
    return "per_total" if of == "total" else "per_body"
