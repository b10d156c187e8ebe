"""Which runs: cells, designs, held-out runs and repetitions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scaling.recipe.quantities import Count, Frozen, Positive, Whole
from scaling.spec.base import Amounts, Counts, Seeds, Several


class Cell(Frozen):
    """One size and how long to train it: exactly one of flops, tokens and steps."""

    width: Count | None = None
    """The size, for a width-dial; any width, listed in the family or not."""
    depth: Count | None = None
    """The size, for a depth-dial; any depth, listed in the family or not."""
    name: str | None = None
    """The size, for explicit shapes."""
    flops: Positive | None = None
    """Compute budget: 3 x forward matmul FLOPs, causal attention, head included; nearest whole step."""
    tokens: Positive | None = None
    """Training tokens; nearest whole step."""
    steps: Count | None = None
    """Optimizer steps."""


class Holdout(Cell):
    """A run that no fit sees: trained only after the forecast of it is frozen."""

    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0


class Noise(Cell):
    """Repetitions of one cell with seeds of their own, to measure the noise between seeds."""

    seeds: Seeds


MinSteps = Annotated[Count, Field(description="Leave out, and list, runs with fewer steps than this.")]


class IsoFLOP(Frozen):
    """Every size at every compute budget; tokens are solved from the exact FLOP count."""

    kind: Literal["isoflop"]
    budgets: Amounts
    """FLOPs of a run as if trained alone: 3 x forward matmul FLOPs, causal attention, head included."""
    min_steps: MinSteps = 1


class Grid(Frozen):
    """Every size at every horizon: exactly one of tokens and steps."""

    kind: Literal["grid"]
    tokens: Amounts | None = None
    """Horizons in training tokens."""
    steps: Counts | None = None
    """Horizons in optimizer steps."""
    min_steps: MinSteps = 1


class Ladder(Frozen):
    """Every size at multiples of its own number of parameters."""

    kind: Literal["ladder"]
    multiples: Amounts
    """Training tokens per parameter."""
    of: Literal["total", "body"] = "total"
    """Which parameters: all, or those outside embedding and head."""
    min_steps: MinSteps = 1


class RunList(Frozen):
    """Exactly these runs, each with every seed of the study."""

    kind: Literal["list"]
    runs: tuple[Cell, ...] = Several


Design = Annotated[IsoFLOP | Grid | Ladder | RunList, Field(discriminator="kind")]
