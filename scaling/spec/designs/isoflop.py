"""IsoFLOP curves: sizes at equal compute, all of them or those in a window about the best one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scaling.spec.base import Amounts
from scaling.spec.designs.cells import Point
from scaling.spec.designs.design import Candidate, Crossed, product
from scaling.spec.designs.windows import SizeCost, Window
from scaling.spec.families import Family
from scaling.spec.source import Finding, Path

FEWEST = 3  # sizes that a parabola goes through
WINDOW: Path = ("design", "window")


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

    def left_out(self, candidates: Sequence[Candidate]) -> Mapping[Point, str]:
        return {
            one.point: f"N = {math.exp(log_n):.3g} is {curve.outside}"
            for curve in self._curves(candidates)
            for one, log_n in curve.sizes
            if one.point not in curve.kept
        }

    def notes(self, candidates: Sequence[Candidate]) -> Iterator[str]:
        for curve in self._curves(candidates):
            yield from curve.notes()

    def _curves(self, candidates: Sequence[Candidate]) -> Iterator[_Curve]:
        assert self.window is not None
        by_budget = dict[float, list[Candidate]]()
        for one in candidates:
            by_budget.setdefault(one.point.amount, []).append(one)
        counted = self.window.center.of
        cost = SizeCost.of(candidates, counted)
        for budget, at_budget in by_budget.items():
            sizes = tuple((one, math.log(one.size(counted))) for one in at_budget)
            yield _Curve(budget, sizes, self.window, self.window.center.log_best(budget, cost))


@dataclass(frozen=True)
class _Curve:
    """The sizes of one budget, each with its log N, and the log N that their window is centred at."""

    budget: float
    sizes: tuple[tuple[Candidate, float], ...]
    window: Window
    log_center: float

    @property
    def kept(self) -> set[Point]:
        """The points that are trained."""
        off = {one.point: abs(log_n - self.log_center) for one, log_n in self.sizes}
        if self.window.sizes is not None:
            return set(sorted(off, key=off.__getitem__)[: self.window.sizes])
        assert self.window.within is not None, "a window without either is found before"
        limit = math.log(self.window.within)
        return {point for point, distance in off.items() if distance <= limit}

    @property
    def outside(self) -> str:
        """Say of a size what it is not."""
        center = f"{math.exp(self.log_center):.3g}, the centre at {self.budget:.3g} FLOPs"
        if self.window.sizes is not None:
            return f"not one of the {self.window.sizes} sizes nearest to {center}"
        return f"not within a factor {self.window.within:g} of {center}"

    def notes(self) -> Iterator[str]:
        """Say where the curve will have no minimum inside."""
        kept = self.kept
        at = f"at {self.budget:.3g} FLOPs, where {math.exp(self.log_center):.3g} parameters are thought best,"
        inside = [log_n for one, log_n in self.sizes if one.point in kept]
        if len(inside) < FEWEST:
            sizes = "1 size is" if len(inside) == 1 else f"{len(inside) or 'no'} sizes are"
            yield f"{at} {sizes} in the window: a minimum takes {FEWEST}"
        elif self.log_center > max(inside):
            yield f"{at} all sizes in the window are smaller: the minimum may lie beyond; list larger ones"
        elif self.log_center < min(inside):
            yield f"{at} all sizes in the window are larger: the minimum may lie below; list smaller ones"
