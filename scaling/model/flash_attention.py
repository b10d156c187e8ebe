"""Causal attention by kernels that come with accelerators' libraries: cuDNN's flash attention on NVIDIA GPUs,
splash attention on TPUs.

No compiler can cut them, so each device calls its own, on its sequences and heads. Factors are bfloat16,
softmax and sums float32. Dimension key as in :mod:`scaling.model.attention`.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, cast

import jax

from scaling.counts.lowering import Kernel
from scaling.counts.shape import Shape
from scaling.model.attention_rule import KEPT, Rule
from scaling.model.placement import Placement
from scaling.recipe.precision import Precision

SPLASH_BLOCKS = (512, 256, 128)  # tokens of a block: the largest that divides a sequence
CUDNN_CHANNELS, MOST_CUDNN_CHANNELS = 8, 256  # head dimensions are multiples of the first


def unmet(kernel: Kernel, shape: Shape, precision: Precision) -> str | None:
    """Say what a model takes that a kernel does not have; None where it has all."""
    if kernel == "blocked":
        return None
    if precision != "bfloat16":
        return f"it multiplies in bfloat16, and recipe.precision is {precision}"
    if kernel == "splash":
        least = SPLASH_BLOCKS[-1]
        return f"the context is {shape.context}, no multiple of {least}" if shape.context % least else None
    if shape.attention_softcap is not None:
        return "it has no attention_softcap"
    if shape.separator is not None:
        return "it cannot keep documents apart"
    if shape.head_dim % CUDNN_CHANNELS or shape.head_dim > MOST_CUDNN_CHANNELS:
        return f"head_dim is {shape.head_dim}, no multiple of {CUDNN_CHANNELS} up to {MOST_CUDNN_CHANNELS}"
    return None


def flash_attention(
    kernel: Literal["cudnn", "splash"],
    rule: Rule,
    scaled_BxTxHxK: jax.Array,
    k_BxTxGxK: jax.Array,
    v_BxTxGxK: jax.Array,
    documents_BxT: jax.Array | None,
    *,
    place: Placement,
    interpret: bool = False,
) -> jax.Array:
    """Attend by a kernel: (B, T, H, K) in bfloat16.

    Args:
        kernel: which.
        rule: what a query sees; its products are in bfloat16.
        scaled_BxTxHxK: queries times the scale of their scores.
        k_BxTxGxK: keys, of as many heads as queries where those of one device would read a part of them.
        v_BxTxGxK: values.
        documents_BxT: number of the document of each token, or None; ``cudnn`` takes none.
        place: where arrays live.
        interpret: whether splash attention is interpreted, step by step, on any device.
    """
    q_BxTxHxK, k_BxTxGxK, v_BxTxGxK = rule.products.rounded(scaled_BxTxHxK, k_BxTxGxK, v_BxTxGxK)
    queries, keys = ("batch", None, "heads", None), ("batch", None, "kv_heads", None)
    if kernel == "cudnn":
        attend = place.each_device(partial(_cudnn, rule.window), (queries, keys, keys), queries)
        return attend(q_BxTxHxK, k_BxTxGxK, v_BxTxGxK)
    splash = partial(_splash, rule, interpret)
    if documents_BxT is None:
        attend = place.each_device(partial(splash, None), (queries, keys, keys), queries)
        return attend(q_BxTxHxK, k_BxTxGxK, v_BxTxGxK)
    attend = place.each_device(splash, (("batch", None), queries, keys, keys), queries)
    return attend(documents_BxT, q_BxTxHxK, k_BxTxGxK, v_BxTxGxK)


def _cudnn(window: int | None, q_BxTxHxK: jax.Array, k_BxTxGxK: jax.Array, v_BxTxGxK: jax.Array) -> jax.Array:
    return jax.nn.dot_product_attention(
        q_BxTxHxK,
        k_BxTxGxK,
        v_BxTxGxK,
        scale=1.0,
        is_causal=True,
        local_window_size=None if window is None else (window - 1, 0),
        implementation="cudnn",
    )


def _splash(
    rule: Rule,
    interpret: bool,
    documents_BxT: jax.Array | None,
    q_BxTxHxK: jax.Array,
    k_BxTxGxK: jax.Array,
    v_BxTxGxK: jax.Array,
) -> jax.Array:
    from jax.experimental.pallas.ops.tpu import splash_attention as splash  # takes a second to import

    length, heads = q_BxTxHxK.shape[1:3]
    size = next(size for size in SPLASH_BLOCKS if length % size == 0)
    dims = (length, length)
    mask = splash.CausalMask(dims) if rule.window is None else splash.LocalMask(dims, (rule.window - 1, 0), 0)
    attend = splash.make_splash_mha_single_device(
        splash.MultiHeadMask([mask] * heads),
        block_sizes=splash.BlockSizes(
            block_q=size,
            block_kv=size,
            block_q_dkv=size,
            block_kv_dkv=size,
            block_q_dq=size,
            block_kv_dq=size,
        ),
        attn_logits_soft_cap=rule.softcap,
        residual_checkpoint_name=KEPT,
        interpret=interpret,
    )
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q_BxTxHxK, k_BxTxGxK, v_BxTxGxK))
    segments = None if documents_BxT is None else splash.SegmentIds(documents_BxT, documents_BxT)
    return cast(jax.Array, jax.vmap(attend)(q, k, v, segments)).transpose(0, 2, 1, 3)
