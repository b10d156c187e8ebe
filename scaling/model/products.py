"""Matrix products in a precision that stands in the program itself: no device's default decides it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.lax import DotAlgorithmPreset

from scaling.recipe.precision import Precision


@dataclass(frozen=True)
class Products:
    """How two arrays are multiplied and summed. Factors are rounded to ``factors``; sums and results are
    float32. ``algorithm`` is jax's name for it."""

    factors: Any
    algorithm: str

    def rounded(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """Return arrays as the products take them: what a backward pass should keep."""
        return tuple(array.astype(self.factors) for array in arrays)

    def einsum(self, subscripts: str, one: jax.Array, other: jax.Array) -> jax.Array:
        """Multiply and sum as :func:`jax.numpy.einsum` does; each index is in two of the three arrays, or in
        all. Gradients, where they are asked for of float32 arrays, are products of the same kind."""
        if self.factors == jnp.float32:
            return _einsum(self, subscripts, one, other)
        return cast(jax.Array, _einsum_of_rounded(self, subscripts, one, other))


def _einsum(products: Products, subscripts: str, one: jax.Array, other: jax.Array) -> jax.Array:
    return jnp.einsum(
        subscripts,
        *products.rounded(one, other),
        precision=products.algorithm,
        preferred_element_type=jnp.float32,
    )


# jax's own rule would multiply a rounded factor with a gradient that is not rounded.
_einsum_of_rounded = partial(jax.custom_vjp, nondiff_argnums=(0, 1))(_einsum)


def _forward(
    products: Products, subscripts: str, one: jax.Array, other: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    factors = products.rounded(one, other)
    return _einsum(products, subscripts, *factors), factors


def _backward(
    products: Products, subscripts: str, factors: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    inputs, out = subscripts.split("->")
    first, second = inputs.split(",")
    return (
        _einsum(products, f"{out},{second}->{first}", grad, factors[1]),
        _einsum(products, f"{out},{first}->{second}", grad, factors[0]),
    )


_einsum_of_rounded.defvjp(_forward, _backward)


PRODUCTS: dict[Precision, Products] = {
    # A GPU multiplies without TF32, a TPU in six passes of bfloat16; for a CPU nothing changes.
    "float32": Products(jnp.float32, "highest"),
    "tf32": Products(jnp.float32, DotAlgorithmPreset.TF32_TF32_F32.name),
    "bfloat16": Products(jnp.bfloat16, DotAlgorithmPreset.BF16_BF16_F32.name),
}
