"""Parameters by role."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from scaling.counts.shape import ROLES, Role, Shape, parameter_table


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters. ``total = embedding + head + body``; ``head`` is 0 when tied.

    ``body`` is all that is neither embedding nor head: matrices, gains and biases.
    """

    total: int
    embedding: int
    head: int
    body: int


@cache
def count_parameters(shape: Shape) -> ParameterCounts:
    """Return the exact parameter counts of ``shape``, summed over the parameter table."""
    sizes = dict[Role, int].fromkeys(ROLES, 0)
    for parameter in parameter_table(shape).values():
        sizes[parameter.role] += parameter.size
    embedding, head, total = sizes["embedding"], sizes["head"], sum(sizes.values())
    return ParameterCounts(total, embedding, head, body=total - embedding - head)
