"""What a model asks of the devices that it is computed on, by the logical axes of its arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

Axes = tuple[str | None, ...]


class Placement:
    """One device, which has all of every array. A mesh says otherwise."""

    def __call__(self, x: jax.Array, *axes: str | None) -> jax.Array:
        """Return ``x`` laid out by its logical axes (None: one that is never cut)."""
        return x

    def weight(self, name: str, x: jax.Array) -> jax.Array:
        """Gather a parameter, or a layer's slice of it, from the devices that have its parts, for its use;
        its gradient is scattered again."""
        return x

    def parts(self, axis: str) -> int:
        """Return how many parts a logical axis is cut into."""
        return 1

    @property
    def replica(self) -> Placement:
        """Where arrays live inside :meth:`mean_of_replicas`: on devices that have all parameters among
        them."""
        return self

    def mean_of_replicas(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function of parameters and a batch that calls ``function`` on each replica's part of the
        batch, and averages what they give: nothing else goes between replicas."""
        return function

    def each_device(
        self, function: Callable[..., jax.Array], axes: Sequence[Axes], out: Axes
    ) -> Callable[..., jax.Array]:
        """Return a function of whole arrays that calls ``function`` on each device's own parts.

        Args:
            function: of parts; what it does between devices is its own affair.
            axes: logical axes of each of its arguments.
            out: logical axes of its result.
        """
        return function

    def summed(
        self, axis: str, function: Callable[..., jax.Array], axes: Sequence[Axes], out: Axes
    ) -> Callable[..., jax.Array]:
        """Return the same, where each part of a logical axis gives a summand of the result.

        Args:
            axis: over whose parts is summed.
            function: of parts.
            axes: logical axes of each of its arguments.
            out: logical axes of its result.
        """
        if self.parts(axis) == 1:
            return self.each_device(function, axes, out)
        summands = self.each_device(lambda *parts: function(*parts)[None], axes, (axis, *out))
        return lambda *arrays: summands(*arrays).sum(axis=0)


ONE_DEVICE = Placement()
