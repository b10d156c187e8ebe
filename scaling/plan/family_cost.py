"""What sizes of a family cost that no study has planned: FLOPs per token as a function of N."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scaling.counts.flops import forward_matmul_flops
from scaling.counts.params import count_parameters
from scaling.spec.external import ExternalFamily
from scaling.spec.families import DepthDial, Family, Shapes, WidthDepth, WidthDial

RANGE = 1e4  # times the family's largest N
MEMBERS = 300


def flops_per_token(
    family: Family, vocab_size: int, context: int, *, body: bool = False
) -> Callable[[Any], np.ndarray] | None:
    """Give house FLOPs (3 x forward) per token as a function of N (m,).

    Args:
        family: whose members the FLOPs are of; between them they are interpolated in logs.
        vocab_size: entries of the vocabulary.
        context: tokens of a sequence.
        body: whether N leaves out embedding and head; else it is all parameters.

    Returns:
        The function, nan below the smallest member; None for sizes that follow no rule of one dial.
    """
    from scipy.interpolate import PchipInterpolator  # pyright: ignore[reportMissingTypeStubs]

    match family:
        case Shapes() | ExternalFamily() | WidthDepth():
            return None
        case WidthDial():
            unit, most = family.head_dim * (family.kv_heads or 1), max(family.widths) * RANGE**0.5
        case DepthDial():
            unit, most = 1, max(family.depths) * RANGE
    steps = np.geomspace(1, most / unit, MEMBERS).round().astype(int)
    shapes = [
        family.member(size).shape(vocab_size, context)
        for size in sorted({*family.members, *(int(step) * unit for step in steps)})
    ]
    sizes = [count_parameters(shape).body if body else count_parameters(shape).total for shape in shapes]
    rates = [3 * forward_matmul_flops(shape) / shape.context for shape in shapes]
    curve = PchipInterpolator(np.log(sizes), np.log(rates), extrapolate=False)
    return lambda n: np.exp(curve(np.log(n)))
