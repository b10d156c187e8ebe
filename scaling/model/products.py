"""Matrix products in a precision that stands in the program itself: no device's default decides it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax.lax import DotAlgorithmPreset

from scaling.recipe.precision import Precision

BFLOAT16 = jnp.finfo(jnp.bfloat16)


@dataclass(frozen=True)
class Products:
    """How two arrays are multiplied and summed. Factors are rounded to ``factors``; sums and results are
    float32 (of factors in float64, which no precision asks for, float64). ``algorithm`` is jax's name for
    it."""

    factors: Any
    algorithm: str

    def rounded(self, *arrays: jax.Array) -> tuple[jax.Array, ...]:
        """Return arrays as the products take them: what a backward pass should keep."""
        return arrays if self.factors == jnp.float32 else tuple(map(_in_bfloat16, arrays))

    def einsum(self, subscripts: str, one: jax.Array, other: jax.Array) -> jax.Array:
        """Multiply and sum as :func:`jax.numpy.einsum` does; each index is in two of the three arrays, or in
        all. Gradients, where they are asked for of float32 arrays, are products of the same kind."""
        if self.factors == jnp.float32:
            return _einsum(self.algorithm, subscripts, one, other)
        return cast(jax.Array, _einsum_of_rounded(self, subscripts, one, other))


def _in_bfloat16(array: jax.Array) -> jax.Array:
    """Round, in a way that XLA does not take back where the array becomes float32 again."""
    if array.dtype == jnp.bfloat16:
        return array
    return jax.lax.reduce_precision(array, BFLOAT16.nexp, BFLOAT16.nmant).astype(jnp.bfloat16)


def _einsum(algorithm: str, subscripts: str, one: jax.Array, other: jax.Array) -> jax.Array:
    kind = jnp.promote_types(one.dtype, jnp.float32)
    return jnp.einsum(subscripts, one, other, precision=algorithm, preferred_element_type=kind)


def _of_factors(products: Products, subscripts: str, one: jax.Array, other: jax.Array) -> jax.Array:
    """Multiply factors in bfloat16; on a CPU, of which XLA multiplies only some shapes so, the same factors
    in float32, where their products are exact."""

    def on_cpu(one: jax.Array, other: jax.Array) -> jax.Array:
        return _einsum("highest", subscripts, one.astype(jnp.float32), other.astype(jnp.float32))

    elsewhere = partial(_einsum, products.algorithm, subscripts)
    return jax.lax.platform_dependent(one, other, cpu=on_cpu, default=elsewhere)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _einsum_of_rounded(products: Products, subscripts: str, one: jax.Array, other: jax.Array) -> jax.Array:
    return _of_factors(products, subscripts, *products.rounded(one, other))


def _forward(
    products: Products, subscripts: str, one: jax.Array, other: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    factors = products.rounded(one, other)
    return _of_factors(products, subscripts, *factors), factors


def _backward(
    products: Products, subscripts: str, factors: tuple[jax.Array, jax.Array], grad: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Round the gradient too, which jax's own rule would not."""
    (rounded,) = products.rounded(grad)
    inputs, out = subscripts.split("->")
    first, second = inputs.split(",")
    return (
        _of_factors(products, f"{out},{second}->{first}", rounded, factors[1]),
        _of_factors(products, f"{out},{first}->{second}", rounded, factors[0]),
    )


_einsum_of_rounded.defvjp(_forward, _backward)


PRODUCTS: dict[Precision, Products] = {
    # A GPU multiplies without TF32, a TPU in six passes of bfloat16; for a CPU nothing changes.
    "float32": Products(jnp.float32, "highest"),
    "tf32": Products(jnp.float32, DotAlgorithmPreset.TF32_TF32_F32.name),
    "bfloat16": Products(jnp.bfloat16, DotAlgorithmPreset.BF16_BF16_F32.name),
}
