"""Floating-point operations by convention; a multiply-add is two.

The house convention, ``flops``, is 3 x the forward matmul FLOPs (the backward pass costs twice the
forward), with causal attention counted at T(T+1)/2 query-key pairs, the head included, and look-ups,
norms, softmax, optimizer and recomputation excluded. The others are what papers use:

* ``full_attention``: the same with all T^2 pairs (PaLM, arXiv:2204.02311, appendix B; Chinchilla,
  arXiv:2203.15556, appendix F without its embedding term);
* ``6n_total``, ``6n_body``: 6 N D (Kaplan et al., arXiv:2001.08361, section 2.1) with N all parameters, or
  those outside embedding and head.
"""

from __future__ import annotations

from dataclasses import dataclass

from scaling.counts.params import count_parameters
from scaling.counts.shape import Shape


@dataclass(frozen=True)
class Flops:
    """Training FLOPs of the same work under each convention."""

    flops: int
    full_attention: int
    six_n_total: int
    six_n_body: int


def forward_matmul_flops(shape: Shape, *, causal: bool = True, head: bool = True) -> int:
    """Return the forward matmul FLOPs of one sequence of ``shape.context`` tokens."""
    t, d, h, k = shape.context, shape.width, shape.heads, shape.head_dim
    pairs = t * (t + 1) // 2 if causal else t * t
    projections = 2 * t * d * k * (2 * h + 2 * shape.kv_heads)
    attention = 2 * (2 * pairs * h * k)
    mlp = 2 * t * d * shape.mlp_width * (3 if shape.mlp == "swiglu" else 2)
    logits = 2 * t * d * shape.vocab_size
    return shape.depth * (projections + attention + mlp) + (logits if head else 0)


def training_flops(shape: Shape, sequences: int) -> Flops:
    """Return the FLOPs of training on ``sequences`` sequences of ``shape.context`` tokens, as if trained
    alone."""
    counts, tokens = count_parameters(shape), sequences * shape.context
    return Flops(
        flops=3 * sequences * forward_matmul_flops(shape),
        full_attention=3 * sequences * forward_matmul_flops(shape, causal=False),
        six_n_total=6 * counts.total * tokens,
        six_n_body=6 * counts.body * tokens,
    )
