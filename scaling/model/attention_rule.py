"""Which keys a query sees, and what is done to its scores: common to all kernels of attention."""

from __future__ import annotations

from typing import NamedTuple

from scaling.model.products import PRODUCTS, Products


class Rule(NamedTuple):
    """What holds in every sequence of a layer."""

    window: int | None = None
    """Keys that a query sees, its own among them (Beltagy et al., arXiv:2004.05150); None: all up to it."""
    softcap: float | None = None
    """Scores s become softcap x tanh(s / softcap) (Gemma 2, arXiv:2408.00118)."""
    products: Products = PRODUCTS["float32"]


KEPT = "attention_kernel"
"""Name of what the backward pass of attention takes beside its inputs, for rematerialisation."""
