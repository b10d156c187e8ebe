"""Attention against a plain float64 reference, its gradients and its causality."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scaling.model.attention import block_size
from scaling.model.attention import causal_attention as attention_in
from scaling.model.products import PRODUCTS

B, K = 2, 8

causal_attention = partial(attention_in, PRODUCTS["float32"])


def draw(t: int, h: int, g: int) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    rng = np.random.default_rng(t + 10 * h + g)
    dims = [(B, t, h, K), (B, t, g, K), (B, t, g, K), (B, t, h, K)]
    q, k, v, cotangent = (jnp.asarray(rng.standard_normal(d), jnp.float32) for d in dims)
    return q * 2, k * 2, v, cotangent  # x 2: far from uniform weights


def reference(q: jax.Array, k: jax.Array, v: jax.Array) -> np.ndarray:
    """One query at a time in float64, straight from the definition."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out, group = np.zeros_like(q), q.shape[2] // k.shape[2]
    for b, t, h in np.ndindex(q.shape[:3]):
        keys, values = k[b, : t + 1, h // group], v[b, : t + 1, h // group]
        weights = np.exp(keys @ q[b, t, h] / np.sqrt(q.shape[-1]))
        out[b, t, h] = weights @ values / weights.sum()
    return out


def cases(*shapes: tuple[int, int, int]) -> list[Any]:
    """Compiling takes seconds: of dense attention, which has no blocks, the last shape says it all."""
    return [
        pytest.param(*shape, dense, marks=[pytest.mark.slow] if dense and shape != shapes[-1] else [])
        for shape in shapes
        for dense in (False, True)
    ]


@pytest.mark.parametrize(("t", "h", "g", "dense"), cases((5, 2, 2), (64, 2, 1), (150, 4, 2)))
def test_equals_the_definition(t: int, h: int, g: int, dense: bool) -> None:
    q, k, v, _ = draw(t, h, g)
    out = jax.jit(partial(causal_attention, dense=dense))(q, k, v)
    np.testing.assert_allclose(out, reference(q, k, v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("t", "h", "g"), [pytest.param(64, 2, 2, marks=pytest.mark.slow), (150, 4, 2)])
def test_gradient_equals_that_of_dense_attention(t: int, h: int, g: int) -> None:
    q, k, v, cotangent = draw(t, h, g)

    def gradient(dense: bool) -> tuple[jax.Array, ...]:
        def scalar(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            return jnp.vdot(causal_attention(q, k, v, dense=dense), cotangent)

        return jax.jit(jax.grad(scalar, argnums=(0, 1, 2)))(q, k, v)

    for blocked, dense in zip(gradient(False), gradient(True), strict=True):
        error = jnp.linalg.norm(blocked - dense) / jnp.linalg.norm(dense)
        assert error < 2e-6


@pytest.mark.parametrize("dense", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_no_gradient_from_later_positions(dense: bool) -> None:
    q, k, v, cotangent = draw(150, 2, 1)

    @jax.jit
    def gradient(position: int) -> tuple[jax.Array, ...]:
        def at(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
            return jnp.vdot(causal_attention(q, k, v, dense=dense)[:, position], cotangent[:, position])

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
    assert [block_size(t) for t in (5, 64, 256, 512, 4096)] == [64, 64, 64, 64, 512]
