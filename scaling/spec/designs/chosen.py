"""Designs whose cells are chosen for a forecast: all at once, or round after round.

The cells are no part of what a user writes: ``scaling plan`` and ``scaling run`` choose them, and study.yaml
has them, each round with what it was based on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, model_validator

from scaling.recipe.quantities import Count, Described, Fraction, Positive
from scaling.spec.designs.cells import Cell, Point
from scaling.spec.designs.design import AnyDesign
from scaling.spec.families import Family
from scaling.spec.source import Finding

FEWEST = 8  # cells that are chosen before any result: some more than a fit of Chinchilla's law takes
INSTEAD = "the cells as a list"


class _Aimed(AnyDesign):
    """What a design for a forecast is given."""

    budget: Positive
    """FLOPs of all its runs, as if each were trained alone."""
    compute: Positive
    """What the law is wanted for: the compute of a run that is forecast, at the best N and D for it."""
    goal: Literal["loss", "size"] = "loss"
    """Whether its loss or its best size N* is to be known."""
    prior: str | None = None
    """What is assumed of the law before runs are trained: chinchilla, bytes, the JSON of a fit, or values
    such as alpha=0.3:0.4. Left out: what was published of sizes nearest to the family's."""
    noise: Positive | None = None
    """Standard deviation of log loss between seeds. Left out: the prior's, then that of residuals."""
    min_steps: Count | None = None
    """No run is shorter. Left out: 800, below which a plan warns; 400, 200 or 100 where the eight cheapest
    runs of so many steps cost more than two fifths of the budget."""

    @property
    def least_steps(self) -> int:
        return self.min_steps or 1

    def _as_long_as(self, known: _Aimed) -> Self:
        """The same with the limit that another has, where none is asked for: 100 was the default once."""
        return self if self.min_steps is not None else self.model_copy(update={"min_steps": known.min_steps})

    def _aim(self) -> Iterator[Finding]:
        if self.budget > 100 * self.compute:
            times = self.budget / self.compute
            message = f"is {times:.0f} times design.compute, {self.compute:.4g} FLOPs, which is forecast"
            yield Finding(("design", "budget"), message, "train the run itself, or raise compute")


class Optimal(_Aimed):
    """The cells that together leave the least variance of a forecast within a budget."""

    kind: Literal["optimal"]
    runs: Annotated[Count, Field(ge=FEWEST, le=1000)] = 24
    """At most so many cells."""
    cells: tuple[Cell, ...] = ()
    """Those chosen. Left out: `scaling plan` and `scaling run` choose them."""

    @property
    def unchosen(self) -> bool:
        return not self.cells

    @property
    def for_one_recipe(self) -> tuple[str, str]:
        return f"cells of a design of kind {self.kind} are chosen", INSTEAD

    def continued(self, known: AnyDesign) -> Optimal:
        """Take over cells that were chosen for the same."""
        if not isinstance(known, Optimal) or not self.unchosen:
            return self
        same = self._as_long_as(known).model_copy(update={"cells": known.cells})
        return same if same == known else self

    def points(self, family: Family) -> Iterator[Point]:
        for i, cell in enumerate(self.cells):
            yield cell.point(family, ("design", "cells", i))

    def findings(self, family: Family | None) -> Iterator[Finding]:
        yield from self._aim()
        for i, cell in enumerate(self.cells):
            yield from cell.findings(("design", "cells", i), family)


class Basis(Described):
    """What a round was chosen by."""

    law: str
    """The law."""
    source: str
    """A fit of the runs of the rounds before, or a prior."""
    params: dict[str, float]
    """Its parameters."""
    status: str | None = None
    """Status of the fit. Left out: there was none."""
    noise: float
    """Standard deviation of log loss of a run."""
    least_steps: Count | None = None
    """No run of it is shorter. Left out: not known."""
    runs: int
    """Fitted runs that were there."""
    records: str | None = None
    """Hash of the table of these runs; left out where there was none."""
    spent: float
    """FLOPs of all runs of the rounds before, fitted or not."""
    width: float | None = None
    """Width of the 90 % interval of the forecast before the round, relative. Left out: not known."""
    expected: float | None = None
    """The same after the round, as expected when it was chosen."""


class Round(Described):
    """Cells that were chosen together."""

    cells: tuple[Cell, ...]
    basis: Basis


class Adaptive(_Aimed):
    """Rounds of cells: fit, choose, train, until the budget is spent or the forecast is narrow enough."""

    kind: Literal["adaptive"]
    width: Fraction | None = None
    """Width of the 90 % interval of the forecast, relative, at which it stops; such as `2 %`. A fit at a
    bound, or that does not say what is irreducible, does not reach it."""
    runs: Annotated[Count, Field(ge=FEWEST, le=1000)] = 100
    """At most so many cells in all its rounds."""
    batch: Annotated[Count, Field(le=1000)] | None = None
    """At most so many cells a round. Left out: as many as spend half of what is left of the budget."""
    first: Annotated[Fraction, Field(gt=0)] = 0.3
    """Share of the budget that the first round may spend, on few cells; more where it does not pay for
    those that a fit takes."""
    rounds: tuple[Round, ...] = ()
    """Those chosen so far; written by `scaling run`."""
    ended: str | None = None
    """Why there is no further round; written by `scaling run`."""

    @model_validator(mode="before")
    @classmethod
    def _former(cls, value: Any) -> Any:
        """Leave out the ``batch`` of a study.yaml that was written before designs had ``runs``: 4 was its
        default then, and is written like one that was asked for."""
        if not isinstance(value, dict):
            return value
        fields = cast(dict[str, Any], value)
        former = fields.get("rounds") and "runs" not in fields and fields.get("batch") == 4
        return {name: x for name, x in fields.items() if name != "batch"} if former else fields

    @property
    def unchosen(self) -> bool:
        return not self.rounds

    @property
    def room(self) -> int:
        """Cells that further rounds may have."""
        return max(self.runs - sum(len(one.cells) for one in self.rounds), 0)

    @property
    def for_one_recipe(self) -> tuple[str, str]:
        return f"cells of a design of kind {self.kind} are chosen", INSTEAD

    @property
    def grows(self) -> bool:
        return True

    @property
    def unfinished(self) -> bool:
        return self.ended is None

    def stage(self, spent: float) -> str:
        number = len(self.rounds)
        if self.ended is not None:
            return f"rounds 1 to {number}, and no further one: {self.ended}"
        what = "round 1, chosen before any result" if number == 1 else f"rounds 1 to {number}"
        return (
            f"{what}: {spent:.3g} of the budget of {self.budget:.3g} FLOPs, as if each run were trained "
            f"alone; {max(self.budget - spent, 0):.3g} wait for rounds that results decide: cost and time "
            "are of these runs alone"
        )

    @property
    def undecided(self) -> Adaptive:
        return self.model_copy(update={"rounds": (), "ended": None})

    def continued(self, known: AnyDesign) -> Adaptive:
        """Take over rounds that follow on its own, whatever is asked, and why they ended while that holds,
        however cells are shared out among rounds."""
        if not isinstance(known, Adaptive) or known.rounds[: len(self.rounds)] != self.rounds:
            return self
        asked = self._as_long_as(known)
        same = all(getattr(asked, name) == getattr(known, name) for name in (*_Aimed.model_fields, "width"))
        more = self.runs > known.runs and not known.room
        return self.model_copy(
            update={"rounds": known.rounds, "ended": known.ended if same and not more else None}
        )

    def points(self, family: Family) -> Iterator[Point]:
        for i, one in enumerate(self.rounds):
            for j, cell in enumerate(one.cells):
                yield cell.point(family, ("design", "rounds", i, "cells", j))

    def findings(self, family: Family | None) -> Iterator[Finding]:
        yield from self._aim()
        for i, one in enumerate(self.rounds):
            for j, cell in enumerate(one.cells):
                yield from cell.findings(("design", "rounds", i, "cells", j), family)
