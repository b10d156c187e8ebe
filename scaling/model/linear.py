"""Matrix products as the CPU likes them: two-dimensional, with the weight gradient in its faster layout."""

from __future__ import annotations

from functools import partial
from typing import cast

import jax

from scaling.model.products import Products


def linear(products: Products, x_NxI: jax.Array, w_IxO: jax.Array) -> jax.Array:
    """Multiply x w: (N, O). Its reverse rule computes the same sums in another layout; there is no forward
    mode."""
    return cast(jax.Array, _linear(products, x_NxI, w_IxO))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _linear(products: Products, x_NxI: jax.Array, w_IxO: jax.Array) -> jax.Array:
    return products.einsum("ni,io->no", x_NxI, w_IxO)


def _forward(
    products: Products, x_NxI: jax.Array, w_IxO: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    factors = products.rounded(x_NxI, w_IxO)
    return products.einsum("ni,io->no", *factors), factors


def _backward(
    products: Products, residuals: tuple[jax.Array, jax.Array], grad_NxO: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x_NxI, w_IxO = residuals
    (grad_NxO,) = products.rounded(grad_NxO)
    if w_IxO.shape[0] > w_IxO.shape[1]:
        # A tall gradient is faster made wide and turned; the barrier keeps XLA from undoing it.
        dw_IxO = jax.lax.optimization_barrier(products.einsum("no,ni->oi", grad_NxO, x_NxI)).T
    else:
        dw_IxO = products.einsum("ni,no->io", x_NxI, grad_NxO)
    return products.einsum("no,io->ni", grad_NxO, w_IxO), dw_IxO


_linear.defvjp(_forward, _backward)
