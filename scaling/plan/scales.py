"""The quantities of a run that rules are made of, and the batch that a rule asks for."""

from __future__ import annotations

from dataclasses import dataclass

from scaling.counts.flops import forward_matmul_flops
from scaling.counts.params import count_parameters
from scaling.counts.shape import Shape
from scaling.recipe.quantities import LARGEST_COUNT
from scaling.recipe.rules import OF_HORIZON, Rule, Scale
from scaling.recipe.written import RuleError, number, scales_of
from scaling.spec.designs import Point

WORTH_SAYING = 1.1  # a batch that is moved by more than this ratio


@dataclass(frozen=True)
class Batch:
    """Tokens of a step: whole sequences; ``asked`` is what a rule gave, or the same."""

    tokens: int
    asked: float

    @property
    def moved(self) -> float:
        """By what ratio it is larger or smaller than asked."""
        return max(self.tokens / self.asked, self.asked / self.tokens)


def shape_scales(shape: Shape) -> dict[Scale, float]:
    """Return the quantities of a shape."""
    counts = count_parameters(shape)
    return {
        "width": shape.width,
        "depth": shape.depth,
        "params": counts.total,
        "params_body": counts.body,
    }


def horizon_scales(shape: Shape, tokens: float) -> dict[Scale, float]:
    """Return the quantities of ``tokens`` tokens of training."""
    return {
        "tokens": tokens,
        "tokens_per_param": tokens / count_parameters(shape).total,
        "flops": 3 * forward_matmul_flops(shape) * tokens / shape.context,
        "flops_body": 3 * forward_matmul_flops(shape, causal=False, head=False) * tokens / shape.context,
    }


def tokens_asked(point: Point, shape: Shape) -> float | None:
    """Return the training tokens that a point asks for, before rounding; None where it asks for steps."""
    match point.length:
        case "flops":
            return point.amount * shape.context / (3 * forward_matmul_flops(shape))
        case "tokens":
            return point.amount
        case "steps":
            return None
        case "per_total":
            return point.amount * count_parameters(shape).total
        case "per_body":
            return point.amount * count_parameters(shape).body


def batch_of(written: int | Rule, shape: Shape, tokens: float | None) -> Batch:
    """Return the batch of a run: as written, or the multiple of the context nearest to what a rule gives.

    Args:
        written: the recipe's ``batch_tokens``.
        shape: of the run.
        tokens: training tokens asked for; None where steps were.

    Raises:
        RuleError: the rule needs a horizon that follows from it, or gives no number of tokens.
    """
    if not isinstance(written, Rule):
        return Batch(written, written)
    scales = shape_scales(shape)
    of_horizon = OF_HORIZON & scales_of(("batch_tokens",), written)
    if tokens is not None:
        scales |= horizon_scales(shape, tokens)
    elif of_horizon:
        used = ", ".join(sorted(of_horizon))
        message = (
            f"circular: the batch follows from {used}, which follow from the batch where steps are given"
        )
        raise RuleError(("batch_tokens",), message, "give the length of every run as flops or tokens")
    asked = number(written, scales, ("batch_tokens",), LARGEST_COUNT)
    return Batch(max(1, int(asked / shape.context + 0.5)) * shape.context, asked)
