"""How much a law's exponents hang on single cells of a design, by the law's derivatives alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

# Chinchilla's law as fitted again (Besiroglu et al., arXiv:2404.10102); only a shape is needed of it.
ALPHA, BETA = 0.3478, 0.3658
PARAMETERS = 5
WORST_CONDITION = 1e7  # of scaled derivatives, beyond which no cell alone is to blame
GROWTH = 2.0  # of a standard error, that is worth a warning


Place = tuple[int, int]  # N and D of a cell


@dataclass(frozen=True)
class Hinge:
    """A cell without which the standard error of an ``exponent`` would be ``growth`` times as large."""

    cell: Place
    exponent: str
    growth: float


def hinges(cells: Mapping[Place, int]) -> Hinge | None:
    """Find the cell on which an exponent of L = E + A N^-alpha + B D^-beta hangs most.

    Args:
        cells: of a design, with the number of runs in each.

    Returns:
        None where none stands out, and where the law takes every cell or cannot be identified at all.
    """
    import numpy as np

    if len(cells) <= PARAMETERS:
        return None
    n = np.log([params for params, _ in cells])
    d = np.log([tokens for _, tokens in cells])
    n, d = n - n.mean(), d - d.mean()
    of_n, of_d = np.exp(-ALPHA * n), np.exp(-BETA * d)
    derivatives = np.stack([np.ones_like(n), of_n, of_n * n, of_d, of_d * d], axis=1)  # (cells, parameters)
    scaled = derivatives / np.linalg.norm(derivatives, axis=0)
    rows: Any = scaled * np.sqrt(np.array([*cells.values()], float))[:, None]
    if np.linalg.cond(rows) > WORST_CONDITION:
        return None
    covariance = cast(np.ndarray, np.linalg.inv(rows.T @ rows))
    moved = cast(np.ndarray, rows @ covariance)
    leverage = np.minimum(np.sum(moved * rows, axis=1), 1 - 1e-9)
    # of the covariance without a cell (Sherman and Morrison 1950), over that with all
    growth = {
        name: np.sqrt(1 + moved[:, i] ** 2 / (1 - leverage) / covariance[i, i])
        for name, i in (("alpha", 2), ("beta", 4))
    }
    exponent = max(growth, key=lambda name: float(growth[name].max()))
    worst = int(growth[exponent].argmax())
    most = float(growth[exponent][worst])
    return Hinge(list(cells)[worst], exponent, most) if most > GROWTH else None
