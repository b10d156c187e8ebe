"""Causal attention.

Dimension key: B sequences, T tokens, H query heads, G key-value heads, R = H / G query heads per key-value
head, K head dimension, S keys that a block of queries can see, Q queries of a block.

Queries are taken in blocks, each against the keys up to its own end only: the rest is masked anyway. The
backward pass recomputes the probabilities from their log-normaliser (Dao et al., arXiv:2205.14135), so that
memory grows with T, not T^2.

Scores are laid out keys first, (S, Q), and queries and outputs channels first, (K, Q). On CPU a reduction
over an axis that is not the last vectorises, and no matmul then asks for a transposed copy of the scores.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from scaling.model.products import Products

SMALLEST_BLOCK, MOST_BLOCKS = 64, 8


def causal_attention(
    products: Products,
    q_BxTxHxK: jax.Array,
    k_BxTxGxK: jax.Array,
    v_BxTxGxK: jax.Array,
    *,
    dense: bool = False,
) -> jax.Array:
    """Compute softmax(q k^T / sqrt(K)) v over the keys up to each query's position: (B, T, H, K).

    The default has a hand-written reverse rule and no forward mode.

    Args:
        products: how matrices are multiplied.
        q_BxTxHxK: queries.
        k_BxTxGxK: keys. H is a multiple of G; query head h reads key-value head h // (H / G)
            (arXiv:2305.13245).
        v_BxTxGxK: values.
        dense: whether all T^2 pairs are computed by plain einsums: the same numbers up to rounding, more
            work, any derivative.
    """
    b, t, h, k = q_BxTxHxK.shape
    g = k_BxTxGxK.shape[2]
    q_BxGxKxRxT = (q_BxTxHxK * k**-0.5).reshape(b, t, g, h // g, k).transpose(0, 2, 4, 3, 1)
    k_BxGxTxK, v_BxGxTxK = (x.transpose(0, 2, 1, 3) for x in (k_BxTxGxK, v_BxTxGxK))
    attend = _dense if dense else _blocked
    out_BxGxKxRxT = attend(products, q_BxGxKxRxT, k_BxGxTxK, v_BxGxTxK)
    return out_BxGxKxRxT.transpose(0, 4, 1, 3, 2).reshape(b, t, h, k)


def block_size(length: int) -> int:
    """Return the queries per block: few blocks, as each is compiled, and none so small that its matmuls are
    slow."""
    return max(SMALLEST_BLOCK, -(-length // MOST_BLOCKS))


def _blocks(length: int) -> list[tuple[int, int]]:
    size = block_size(length)
    return [(start, min(start + size, length)) for start in range(0, length, size)]


def _scores(products: Products, q_BxGxKxRxQ: jax.Array, k_BxGxSxK: jax.Array) -> jax.Array:
    """Score the last Q of S positions against all S: (B, G, S, R, Q), masked by -inf."""
    s, q = k_BxGxSxK.shape[2], q_BxGxKxRxQ.shape[4]
    scores_BxGxSxRxQ = products.einsum("bgsk,bgkrq->bgsrq", k_BxGxSxK, q_BxGxKxRxQ)
    visible_SxQ = jnp.arange(s)[:, None] <= jnp.arange(s - q, s)[None, :]
    return jnp.where(visible_SxQ[:, None, :], scores_BxGxSxRxQ, -jnp.inf)


def _mix(products: Products, weights_BxGxSxRxQ: jax.Array, v_BxGxSxK: jax.Array) -> jax.Array:
    return products.einsum("bgsk,bgsrq->bgkrq", v_BxGxSxK, weights_BxGxSxRxQ)


def _unmix(products: Products, weights_BxGxSxRxQ: jax.Array, out_BxGxKxRxQ: jax.Array) -> jax.Array:
    return products.einsum("bgsrq,bgkrq->bgsk", weights_BxGxSxRxQ, out_BxGxKxRxQ)


def _dense(
    products: Products, q_BxGxKxRxT: jax.Array, k_BxGxTxK: jax.Array, v_BxGxTxK: jax.Array
) -> jax.Array:
    weights_BxGxTxRxT = jax.nn.softmax(_scores(products, q_BxGxKxRxT, k_BxGxTxK), axis=2)
    return _mix(products, weights_BxGxTxRxT, v_BxGxTxK)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _blocked(
    products: Products, q_BxGxKxRxT: jax.Array, k_BxGxTxK: jax.Array, v_BxGxTxK: jax.Array
) -> jax.Array:
    return _forward(products, q_BxGxKxRxT, k_BxGxTxK, v_BxGxTxK)[0]


def _forward(products: Products, q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, tuple]:
    q, k, v = products.rounded(q, k, v)
    outs, normalisers = [], []
    for start, end in _blocks(q.shape[4]):
        scores_BxGxSxRxQ = _scores(products, q[..., start:end], k[:, :, :end])
        top = jnp.max(scores_BxGxSxRxQ, axis=2, keepdims=True)
        weights_BxGxSxRxQ = jnp.exp(scores_BxGxSxRxQ - top)
        total = jnp.sum(weights_BxGxSxRxQ, axis=2, keepdims=True)
        outs.append(_mix(products, weights_BxGxSxRxQ, v[:, :, :end]) / total)
        normalisers.append(top + jnp.log(total))
    out_BxGxKxRxT = jnp.concatenate(outs, axis=4)
    return out_BxGxKxRxT, (q, k, v, out_BxGxKxRxT, normalisers)


def _backward(
    products: Products, residuals: tuple, grad_BxGxKxRxT: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    q, k, v, out, normalisers = residuals
    # the sum over keys of weight x d(weight) equals that over channels of out x d(out)
    mean_BxGx1xRxT = jnp.sum(grad_BxGxKxRxT * out, axis=2, keepdims=True)
    blocks = _blocks(q.shape[4])
    dqs: list[jax.Array] = []
    dks: list[list[jax.Array]] = [[] for _ in blocks]
    dvs: list[list[jax.Array]] = [[] for _ in blocks]
    for (start, end), normaliser in zip(blocks, normalisers, strict=True):
        q_block, grad, keys = q[..., start:end], grad_BxGxKxRxT[..., start:end], k[:, :, :end]
        weights_BxGxSxRxQ = jnp.exp(_scores(products, q_block, keys) - normaliser)
        dweights_BxGxSxRxQ = products.einsum("bgsk,bgkrq->bgsrq", v[:, :, :end], grad)
        dscores_BxGxSxRxQ = weights_BxGxSxRxQ * (dweights_BxGxSxRxQ - mean_BxGx1xRxT[..., start:end])
        dqs.append(_mix(products, dscores_BxGxSxRxQ, keys))
        dk_BxGxSxK = _unmix(products, dscores_BxGxSxRxQ, q_block)
        dv_BxGxSxK = _unmix(products, weights_BxGxSxRxQ, grad)
        for i, (first, last) in enumerate(blocks):
            if last <= end:
                dks[i].append(dk_BxGxSxK[:, :, first:last])
                dvs[i].append(dv_BxGxSxK[:, :, first:last])
    dk, dv = (jnp.concatenate([sum(parts[1:], parts[0]) for parts in all_], axis=2) for all_ in (dks, dvs))
    return jnp.concatenate(dqs, axis=4), dk, dv


_blocked.defvjp(_forward, _backward)
