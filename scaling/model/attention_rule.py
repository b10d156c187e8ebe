"""Which keys a query sees, and what is done to its scores: common to all kernels of attention."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax.extend.core import Primitive

from scaling.model.products import PRODUCTS, Products


class Rule(NamedTuple):
    """What holds in every sequence of a layer."""

    window: int | None = None
    """Keys that a query sees, its own among them (Beltagy et al., arXiv:2004.05150); None: all up to it."""
    softcap: float | None = None
    """Scores s become softcap x tanh(s / softcap) (Gemma 2, arXiv:2408.00118)."""
    products: Products = PRODUCTS["float32"]


KEPT = "attention_kernel"
"""Name of what the backward pass of attention takes beside its inputs."""
_has_the_name = jax.checkpoint_policies.save_only_these_names(KEPT)


def is_kept(primitive: Primitive, *arguments: Any, **parameters: Any) -> bool:
    """Tell :func:`jax.checkpoint` what the backward pass of attention takes beside its inputs: what has the
    name :data:`KEPT`, and what cuDNN's forward call gives, in which nothing can be named."""
    is_cudnn = primitive.name.startswith("dot_product_attention_fwd")
    return is_cudnn or bool(_has_the_name(primitive, *arguments, **parameters))
