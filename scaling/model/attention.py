"""Causal attention: one function, by several kernels.

Dimension key: B sequences, T tokens, H query heads, G key-value heads, K head dimension.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from scaling.counts.lowering import Kernel
from scaling.model.attention_rule import Rule
from scaling.model.blocked_attention import plain_attention
from scaling.model.flash_attention import flash_attention
from scaling.model.placement import Placement

AnyKernel = Kernel | Literal["dense"]


def causal_attention(
    q_BxTxHxK: jax.Array,
    k_BxTxGxK: jax.Array,
    v_BxTxGxK: jax.Array,
    *,
    rule: Rule = Rule(),  # noqa: B008 (a tuple)
    documents_BxT: jax.Array | None = None,
    scale: float | None = None,
    kernel: AnyKernel = "blocked",
    place: Placement = Placement(),  # noqa: B008 (without state)
) -> jax.Array:
    """Compute softmax(scale q k^T) v over the keys that each query sees: (B, T, H, K).

    All kernels give the same numbers up to rounding. ``dense`` alone has a forward mode.

    Args:
        q_BxTxHxK: queries.
        k_BxTxGxK: keys. H is a multiple of G; query head h reads key-value head h // (H / G)
            (arXiv:2305.13245).
        v_BxTxGxK: values.
        rule: what a query sees, in every sequence.
        documents_BxT: number of the document of each token, rising along T: a query sees keys of its own
            document alone. None: all are one document.
        scale: of the scores before they are capped; None: 1 / sqrt(K).
        kernel: ``blocked`` runs everywhere; ``cudnn`` and ``splash`` where
            :func:`scaling.model.flash_attention.unmet` has nothing to say and the device is theirs; ``dense``
            computes all T^2 pairs by plain einsums.
        place: where arrays live.
    """
    scaled_BxTxHxK = q_BxTxHxK * (q_BxTxHxK.shape[3] ** -0.5 if scale is None else scale)
    inputs = scaled_BxTxHxK, k_BxTxGxK, v_BxTxGxK, documents_BxT
    if kernel == "blocked" or kernel == "dense":
        return plain_attention(rule, *inputs, dense=kernel == "dense")
    return flash_attention(kernel, rule, *inputs, place=place).astype(jnp.float32)
