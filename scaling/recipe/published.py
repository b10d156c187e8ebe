"""Published rules, by name. Units are ours: tokens, FLOPs, parameters.

To add one: a class here with its powers by field, and its name in :data:`PUBLISHED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from scaling.recipe.quantities import Positive
from scaling.recipe.rules import Powers, Rule


class Published(Rule):
    """A rule whose numbers are those of a paper."""

    by_target: ClassVar[Mapping[str, Powers]]

    def powers(self, target: str) -> Powers | None:
        return self.by_target.get(target)

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


class SqrtBatch(Rule):
    """Square-root scaling (arXiv:1404.5997, section 5): rate coefficient x sqrt(batch_tokens / reference)."""

    kind: Literal["sqrt-batch"]
    coefficient: Positive
    """Rate at the reference batch."""
    reference: Positive
    """Tokens of the batch at which the coefficient holds."""

    def powers(self, target: str) -> Powers | None:
        if target != "learning_rate":
            return None
        return Powers(self.coefficient * self.reference**-0.5, {"batch_tokens": 0.5})

    def targets(self) -> tuple[str, ...]:
        return ("learning_rate",)


PUBLISHED: tuple[type[Any], ...] = (StepLaw, DeepSeek, SqrtBatch)
