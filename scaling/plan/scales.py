"""The quantities of a run that rules are made of, and the batch that a rule asks for."""

from __future__ import annotations

from dataclasses import dataclass

from scaling.counts.external import ExternalSize
from scaling.counts.flops import forward_matmul_flops
from scaling.counts.model import Model, counts_of, sequence_flops
from scaling.recipe.quantities import LARGEST_COUNT
from scaling.recipe.rules import OF_HORIZON, Rule, Scale
from scaling.recipe.written import RuleError, number, scales_of
from scaling.spec.designs.cells import Point

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


def shape_scales(model: Model) -> dict[Scale, float]:
    """Return the quantities of a model that are known."""
    counts = counts_of(model)
    known: dict[Scale, float | None] = {
        **_dimensions(model),
        "params": counts.total,
        "params_body": counts.body,
    }
    return {scale: value for scale, value in known.items() if value is not None}


def _dimensions(model: Model) -> dict[Scale, float | None]:
    if isinstance(model, ExternalSize):
        return {"width": model.known_width, "depth": model.known_depth}
    return {"width": model.width, "depth": model.depth}


def horizon_scales(model: Model, tokens: float) -> dict[Scale, float]:
    """Return the quantities of ``tokens`` tokens of training that are known."""
    known: dict[Scale, float] = {
        "tokens": tokens,
        "tokens_per_param": tokens / counts_of(model).total,
        "flops": sequence_flops(model) * tokens / model.context,
    }
    if not isinstance(model, ExternalSize):
        body = forward_matmul_flops(model, causal=False, head=False)
        known["flops_body"] = 3 * body * tokens / model.context
    return known


def tokens_asked(point: Point, model: Model) -> float | None:
    """Return the training tokens that a point asks for, before rounding; None where it asks for steps."""
    match point.length:
        case "flops":
            return point.amount * model.context / sequence_flops(model)
        case "tokens":
            return point.amount
        case "steps":
            return None
        case "per_total":
            return point.amount * counts_of(model).total
        case "per_body":
            body = counts_of(model).body
            assert body is not None, "a size that does not state it is found before"
            return point.amount * body


def batch_of(written: int | Rule, model: Model, tokens: float | None) -> Batch:
    """Return the batch of a run: the multiple of the context nearest to what is written or a rule gives.

    Args:
        written: the recipe's ``batch_tokens``.
        model: of the run.
        tokens: training tokens asked for; None where steps were.

    Raises:
        RuleError: the rule needs a horizon that follows from it, or gives no number of tokens.
    """
    if not isinstance(written, Rule):
        return Batch(_sequences(written, model) * model.context, written)
    scales = shape_scales(model)
    of_horizon = OF_HORIZON & scales_of(("batch_tokens",), written)
    if tokens is not None:
        scales |= horizon_scales(model, tokens)
    elif of_horizon:
        used = ", ".join(sorted(of_horizon))
        message = (
            f"circular: the batch follows from {used}, which follow from the batch where steps are given"
        )
        raise RuleError(("batch_tokens",), message, "give the length of every run as flops or tokens")
    asked = number(written, scales, ("batch_tokens",), LARGEST_COUNT)
    return Batch(_sequences(asked, model) * model.context, asked)


def _sequences(tokens: float, model: Model) -> int:
    return max(1, int(tokens / model.context + 0.5))
