"""Which sizes are trained at a compute budget: a window about the size that is thought best there."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from scaling.recipe.quantities import Count, Described, Positive, Real
from scaling.spec.designs.design import Candidate, Counted
from scaling.spec.source import Finding, Path

HALVINGS = 100  # of the range in which a best size is looked for
RANGE = (0.0, 40 * math.log(10))  # of log N
GOLDEN = (math.sqrt(5) - 1) / 2
Exponent = Annotated[Real, Field(gt=0, lt=2)]


@dataclass(frozen=True)
class SizeCost:
    """FLOPs of a token of training by log N: between the sizes of a family interpolated in logs, beyond them
    in proportion to N."""

    log_n: tuple[float, ...]
    log_flops: tuple[float, ...]

    @classmethod
    def of(cls, candidates: Sequence[Candidate], counted: Counted) -> SizeCost:
        """Read it from one candidate or more; of sizes with the same N the first counts."""
        known = dict[float, float]()
        for one in candidates:
            known.setdefault(math.log(one.size(counted)), math.log(one.flops / one.tokens))
        sizes = sorted(known)
        return cls(tuple(sizes), tuple(known[x] for x in sizes))

    def log_tokens(self, log_n: float, budget: float) -> float:
        """Return log D of a run of ``budget`` FLOPs."""
        return math.log(budget) - self._log_flops(log_n)

    def _log_flops(self, x: float) -> float:
        xs, ys = self.log_n, self.log_flops
        if x <= xs[0] or x >= xs[-1]:
            end = 0 if x <= xs[0] else -1
            return ys[end] + x - xs[end]
        i = bisect_left(xs, x)
        share = (x - xs[i - 1]) / (xs[i] - xs[i - 1])
        return ys[i - 1] + share * (ys[i] - ys[i - 1])


class Center(Described):
    """Says which N is best at a budget; every kind has ``log_best``."""

    of: Counted = "total"
    """Which parameters N are: all, or those outside embedding and head."""

    def log_best(self, budget: float, cost: SizeCost) -> float | None:
        """Return log N of the centre at ``budget`` FLOPs, for sizes that cost what ``cost`` says; None: it is
        not known yet."""
        raise NotImplementedError


class Ratio(Center):
    """The size that gets so many tokens per parameter."""

    kind: Literal["ratio"]
    tokens_per_param: Positive = 20.0

    def log_best(self, budget: float, cost: SizeCost) -> float:
        wanted = math.log(self.tokens_per_param)
        low, high = RANGE
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if cost.log_tokens(middle, budget) - middle > wanted:
                low = middle
            else:
                high = middle
        return low


class Power(Center):
    """N = coefficient x C^exponent, of C in FLOPs as budgets are."""

    kind: Literal["power"]
    coefficient: Positive
    exponent: Exponent

    def log_best(self, budget: float, cost: SizeCost) -> float:
        return math.log(self.coefficient) + self.exponent * math.log(budget)


class PriorLaw(Center):
    """The minimum on the budget of L = E + A / N^alpha + B / D^beta, with D from the exact FLOPs of sizes."""

    kind: Literal["law"]
    A: Positive
    B: Positive
    alpha: Exponent
    beta: Exponent

    def log_best(self, budget: float, cost: SizeCost) -> float:
        def loss(log_n: float) -> float:
            """Return the log of what is above E, which overflows nowhere."""
            of_size = math.log(self.A) - self.alpha * log_n
            of_data = math.log(self.B) - self.beta * cost.log_tokens(log_n, budget)
            top = max(of_size, of_data)
            return top + math.log(math.exp(of_size - top) + math.exp(of_data - top))

        return _lowest(loss)


def _lowest(value: Callable[[float], float]) -> float:
    """Return where a function with one minimum in :data:`RANGE` has it, by golden sections."""
    low, high = RANGE
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(HALVINGS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = value(right)
    return (low + high) / 2


class Decided(Described):
    """The centre at one budget, and what it was decided by."""

    budget: Positive
    params: Positive
    """N."""
    because: str
    """What was measured at the budgets below, in words."""


class Auto(Center):
    """The best size by the budgets below, when they are trained; the lowest one trains all sizes."""

    kind: Literal["auto"]
    decided: tuple[Decided, ...] = ()
    """Written by `scaling run` into study.yaml, budget by budget."""

    def log_best(self, budget: float, cost: SizeCost) -> float | None:
        return next((math.log(one.params) for one in self.decided if one.budget == budget), None)

    def waiting(self, budgets: Sequence[float]) -> tuple[float, ...]:
        """Return those of the budgets, rising, but the lowest, whose centre is not decided."""
        known = {one.budget for one in self.decided}
        return tuple(budget for budget in sorted(budgets)[1:] if budget not in known)


def _auto(value: Any) -> Any:
    return {"kind": "auto"} if value == "auto" else value


Centers = Ratio | Power | PriorLaw | Auto
AnyCenter = Annotated[
    Annotated[Centers, Field(discriminator="kind")],
    BeforeValidator(_auto, json_schema_input_type=Centers | Literal["auto"]),
]


class Window(Described):
    """Sizes near the best one: exactly one of sizes and within."""

    center: AnyCenter
    """Which size is thought best at a budget."""
    sizes: Count | None = None
    """So many sizes of the family, those nearest in log N."""
    within: Annotated[Positive, Field(gt=1)] | None = None
    """All sizes with N within this factor."""

    def body_field(self, place: Path) -> Path | None:
        """Where the window at ``place`` asks for N without embedding and head."""
        return (*place, "center", "of") if self.center.of == "body" else None

    def findings(self, place: Path, sizes: int | None) -> Iterator[Finding]:
        """Find what is wrong with the window at ``place`` of a family of so many sizes; None: not known."""
        if (self.sizes is None) == (self.within is None):
            got = "both" if self.sizes else "neither"
            yield Finding(place, f"needs exactly one of sizes and within, has {got}", "keep one")
        elif sizes is not None and self.sizes is not None and self.sizes > sizes:
            message = f"asks for {self.sizes} sizes, and the family has {sizes}"
            yield Finding((*place, "sizes"), message, "list more sizes, or ask for fewer", by_lack=True)
