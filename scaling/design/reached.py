"""Whether the rounds of a design come to the width of the interval at which they are to stop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.planning.expectation import Expected
from analysis.planning.expected import expect
from analysis.planning.prior import Prior
from analysis.planning.target import Target
from scaling.design.following import SHARE
from scaling.spec.designs.chosen import Adaptive


@dataclass(frozen=True)
class ForeseenWidth:
    """The width ``asked`` for of the interval of ``name``, from end to end, relative; that ``foreseen`` once
    the budget is spent; and the ``least`` whatever the budget: that of run and discrepancy with the longest
    run that may be chosen."""

    name: str
    asked: float
    foreseen: float
    least: float

    @property
    def text(self) -> str:
        said = f"width asked for {self.asked:.2%}, foreseen of {self.name} {self.foreseen:.2%}"
        if self.foreseen <= self.asked:
            return f"{said}: it can be reached"
        if self.least <= self.asked:
            return f"{said}: not within design.budget; raise it, or ask for a larger width"
        return (
            f"{said}: run and discrepancy alone make {self.least:.2%} with a run of half of "
            "design.compute, the longest that is chosen, so no budget reaches it; ask for a larger "
            "width, or leave it out"
        )

    def to_json(self) -> dict[str, Any]:
        return {"of": self.name, "asked": self.asked, "foreseen": self.foreseen, "least": self.least}


def foreseen_width(design: Adaptive, asked: float, prior: Prior, runs: pd.DataFrame) -> ForeseenWidth | None:
    """Foresee the width of the interval with all ``runs`` of a design, where the prior is the law; None where
    none is known."""
    target = Target.at_compute(design.compute)
    found = expect(prior, runs, [target])
    ahead = found.ahead if design.goal == "loss" else found.size
    if ahead is None or not np.isfinite(ahead.half_width):
        return None
    least = 0.0 if design.goal == "size" else _least(found, prior, runs, target)
    name = f"the loss at {target.label}" if design.goal == "loss" else ahead.name
    return ForeseenWidth(name, asked, 2 * ahead.half_width, least)


def _least(found: Expected, prior: Prior, runs: pd.DataFrame, target: Target) -> float:
    """The width of run and discrepancy with the longest run of the best size beside all others."""
    n, d = (found[f"{x}*({target.label})"].value for x in "ND")
    longest = runs.loc[[runs["flops"].idxmax()]].assign(
        params=n, tokens=SHARE * d, flops=SHARE * (target.compute or 0.0), trunk_id="longest"
    )
    ahead = expect(prior, pd.concat([runs, longest], ignore_index=True), [target]).ahead
    assert ahead is not None, "as without that run"
    return 2 * ahead.half_width * float(np.hypot(ahead.run, ahead.discrepancy)) / ahead.se
