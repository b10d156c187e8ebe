"""What is asked about a design, as plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """What a statement rests on: names of ``laws``; ``prior``: a name of ``PUBLISHED``, the file of a fit, or
    values and ranges (``alpha=0.3:0.4,beta=0.3``); ``noise`` of log loss; ``compute`` of the target;
    ``simulate``: studies to simulate."""

    laws: tuple[str, ...] = ()
    prior: str | None = None
    noise: float | None = None
    compute: float | None = None
    simulate: int = 0
