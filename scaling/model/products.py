"""Matrix products in a precision that stands in the program itself: no device's default decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        """Multiply and sum as :func:`jax.numpy.einsum` does."""
        return jnp.einsum(
            subscripts,
            *self.rounded(one, other),
            precision=self.algorithm,
            preferred_element_type=jnp.float32,
        )


PRODUCTS: dict[Precision, Products] = {
    # A GPU multiplies without TF32, a TPU in six passes of bfloat16; for a CPU nothing changes.
    "float32": Products(jnp.float32, "highest"),
    "tf32": Products(jnp.float32, DotAlgorithmPreset.TF32_TF32_F32.name),
    "bfloat16": Products(jnp.bfloat16, DotAlgorithmPreset.BF16_BF16_F32.name),
}
