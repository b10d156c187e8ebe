"""What a law of repeated text says that repetition costs the runs of a design."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.fits.summary import count
from analysis.planning.information import Information
from analysis.planning.prior import UNIQUE
from analysis.results import Part

LITTLE = 5e-4  # of log loss


@dataclass(frozen=True)
class Repetition(Part):
    """The run that loses most by reading its text ``epochs`` times: its N and D, and by how much its log loss
    is ``above`` that of as many new tokens."""

    N: float
    D: float
    epochs: float
    above: float

    @property
    def text(self) -> str:
        return (
            f"repeated text: N = {count(self.N)}, D = {count(self.D)} reads it {self.epochs:.3g} times: that "
            f"costs {np.expm1(self.above):.1%} of the loss against as many new tokens"
        )


def repetition_of(seen: Information) -> Repetition | None:
    """Find the run that loses most; None where the law has no unique tokens, or its prior no cost of
    repeating them."""
    if UNIQUE not in seen.prior.law.inputs:
        return None
    n, d, unique = (seen.frame[x].to_numpy(float) for x in ("N", "D", UNIQUE))
    inputs = {x: np.asarray(seen.problem.inputs[x], float) for x in seen.prior.law.inputs}
    above = np.log(seen.frame["L"].to_numpy(float) / seen.prior.losses({**inputs, UNIQUE: d}))
    worst = int(np.argmax(above))
    if above[worst] < LITTLE:
        return None
    return Repetition(*(float(x[worst]) for x in (n, d, d / unique, above)))
