"""Weights of the sources of a mixture -> their places in each block of the mixture's order."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from pydantic_core import PydanticCustomError

BLOCK = 4096  # places in which every source has exactly its quota


def quotas(weights: Mapping[str, float]) -> tuple[int, ...]:
    """Return how many of the :data:`BLOCK` places of a block each source has, by largest remainders.

    Weights need no sum of their own; of equal remainders the earlier source has the larger quota.

    Raises:
        PydanticCustomError: a source whose weight is too small for one place.
    """
    total = sum(map(Fraction, weights.values()))
    exact = [Fraction(weight) * BLOCK / total for weight in weights.values()]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: shares[i] - exact[i])
    for i in by_remainder[: BLOCK - sum(shares)]:
        shares[i] += 1
    for (name, weight), share in zip(weights.items(), shares, strict=True):
        if share == 0:
            message = (
                f"weight {weight:g} of {name} is {float(weight / total):.2g} of all weights: a mixture gives "
                f"shares in steps of 1/{BLOCK}, so it would have no text; raise it or leave {name} out"
            )
            raise PydanticCustomError("spec", "{message}", {"message": message})
    return tuple(shares)
