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
    by_role: dict[Role, int]


@cache
def count_parameters(shape: Shape) -> ParameterCounts:
    """Return the exact parameter counts of ``shape``, summed over the parameter table."""
    by_role: dict[Role, int] = dict.fromkeys(ROLES, 0)
    for parameter in parameter_table(shape).values():
        by_role[parameter.role] += parameter.size
    total = sum(by_role.values())
    body = by_role["matrix"] + by_role["gain"] + by_role["bias"]
    return ParameterCounts(total, by_role["embedding"], by_role["head"], body, by_role)
