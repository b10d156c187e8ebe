"""Runs that are planned at several batches, and what is assumed of their critical batch.

To reach a loss, batch B takes 1 + B / Bcrit times the tokens that small batches need (McCandlish et al.
2018, arXiv:1812.06162, eq. 2.11), so that the loss that all reach is the one that the largest reaches before
its rate decays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from analysis.results import Interval, Part

ROUNDS = 60  # in which the tokens of the largest batch and its critical batch settle


@dataclass(frozen=True)
class CriticalPrior(Part):
    """Bcrit = ``coefficient`` D^``exponent``, both in tokens, D as small batches need them; measured at
    ``about`` so many. ``ends``: of the critical batch, where a range of it is given."""

    coefficient: float
    exponent: float
    source: str
    about: float | None = None
    ends: Interval | None = None

    @classmethod
    def nearest(cls, tokens: float) -> CriticalPrior:
        """Take the published one that was measured about as many tokens."""
        return PUBLISHED[min(PUBLISHED, key=lambda about: abs(np.log(tokens / about)))]

    @classmethod
    def given(cls, low: float, high: float) -> CriticalPrior:
        """Take a critical batch in tokens, or a range of it, whatever D is."""
        ends = Interval(low, high) if low < high else None
        return cls(float(np.sqrt(low * high)), 0.0, "as given", ends=ends)

    def at(self, tokens: float) -> float:
        return self.coefficient * tokens**self.exponent

    @property
    def text(self) -> str:
        if self.exponent:
            return f"Bcrit = {self.coefficient:.3g} D^{self.exponent:.3g} tokens ({self.source})"
        ends = f" ({self.ends.low:.4g} to {self.ends.high:.4g})" if self.ends else ""
        return f"Bcrit = {self.coefficient:.4g} tokens{ends} {self.source}"


# By the tokens at about which they were measured. Power Lines has batches in sequences of 2048 tokens;
# 22.9 D^.47 of arXiv:2410.21676, of batches that take 1.2 times the steps of perfect scaling, is as the law
# has it some fifth of that. Of bytes .8k to 1.5k by the exponent of D that is assumed, each batch with the
# best of 4 or 5 rates; at 1.2e6 tokens no batch was beyond it.
PUBLISHED = {
    one.about: one
    for one in (
        CriticalPrior(0.0471 * 2048, 0.462, "Power Lines, arXiv:2505.13738", 1e10),
        CriticalPrior(
            1100 / 4e5**0.462, 0.462,
            "1.1k at D = 4e5, bytes of English from the start, results/reference/learning-rate; branches of "
            "a trunk rather 2 to 5 times that; exponent of arXiv:2505.13738", 4e5,
        ),
    )
    if one.about
}  # fmt: skip


@dataclass(frozen=True)
class BatchGroup:
    """Runs of one size ``N`` and ``horizon`` D at several ``batches`` (n,), a row each; ``tokens`` that each
    is trained on before its rate decays, after a trunk of ``trunk_tokens`` at ``trunk_batch``."""

    name: str
    N: float
    horizon: float
    batches: np.ndarray
    tokens: float
    trunk_tokens: float = 0.0
    trunk_batch: float = 1.0

    @overload
    def needed(self, critical: float) -> tuple[float, float]: ...
    @overload
    def needed(self, critical: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def needed(self, critical: Any) -> tuple[Any, Any]:
        """Tokens that small batches would need for the trunk, and from there for the loss that all reach."""
        return (
            self.trunk_tokens / (1 + self.trunk_batch / critical),
            self.tokens / (1 + float(self.batches.max()) / critical),
        )

    def critical(self, prior: CriticalPrior) -> float:
        """The critical batch at the loss that all batches reach, on which that loss depends."""
        found = prior.at(self.trunk_tokens + self.tokens)
        for _ in range(ROUNDS):
            found = prior.at(sum(self.needed(found)))
        return found
