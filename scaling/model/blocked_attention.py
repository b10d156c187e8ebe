"""Causal attention by jax's own operations, as a CPU likes them; they run everywhere.

Dimension key: B sequences, T tokens, H query heads, G key-value heads, R = H / G query heads per key-value
head, K head dimension, S keys that a block of queries can see, Q queries of a block.

Queries are taken in blocks, each against the blocks of keys that one of them sees: the rest is masked
anyway. The backward pass recomputes the probabilities from their log-normaliser (Dao et al.,
arXiv:2205.14135), so that memory grows with T, not T^2.

Scores are laid out keys first, (S, Q), and queries and outputs channels first, (K, Q). On CPU a reduction
over an axis that is not the last vectorises, and no matmul then asks for a transposed copy of the scores.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from scaling.counts.memory import query_block
from scaling.model.attention_rule import KEPT, Rule


def plain_attention(
    rule: Rule,
    scaled_BxTxHxK: jax.Array,
    k_BxTxGxK: jax.Array,
    v_BxTxGxK: jax.Array,
    documents_BxT: jax.Array | None,
    *,
    dense: bool,
) -> jax.Array:
    """Attend by jax's own operations: (B, T, H, K).

    Args:
        rule: what a query sees.
        scaled_BxTxHxK: queries times the scale of their scores.
        k_BxTxGxK: keys.
        v_BxTxGxK: values.
        documents_BxT: number of the document of each token, or None.
        dense: whether all T^2 pairs are computed; else in blocks, with a hand-written reverse rule and no
            forward mode.
    """
    b, t, h, k = scaled_BxTxHxK.shape
    g = k_BxTxGxK.shape[2]
    q_BxGxKxRxT = scaled_BxTxHxK.reshape(b, t, g, h // g, k).transpose(0, 2, 4, 3, 1)
    k_BxGxTxK, v_BxGxTxK = (x.transpose(0, 2, 1, 3) for x in (k_BxTxGxK, v_BxTxGxK))
    inputs = q_BxGxKxRxT, k_BxGxTxK, v_BxGxTxK, documents_BxT
    out_BxGxKxRxT = _dense(rule, *inputs) if dense else cast(jax.Array, _blocked(rule, *inputs))
    return out_BxGxKxRxT.transpose(0, 4, 1, 3, 2).reshape(b, t, h, k)


class Span(NamedTuple):
    """Queries start .. end - 1 and the keys first .. end - 1 that they are multiplied with."""

    first: int
    start: int
    end: int


def spans(length: int, window: int | None = None) -> list[Span]:
    """Cut queries into blocks; their keys begin where a block begins, at or before the first one seen."""
    size = query_block(length)
    starts = range(0, length, size)
    seen = [0 if window is None else max(0, start - window + 1) for start in starts]
    return [
        Span(first // size * size, start, min(start + size, length))
        for first, start in zip(seen, starts, strict=True)
    ]


def _scores(rule: Rule, q_BxGxKxRxQ: jax.Array, k_BxGxSxK: jax.Array) -> jax.Array:
    """Score Q queries against S keys: (B, G, S, R, Q)."""
    scores_BxGxSxRxQ = rule.products.einsum("bgsk,bgkrq->bgsrq", k_BxGxSxK, q_BxGxKxRxQ)
    if rule.softcap is None:
        return scores_BxGxSxRxQ
    return rule.softcap * jnp.tanh(scores_BxGxSxRxQ / rule.softcap)


def _masked(rule: Rule, scores_BxGxSxRxQ: jax.Array, documents_BxS: jax.Array | None) -> jax.Array:
    """Set to -inf what the queries, the last Q of S positions, do not see."""
    s, q = scores_BxGxSxRxQ.shape[2], scores_BxGxSxRxQ.shape[4]
    keys_Sx1, queries_1xQ = jnp.arange(s)[:, None], jnp.arange(s - q, s)[None, :]
    visible_SxQ = keys_Sx1 <= queries_1xQ
    if rule.window is not None and rule.window < s:
        visible_SxQ &= keys_Sx1 > queries_1xQ - rule.window
    visible = visible_SxQ[:, None, :]
    if documents_BxS is not None:
        same_BxSxQ = documents_BxS[:, :, None] == documents_BxS[:, None, s - q :]
        visible = visible & same_BxSxQ[:, None, :, None, :]
    return jnp.where(visible, scores_BxGxSxRxQ, -jnp.inf)


def _mix(rule: Rule, weights_BxGxSxRxQ: jax.Array, v_BxGxSxK: jax.Array) -> jax.Array:
    return rule.products.einsum("bgsk,bgsrq->bgkrq", v_BxGxSxK, weights_BxGxSxRxQ)


def _unmix(rule: Rule, weights_BxGxSxRxQ: jax.Array, out_BxGxKxRxQ: jax.Array) -> jax.Array:
    return rule.products.einsum("bgsrq,bgkrq->bgsk", weights_BxGxSxRxQ, out_BxGxKxRxQ)


def _dense(rule: Rule, q: jax.Array, k: jax.Array, v: jax.Array, documents: jax.Array | None) -> jax.Array:
    return _mix(rule, jax.nn.softmax(_masked(rule, _scores(rule, q, k), documents), axis=2), v)


def _part(documents_BxT: jax.Array | None, span: Span) -> jax.Array | None:
    return None if documents_BxT is None else documents_BxT[:, span.first : span.end]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _blocked(rule: Rule, q: jax.Array, k: jax.Array, v: jax.Array, documents: jax.Array | None) -> jax.Array:
    return _forward(rule, q, k, v, documents)[0]


def _forward(
    rule: Rule, q: jax.Array, k: jax.Array, v: jax.Array, documents: jax.Array | None
) -> tuple[jax.Array, tuple]:
    q, k, v = rule.products.rounded(q, k, v)
    outs, normalisers = [], []
    for span in spans(q.shape[4], rule.window):
        first, start, end = span
        scores_BxGxSxRxQ = _scores(rule, q[..., start:end], k[:, :, first:end])
        scores_BxGxSxRxQ = _masked(rule, scores_BxGxSxRxQ, _part(documents, span))
        top = jnp.max(scores_BxGxSxRxQ, axis=2, keepdims=True)
        weights_BxGxSxRxQ = jnp.exp(scores_BxGxSxRxQ - top)
        total = jnp.sum(weights_BxGxSxRxQ, axis=2, keepdims=True)
        outs.append(_mix(rule, weights_BxGxSxRxQ, v[:, :, first:end]) / total)
        normalisers.append(checkpoint_name(top + jnp.log(total), KEPT))
    out_BxGxKxRxT = checkpoint_name(jnp.concatenate(outs, axis=4), KEPT)
    return out_BxGxKxRxT, (q, k, v, documents, out_BxGxKxRxT, normalisers)


def _backward(
    rule: Rule, residuals: tuple, grad_BxGxKxRxT: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None]:
    q, k, v, documents, out, normalisers = residuals
    # the sum over keys of weight x d(weight) equals that over channels of out x d(out)
    mean_BxGx1xRxT = jnp.sum(grad_BxGxKxRxT * out, axis=2, keepdims=True)
    blocks = spans(q.shape[4], rule.window)
    dqs: list[jax.Array] = []
    dks: list[list[jax.Array]] = [[] for _ in blocks]
    dvs: list[list[jax.Array]] = [[] for _ in blocks]
    for span, normaliser in zip(blocks, normalisers, strict=True):
        first, start, end = span
        q_block, grad, keys = q[..., start:end], grad_BxGxKxRxT[..., start:end], k[:, :, first:end]
        scores_BxGxSxRxQ = _scores(rule, q_block, keys)
        weights_BxGxSxRxQ = jnp.exp(_masked(rule, scores_BxGxSxRxQ, _part(documents, span)) - normaliser)
        dweights_BxGxSxRxQ = rule.products.einsum("bgsk,bgkrq->bgsrq", v[:, :, first:end], grad)
        dscores_BxGxSxRxQ = weights_BxGxSxRxQ * (dweights_BxGxSxRxQ - mean_BxGx1xRxT[..., start:end])
        if rule.softcap is not None:
            dscores_BxGxSxRxQ *= 1 - jnp.square(scores_BxGxSxRxQ / rule.softcap)
        dqs.append(_mix(rule, dscores_BxGxSxRxQ, keys))
        dk_BxGxSxK = _unmix(rule, dscores_BxGxSxRxQ, q_block)
        dv_BxGxSxK = _unmix(rule, weights_BxGxSxRxQ, grad)
        for i, (_, low, high) in enumerate(blocks):
            if first <= low and high <= end:
                dks[i].append(dk_BxGxSxK[:, :, low - first : high - first])
                dvs[i].append(dv_BxGxSxK[:, :, low - first : high - first])
    dk, dv = (jnp.concatenate([sum(parts[1:], parts[0]) for parts in all_], axis=2) for all_ in (dks, dvs))
    return jnp.concatenate(dqs, axis=4), dk, dv, None


_blocked.defvjp(_forward, _backward)
