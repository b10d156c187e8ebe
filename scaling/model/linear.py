"""Matrix products as the CPU likes them: two-dimensional, with the weight gradient in its faster layout."""

from __future__ import annotations

import jax
import jax.numpy as jnp


@jax.custom_vjp
def linear(x_NxI: jax.Array, w_IxO: jax.Array) -> jax.Array:
    """Multiply x w: (N, O). Its reverse rule computes the same sums in another layout; there is no forward
    mode."""
    return x_NxI @ w_IxO


def _forward(x_NxI: jax.Array, w_IxO: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x_NxI @ w_IxO, (x_NxI, w_IxO)


def _backward(residuals: tuple[jax.Array, jax.Array], grad_NxO: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_NxI, w_IxO = residuals
    if w_IxO.shape[0] > w_IxO.shape[1]:
        # A tall gradient is faster made wide and turned; the barrier keeps XLA from undoing it.
        dw_IxO = jax.lax.optimization_barrier(jnp.einsum("no,ni->oi", grad_NxO, x_NxI)).T
    else:
        dw_IxO = jnp.einsum("ni,no->io", x_NxI, grad_NxO)
    return grad_NxO @ w_IxO.T, dw_IxO


linear.defvjp(_forward, _backward)
