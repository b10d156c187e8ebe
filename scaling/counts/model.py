"""What a plan asks of a model, of the built-in trainer or of one's own."""

from __future__ import annotations

from functools import cache

from scaling.counts.external import ExternalSize
from scaling.counts.flops import forward_matmul_flops
from scaling.counts.params import KnownCounts, count_parameters
from scaling.counts.shape import Shape

Model = Shape | ExternalSize


def counts_of(model: Model) -> KnownCounts:
    """Return the parameters of a model."""
    return model.counts if isinstance(model, ExternalSize) else count_parameters(model)


@cache
def sequence_flops(model: Model) -> int:
    """Return the FLOPs of training on one sequence of ``model.context`` tokens: forward, and twice that back;
    of one's own, as stated."""
    if isinstance(model, ExternalSize):
        return model.flops_per_token * model.context
    return 3 * forward_matmul_flops(model)
