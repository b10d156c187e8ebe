"""Where the arrays of a model live. The model names logical axes; a mesh it does not know."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax

Axes = Sequence[str | None]
"""Logical axes of an array, one per dimension; None: one that is never split."""


class Placement:
    """One device: nothing is split."""

    def __call__(self, x: jax.Array, *axes: str | None) -> jax.Array:
        """Place an activation."""
        return x

    def weight(self, name: str, x: jax.Array) -> jax.Array:
        """Gather a parameter, or a layer's slice of it, from the devices that have its parts, for its use;
        its gradient is scattered again."""
        return x

    def parts(self, axis: str) -> int:
        """Return the number of parts that a logical axis of activations is cut into."""
        return 1

    def each_device(
        self, function: Callable[..., jax.Array], inputs: Sequence[Axes], output: Axes
    ) -> Callable[..., jax.Array]:
        """Return a function that is applied to each device's parts of its arguments.

        Args:
            function: of parts, to a part.
            inputs: axes of each argument.
            output: axes of the result.
        """
        return function

    def summed(self, x: jax.Array, axis: str) -> jax.Array:
        """Sum, inside a function of :meth:`each_device`, over the devices that share a logical axis."""
        return x


ONE_DEVICE = Placement()
