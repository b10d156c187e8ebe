"""Published rules, by name. Units are ours: tokens, FLOPs, parameters.

To add one: a class here with its powers by field, and its place in :data:`PUBLISHED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from scaling.recipe.quantities import Positive
from scaling.recipe.rules import Exponent, Powers, Rule, Scale

SEQUENCE = 2048  # tokens of a sequence of Power Lines, whose batches are in sequences


def decay_of_timescale(coefficient: float, exponent: float) -> Powers:
    """Return weight decay = B / (tau x rate x D) for a time scale tau = coefficient x (D/N)^exponent."""
    exponents: dict[Scale, float] = {"batch_tokens": 1.0, "learning_rate": -1.0, "tokens": -1.0}
    exponents["tokens_per_param"] = -exponent
    return Powers(1 / coefficient, exponents)


class Published(Rule):
    """A rule whose numbers are those of a paper."""

    by_target: ClassVar[Mapping[str, Powers]]

    def powers(self, target: str) -> Powers:
        return self.by_target[target]

    def targets(self) -> tuple[str, ...]:
        return tuple(self.by_target)


class StepLaw(Published):
    """Step Law (arXiv:2503.04715): rate 1.79 N^-0.713 D^0.307, batch 0.58 D^0.571; N without embeddings."""

    kind: Literal["step-law"]
    by_target: ClassVar[Mapping[str, Powers]] = {
        "learning_rate": Powers(1.79, {"params_body": -0.713, "tokens": 0.307}),
        "batch_tokens": Powers(0.58, {"tokens": 0.571}),
    }


class DeepSeek(Published):
    """DeepSeek LLM (arXiv:2401.02954): rate 0.3118 C^-0.125, batch 0.2920 C^0.3271; C = M D with M the FLOPs
    a token without the head, attention to all T^2 pairs."""

    kind: Literal["deepseek"]
    by_target: ClassVar[Mapping[str, Powers]] = {
        "learning_rate": Powers(0.3118, {"flops_body": -0.125}),
        "batch_tokens": Powers(0.2920, {"flops_body": 0.3271}),
    }


class PowerLines(Published):
    """Power Lines (arXiv:2505.13738): batch 0.0306 D^0.383 sequences of 2048 tokens; weight decay by the time
    scale 1.084 (D/N)^-0.527, as `timescale`."""

    kind: Literal["power-lines"]
    by_target: ClassVar[Mapping[str, Powers]] = {
        "batch_tokens": Powers(0.0306 * SEQUENCE, {"tokens": 0.383}),
        "weight_decay": decay_of_timescale(1.084, -0.527),
    }


class TimeScale(Rule):
    """Weight decay B / (tau rate D) for a time scale of AdamW tau = coefficient x (D/N)^exponent, in passes
    over the D tokens of the run (arXiv:2405.13698, constant; arXiv:2505.13738, a power of D/N)."""

    kind: Literal["timescale"]
    coefficient: Positive = 1.084
    """tau where D/N = 1."""
    exponent: Exponent = -0.527
    """0 for a constant time scale."""

    def powers(self, target: str) -> Powers:
        return decay_of_timescale(self.coefficient, self.exponent)

    def targets(self) -> tuple[str, ...]:
        return ("weight_decay",)


class SqrtBatch(Rule):
    """Square-root scaling (arXiv:2205.10287, for Adam): rate coefficient x sqrt(batch_tokens / reference)."""

    kind: Literal["sqrt-batch"]
    coefficient: Positive
    """Rate at the reference batch."""
    reference: Positive
    """Tokens of the batch at which the coefficient holds."""

    def powers(self, target: str) -> Powers:
        return Powers(self.coefficient * self.reference**-0.5, {"batch_tokens": 0.5})

    def targets(self) -> tuple[str, ...]:
        return ("learning_rate",)


PUBLISHED: tuple[type[Any], ...] = (StepLaw, DeepSeek, PowerLines, TimeScale, SqrtBatch)
