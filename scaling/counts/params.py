"""Parameters by role, and those that a token uses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from scaling.counts.shape import ROLES, Role, Shape, parameter_table


@dataclass(frozen=True)
class KnownCounts:
    """Numbers of parameters, None where one is not known. ``total = embedding + head + body``; ``head`` is 0
    when tied.

    ``body`` is all that is neither embedding nor head: matrices, routers, gains and biases.
    """

    total: int
    embedding: int | None
    head: int | None
    body: int | None


@dataclass(frozen=True)
class ParameterCounts(KnownCounts):
    """All of them."""

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


@cache
def active_parameters(shape: Shape) -> ParameterCounts:
    """Return the counts of what a token uses: all but the routed experts that it does not go to."""
    counts = count_parameters(shape)
    if shape.experts is None:
        return counts
    table = parameter_table(shape).values()
    routed = sum(parameter.size for parameter in table if parameter.axes[:2] == ("layer", "expert"))
    idle = routed // shape.experts.count * (shape.experts.count - shape.experts.active)
    return replace(counts, total=counts.total - idle, body=counts.body - idle)
