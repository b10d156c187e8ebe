"""Attention against a plain float64 reference, its gradients and its causality."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.counts.memory import query_block
from scaling.model.attention import causal_attention
from scaling.model.attention_rule import Rule
from scaling.model.blocked_attention import spans

B, K = 2, 8
PLAIN = Rule()
RULES = {
    "window": Rule(window=70),
    "narrow window": Rule(window=3),
    "softcap": Rule(softcap=2.0),
    "documents": PLAIN,
    "all": Rule(window=40, softcap=3.0),
}


def draw(t: int, h: int, g: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    rng = np.random.default_rng(t + 10 * h + g)
    dims = [(B, t, h, K), (B, t, g, K), (B, t, g, K), (B, t, h, K)]
    q, k, v, cotangent = (jnp.asarray(rng.standard_normal(d), jnp.float32) for d in dims)
    return q * 2, k * 2, v, cotangent  # x 2: far from uniform weights


def reference(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    *,
    rule: Rule = PLAIN,
    documents: np.ndarray | None = None,
    scale: float = K**-0.5,
) -> np.ndarray:
    """One query at a time in float64, straight from the definition."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    documents = None if documents is None else np.asarray(documents)
    out, group = np.zeros_like(q), q.shape[2] // k.shape[2]
    for b, t, h in np.ndindex(q.shape[:3]):
        seen = [s for s in range(t + 1) if rule.window is None or s > t - rule.window]
        if documents is not None:
            seen = [s for s in seen if documents[b, s] == documents[b, t]]
        scores = scale * k[b, seen, h // group] @ q[b, t, h]
        if rule.softcap is not None:
            scores = rule.softcap * np.tanh(scores / rule.softcap)
        weights = np.exp(scores)
        out[b, t, h] = weights @ v[b, seen, h // group] / weights.sum()
    return out


def slow_but(name: str, names: Iterable[str]) -> list[Any]:
    return [n if n == name else pytest.param(n, marks=pytest.mark.slow) for n in names]


PLAIN_KERNELS = ["blocked", pytest.param("dense", marks=pytest.mark.slow)]


def cases(*shapes: tuple[int, int, int]) -> list[Any]:
    """Compiling takes seconds: of dense attention, which has no blocks, the last shape says it all."""
    return [
        pytest.param(
            *shape, kernel, marks=[pytest.mark.slow] if kernel == "dense" and shape != shapes[-1] else []
        )
        for shape in shapes
        for kernel in ("blocked", "dense")
    ]


@pytest.mark.parametrize(("t", "h", "g", "kernel"), cases((5, 2, 2), (64, 2, 1), (150, 4, 2)))
def test_equals_the_definition(t: int, h: int, g: int, kernel: Any) -> None:
    q, k, v, _ = draw(t, h, g)
    out = jax.jit(partial(causal_attention, kernel=kernel))(q, k, v)
    np.testing.assert_allclose(out, reference(q, k, v), rtol=1e-5, atol=1e-5)


def of_documents(name: str, t: int) -> jax.Array | None:
    """Documents that begin at other places in each sequence, one of them at the last token."""
    if name not in ("documents", "all"):
        return None
    places = np.arange(t)
    return jnp.asarray([np.digitize(places, [30, 100]), places == t - 1], jnp.int32)


@pytest.mark.parametrize("kernel", PLAIN_KERNELS)
@pytest.mark.parametrize("name", slow_but("all", RULES))
def test_each_rule_equals_its_definition(name: str, kernel: Any) -> None:
    (q, k, v, _), rule, documents = draw(150, 4, 2), RULES[name], of_documents(name, 150)
    attend = partial(causal_attention, rule=rule, documents_BxT=documents, scale=0.3, kernel=kernel)
    expected = reference(q, k, v, rule=rule, documents=documents, scale=0.3)
    np.testing.assert_allclose(jax.jit(attend)(q, k, v), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", slow_but("all", {"plain": PLAIN} | RULES))
@pytest.mark.parametrize(("t", "h", "g"), [pytest.param(64, 2, 2, marks=pytest.mark.slow), (150, 4, 2)])
def test_gradient_equals_that_of_dense_attention(t: int, h: int, g: int, name: str) -> None:
    q, k, v, cotangent = draw(t, h, g)
    rule, documents = RULES.get(name, PLAIN), of_documents(name, t)

    def gradient(kernel: Any) -> tuple[jax.Array, ...]:
        def scalar(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            out = causal_attention(q, k, v, rule=rule, documents_BxT=documents, kernel=kernel)
            return jnp.vdot(out, cotangent)

        return jax.jit(jax.grad(scalar, argnums=(0, 1, 2)))(q, k, v)

    for blocked, dense in zip(gradient("blocked"), gradient("dense"), strict=True):
        error = jnp.linalg.norm(blocked - dense) / jnp.linalg.norm(dense)
        assert error < 2e-6


@pytest.mark.parametrize("kernel", PLAIN_KERNELS)
def test_no_gradient_from_what_a_query_does_not_see(kernel: Any) -> None:
    q, k, v, cotangent = draw(150, 2, 1)
    documents = of_documents("all", 150)

    @jax.jit
    def gradient(position: int) -> tuple[jax.Array, ...]:
        def at(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            out = causal_attention(q, k, v, rule=Rule(window=66), documents_BxT=documents, kernel=kernel)
            return jnp.vdot(out[:, position], cotangent[:, position])

        return jax.grad(at, argnums=(0, 1, 2))(q, k, v)

    for position, firsts in ((20, (0, 0)), (64, (30, 0)), (127, (100, 62)), (149, (100, 149))):
        _, dk, dv = map(np.asarray, gradient(position))
        for b, first in enumerate(firsts):
            unseen = [s for s in range(150) if not first <= s <= position]
            assert not dk[b, unseen].any() and not dv[b, unseen].any()
            assert dv[b, first : position + 1].any(axis=(1, 2)).all()


@pytest.mark.parametrize("kernel", PLAIN_KERNELS)
def test_no_gradient_from_later_positions(kernel: Any) -> None:
    q, k, v, cotangent = draw(150, 2, 1)

    @jax.jit
    def gradient(position: int) -> tuple[jax.Array, ...]:
        def at(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            return jnp.vdot(causal_attention(q, k, v, kernel=kernel)[:, position], cotangent[:, position])

        return jax.grad(at, argnums=(0, 1, 2))(q, k, v)

    for position in (0, 63, 64, 127, 149):
        dq, dk, dv = map(np.asarray, gradient(position))
        assert not dk[:, position + 1 :].any() and not dv[:, position + 1 :].any()
        assert dv[:, : position + 1].any(axis=(0, 2, 3)).all()  # and from all earlier ones
        assert not np.delete(dq, position, axis=1).any()


def test_later_keys_change_no_bit_of_the_output() -> None:
    q, k, v, _ = draw(150, 2, 2)
    attend = jax.jit(causal_attention)
    changed = attend(q, k.at[:, 100:].set(9.0), v.at[:, 100:].set(-9.0))
    np.testing.assert_array_equal(attend(q, k, v)[:, :100], changed[:, :100])


def test_large_scores_stay_finite() -> None:
    q, k, v, cotangent = draw(70, 2, 2)

    def scalar(q: jax.Array) -> jax.Array:
        return jnp.vdot(causal_attention(q, k * 1e3, v), cotangent)

    assert np.isfinite(jax.jit(jax.grad(scalar))(q * 1e3)).all()


def test_few_blocks_and_none_small() -> None:
    assert [query_block(t) for t in (5, 64, 256, 512, 4096)] == [64, 64, 64, 64, 512]


def test_a_window_leaves_out_blocks_of_keys() -> None:
    def pairs(length: int, window: int | None = None) -> int:
        return sum((end - start) * (end - first) for first, start, end in spans(length, window))

    assert spans(200) == [(0, 0, 64), (0, 64, 128), (0, 128, 192), (0, 192, 200)]
    assert spans(200, 65) == [(0, 0, 64), (0, 64, 128), (64, 128, 192), (128, 192, 200)]
    assert spans(200, 66)[2:] == [(0, 128, 192), (64, 192, 200)]
    assert spans(512, 512) == spans(512)
    q, k, v, _ = (jax.ShapeDtypeStruct((B, 512, 2, 32), jnp.float32) for _ in range(4))
    for window in (None, 64):
        attend = jax.jit(partial(causal_attention, rule=Rule(window=window)))
        cost = attend.lower(q, k, v).compile().cost_analysis()
        assert 1 <= cost["flops"] / (2 * 2 * B * 2 * 32 * pairs(512, window)) < 1.15
