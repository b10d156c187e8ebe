"""IsoFLOP curves: sizes at equal compute, all of them or those in a window about the best one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from scaling.spec.base import Amounts
from scaling.spec.designs.cells import Point
from scaling.spec.designs.design import AnyDesign, Candidate, Crossed, product
from scaling.spec.designs.windows import Auto, Decided, SizeCost, Window
from scaling.spec.families import Family
from scaling.spec.source import Finding, Path

FEWEST = 3  # sizes that a parabola goes through
WINDOW: Path = ("design", "window")
WAITS = "its window is centred when the budgets below are trained (center: auto)"


class IsoFLOP(Crossed):
    """Every size at every compute budget, or those in a window about the best one; tokens are solved from the
    exact FLOP count."""

    kind: Literal["isoflop"]
    budgets: Amounts
    """FLOPs of a run as if trained alone: 3 x forward matmul FLOPs, causal attention, head included."""
    window: Window | None = None
    """Train at each budget only sizes near the one that is thought best there. Left out: all."""

    @property
    def narrows(self) -> bool:
        return self.window is not None

    def points(self, family: Family) -> Iterator[Point]:
        return product(family, "flops", self.budgets, "budgets")

    def findings(self, family: Family | None) -> Iterator[Finding]:
        if self.window is not None:
            yield from self.window.findings(WINDOW, None if family is None else len(family.members))

    @property
    def body_field(self) -> Path | None:
        return None if self.window is None else self.window.body_field(WINDOW)

    @property
    def grows(self) -> bool:
        return self.window is not None and isinstance(self.window.center, Auto)

    @property
    def for_one_recipe(self) -> tuple[str, str] | None:
        return ("design.window.center: auto is decided", "the centre by a law") if self.grows else None

    def continued(self, known: AnyDesign) -> IsoFLOP:
        """Take over the centres of budgets that wait."""
        center = known.window.center if isinstance(known, IsoFLOP) and known.window is not None else None
        design = self
        for one in center.decided if isinstance(center, Auto) else ():
            if one.budget in design.waiting:
                design = design.decided(one.budget, one.params, one.because)
        return design

    @property
    def undecided(self) -> IsoFLOP:
        if self.window is None or not isinstance(self.window.center, Auto):
            return self
        return self._centred(self.window.center.model_copy(update={"decided": ()}))

    @property
    def waiting(self) -> tuple[float, ...]:
        center = None if self.window is None else self.window.center
        return center.waiting(self.budgets) if isinstance(center, Auto) else ()

    def decided(self, budget: float, params: float, because: str) -> IsoFLOP:
        """Return the design with one centre more, of a window that grows."""
        assert self.window is not None and isinstance(self.window.center, Auto)
        one = Decided(budget=budget, params=params, because=because)
        return self._centred(
            self.window.center.model_copy(update={"decided": (*self.window.center.decided, one)})
        )

    def _centred(self, center: Auto) -> IsoFLOP:
        assert self.window is not None
        return self.model_copy(update={"window": self.window.model_copy(update={"center": center})})

    def left_out(self, candidates: Sequence[Candidate]) -> Mapping[Point, str]:
        waiting = set(self.waiting)
        return {one.point: WAITS for one in candidates if one.point.amount in waiting} | {
            one.point: curve.outside
            for curve in self._curves(candidates)
            for one, _ in curve.sizes
            if one.point not in curve.kept
        }

    def notes(self, candidates: Sequence[Candidate]) -> Iterator[str]:
        for curve in self._curves(candidates):
            yield from curve.notes()
        if self.waiting:
            yield self._wait()

    def _wait(self) -> str:
        """Say what is not planned yet, and what it will cost where that is known."""
        assert self.window is not None
        waiting, sizes = self.waiting, self.window.sizes
        listed = ", ".join(f"{budget:.3g}" for budget in waiting)
        number = f"{len(waiting)} budgets wait" if len(waiting) > 1 else "1 budget waits"
        text = f"{number} for the minima of those below ({listed} FLOPs)"
        if sizes is None:
            return text
        return f"{text}: {sizes} sizes each, {sizes * sum(waiting):.3g} FLOPs a seed as if trained alone"

    def _curves(self, candidates: Sequence[Candidate]) -> Iterator[_Curve]:
        assert self.window is not None
        by_budget = dict[float, list[Candidate]]()
        for one in candidates:
            by_budget.setdefault(one.point.amount, []).append(one)
        counted = self.window.center.of
        cost = SizeCost.of(candidates, counted)
        for budget, at_budget in by_budget.items():
            sizes = tuple((one, math.log(one.size(counted))) for one in at_budget)
            log_center = self.window.center.log_best(budget, cost)
            if log_center is not None:
                yield _Curve(budget, sizes, self.window, log_center)


@dataclass(frozen=True)
class _Curve:
    """The sizes of one budget, each with its log N, and the log N that their window is centred at."""

    budget: float
    sizes: tuple[tuple[Candidate, float], ...]
    window: Window
    log_center: float

    @cached_property
    def kept(self) -> set[Point]:
        """The points that are trained."""
        off = {one.point: abs(log_n - self.log_center) for one, log_n in self.sizes}
        if self.window.sizes is not None:
            return set(sorted(off, key=off.__getitem__)[: self.window.sizes])
        assert self.window.within is not None, "a window without either is found before"
        limit = math.log(self.window.within)
        return {point for point, distance in off.items() if distance <= limit}

    @property
    def center(self) -> int:
        """N of the centre, to three digits."""
        return int(float(f"{math.exp(self.log_center):.3g}"))

    @property
    def outside(self) -> str:
        """Say of a size what it is not."""
        center = f"{self.center:,}, the centre at {self.budget:.3g} FLOPs"
        if self.window.sizes is not None:
            return f"not one of the {self.window.sizes} sizes nearest to {center}"
        return f"not within a factor {self.window.within:g} of {center}"

    def notes(self) -> Iterator[str]:
        """Say where the curve will have no minimum inside."""
        kept = self.kept
        at = f"at {self.budget:.3g} FLOPs, where {self.center:,} parameters are thought best,"
        inside = [log_n for one, log_n in self.sizes if one.point in kept]
        if len(inside) < FEWEST:
            sizes = "1 size is" if len(inside) == 1 else f"{len(inside) or 'no'} sizes are"
            yield f"{at} {sizes} in the window: a minimum takes {FEWEST}"
        elif self.log_center > max(inside):
            yield f"{at} all sizes in the window are smaller: the minimum may lie beyond; list larger ones"
        elif self.log_center < min(inside):
            yield f"{at} all sizes in the window are larger: the minimum may lie below; list smaller ones"
