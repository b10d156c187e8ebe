"""Floating-point operations by convention; a multiply-add is two.

The house convention, ``flops``, is 3 x the forward matmul FLOPs (the backward pass costs twice the
forward). Causal attention counts T(T+1)/2 query-key pairs; a window of W keys W(W+1)/2 + (T-W)W; a mask of
documents leaves the count as it is. The head and routers are included, and the experts that a token goes to;
look-ups, norms, softmax, optimizer and recomputation are not. The others are what papers use:

* ``full_attention``: the same with all T^2 pairs, T W in a window (PaLM, arXiv:2204.02311,
  appendix B; Chinchilla, arXiv:2203.15556, appendix F without its embedding term);
* ``6n_total``, ``6n_body``: 6 N D (Kaplan et al., arXiv:2001.08361, section 2.1) with N all
  parameters that a token uses, or those of them outside embedding and head.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaling.counts.params import active_parameters
from scaling.counts.shape import Shape


@dataclass(frozen=True)
class Flops:
    """Training FLOPs of the same work under each convention; None where what it counts is not known."""

    flops: int
    full_attention: int | None
    six_n_total: int
    six_n_body: int | None


def forward_matmul_flops(shape: Shape, *, causal: bool = True, head: bool = True) -> int:
    """Return the forward matmul FLOPs of one sequence of ``shape.context`` tokens."""
    t, d, h, k = shape.context, shape.width, shape.heads, shape.head_dim
    projections = 2 * t * d * k * (2 * h + 2 * shape.kv_heads)
    attention = sum(2 * (2 * _pairs(t, window, causal) * h * k) for window in shape.windows)
    mlp = 2 * t * d * _hidden_channels(shape) * shape.mlp_matrices
    router = 2 * t * d * shape.experts.count if shape.experts else 0
    logits = 2 * t * d * shape.vocab_size
    return shape.depth * (projections + mlp + router) + attention + (logits if head else 0)


def _pairs(length: int, window: int | None, causal: bool) -> int:
    """Return the query-key pairs of one head."""
    seen = window or length
    return seen * (seen + 1) // 2 + (length - seen) * seen if causal else length * seen


def _hidden_channels(shape: Shape) -> int:
    """Return the hidden channels of the MLP, or of all experts that one token goes to."""
    routed = shape.experts.active * shape.expert_width if shape.experts else 0
    return shape.dense_width + routed


def training_flops(shape: Shape, sequences: int) -> Flops:
    """Return the FLOPs of training on ``sequences`` sequences of ``shape.context`` tokens, as if trained
    alone."""
    active, tokens = active_parameters(shape), sequences * shape.context
    return Flops(
        flops=3 * sequences * forward_matmul_flops(shape),
        full_attention=3 * sequences * forward_matmul_flops(shape, causal=False),
        six_n_total=6 * active.total * tokens,
        six_n_body=6 * active.body * tokens,
    )
