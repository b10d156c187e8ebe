"""Cells about the best run at a compute, which designs that are aimed at it choose from."""

from __future__ import annotations

import math

import numpy as np

from analysis.planning.prior import Prior
from analysis.planning.target import Target
from scaling.plan.data import resolve_data
from scaling.plan.member import Counting
from scaling.plan.offers import Bounds, Offer, offers
from scaling.plan.plan import PlannedRun
from scaling.plan.warnings import LEAST_STEPS
from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.models import Study

RATIOS = 12.0  # D/N of cells lies within so many times that of the best run at the compute asked for
FURTHER = 10.0  # times the family's largest size
DECADES = 1e4  # and their compute within so many times
STEPS = (LEAST_STEPS, 400, 200, 100)  # the fewest of a run: the first of these that the budget allows


def least_steps(design: Adaptive, have: list[PlannedRun]) -> int:
    """The fewest steps of a run in further rounds: where not asked for, as in those before, which studies of
    earlier versions do not say: as many as a plan asks for there, or as their shortest run has."""
    if design.min_steps is not None:
        return design.min_steps
    stated = [one.basis.least_steps for one in design.rounds if one.basis.least_steps is not None]
    return stated[-1] if stated else min([LEAST_STEPS, *(run.run.steps for run in have)])


def around(
    study: Study, prior: Prior, design: Optimal | Adaptive, most: float, have: list[PlannedRun], steps: int
) -> list[Offer]:
    """The cells about the best run at the compute asked for, of so many ``steps`` or more."""
    vocab = resolve_data(study).vocab_size
    n = best_size(prior, design.compute, sizes_of(study, vocab))
    ratio = design.compute / 6 / n**2
    bounds = Bounds(n, (design.compute / DECADES, most), (ratio / RATIOS, ratio * RATIOS), steps)
    return offers(study, vocab, bounds, have)


def sizes_of(study: Study, vocab_size: int) -> list[int]:
    """N of all sizes of a family."""
    shapes = (
        study.family.member(size).shape(vocab_size, study.data.context) for size in study.family.members
    )
    return [Counting().params(shape) for shape in shapes]


def best_size(prior: Prior, compute: float, sizes: list[int]) -> float:
    """N* at a compute, at C = 6 N D, near enough to look about; a fit to few runs may put it anywhere, so
    within the sizes of the family and ``FURTHER`` times the largest."""
    n = np.geomspace(min(sizes), FURTHER * max(sizes), 400)
    return float(n[int(np.argmin(prior.losses({"N": n, "D": compute / 6 / n})))])


def target_of(prior: Prior, design: Optimal | Adaptive, runs: list[tuple[int, int, int]]) -> Target:
    """The best run at the compute asked for, at what the nearest size of ``runs`` (N, D, C) costs for each
    token."""
    n = best_size(prior, design.compute, [run[0] for run in runs])
    _, tokens, flops = min(runs, key=lambda run: abs(math.log(run[0] / n)))
    d = design.compute * tokens / flops
    return Target({"N": n, "D": d, "C": design.compute}, f"C = {design.compute:.4g}")
