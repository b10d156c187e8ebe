"""What a design that grows comes to where the assumed law holds, to be judged before any result."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.laws.lookup import LAW
from analysis.planning.prior import Prior
from scaling.design.aimed import around, least_steps
from scaling.design.choosing import remaining
from scaling.design.following import SHARE
from scaling.design.priors import priors
from scaling.design.tables import drawn_of, inputs_of, table_of
from scaling.design.wish import Asked
from scaling.errors import plural
from scaling.plan.expand import plan_study
from scaling.plan.plan import Plan, PlannedRun
from scaling.spec.designs.chosen import Adaptive
from scaling.spec.designs.isoflop import IsoFLOP
from scaling.spec.designs.kinds import Design
from scaling.spec.models import Study


@dataclass(frozen=True)
class Foreseen:
    """A study with all that results would decide of it, its plan, and what was assumed for that, in words;
    None: nothing is left to decide. ``doubts`` are of what is left to results."""

    study: Study
    plan: Plan
    assumed: str | None = None
    doubts: tuple[str, ...] = ()


def foreseen(study: Study, plan: Plan, asked: Asked) -> Foreseen | None:
    """Decide all that is left to results as Chinchilla's law would have it, by which designs grow, with the
    values that are assumed.

    Returns:
        The study as it may come out; None: a budget whose window waits has no runs.

    Raises:
        AnalysisError: a law or a prior is not known.
        UserError: the file of a prior is none.
    """
    if not study.design.unfinished or study.design.kind not in FORESEE:
        return Foreseen(study, plan)
    by_size = replace(asked, laws=(LAW,)).about(study)
    prior = priors(by_size, table_of(run for run in plan.runs if run.role == "fit"))[0]
    decided = FORESEE[study.design.kind](study, plan, prior)
    if decided is None:
        return None
    design, assumed, *doubts = decided
    study = study.model_copy(update={"design": design})
    return Foreseen(study, plan_study(study), assumed, tuple(doubts))


def drawn(study: Study, plan: Plan, asked: Asked, done: Collection[str] = ()) -> pd.DataFrame:
    """What a figure of the design draws: the runs of a plan and, of one that grows, those foreseen, as
    :func:`scaling.design.tables.drawn_of` has them; raises as :func:`foreseen`."""
    whole = foreseen(study, plan, asked)
    return drawn_of((whole.plan if whole else plan).runs, done, plan.by_id)


def _centred(study: Study, plan: Plan, prior: Prior) -> tuple[Design, *tuple[str, ...]] | None:
    """Centre the windows that wait at the sizes that are best by the prior."""
    design = study.design
    assert isinstance(design, IsoFLOP) and design.window is not None
    every = plan_study(
        study.model_copy(update={"design": design.model_copy(update={"window": None}), "holdout": ()})
    )
    waiting, by_body = design.waiting, design.window.center.of == "body"
    for budget in waiting:
        at_budget = [run for run in every.runs if run.role == "fit" and run.budget == budget]
        if not at_budget:
            return None
        best = _best(at_budget, prior)
        size = best.params_body if by_body else best.params
        assert size is not None, "sizes are counted as the window counts them"
        design = design.decided(budget, float(size), prior.source)
    named = ", ".join(f"{budget:.3g}" for budget in waiting)
    return (
        design,
        f"the windows at {named} FLOPs centred where Chinchilla's law as assumed has its best sizes",
    )


def _best(runs: list[PlannedRun], prior: Prior) -> PlannedRun:
    """The run that has the least loss by a prior."""
    return runs[int(np.argmin(prior.losses(inputs_of(runs))))]


def _bought(study: Study, plan: Plan, prior: Prior) -> tuple[Design, *tuple[str, ...]]:
    """Spend what is left of the budget as if the prior were the law."""
    design = study.design
    assert isinstance(design, Adaptive)
    have = [run for run in plan.runs if run.role == "fit"]
    rest = remaining(study, prior, have)
    if rest is None:
        doubts = [_no_round(study, prior, have)] if len(design.rounds) == 1 else []
        return design, "no cell more", *doubts
    assumed = (
        f"{plural(len(rest.cells), 'cell')} more, which Chinchilla's law as assumed would choose for the "
        "rest of the budget"
    )
    return design.model_copy(update={"rounds": (*design.rounds, rest)}), assumed


def _no_round(study: Study, prior: Prior, have: list[PlannedRun]) -> str:
    """Why the first round will be the only one, and what to do about it."""
    design = study.design
    assert isinstance(design, Adaptive)
    otherwise = "or take kind: optimal, which chooses all at once"
    if not design.room:
        return (
            f"round 1 has all that design.runs = {design.runs} allows, so that results decide nothing: raise "
            f"it, {otherwise}"
        )
    spent = float(sum(run.flops for run in have))
    further = around(study, prior, design, SHARE * design.compute, have, least_steps(design, have))
    costs = [offer.flops * len(study.seeds) for offer in further]
    enough = f"raise it to {1.01 * (spent + min(costs)):.3g} or more, " if costs else ""
    return (
        f"round 1 takes {spent / design.budget:.0%} of design.budget = {design.budget:.3g}, and no cell on "
        f"offer is worth what is left, so that results decide nothing: {enough}lower min_steps, {otherwise}"
    )


# From a study, its plan and a prior to the design with all decided, what was assumed, and doubts; by its
# kind.
Foresee = Callable[[Study, Plan, Prior], tuple[Design, *tuple[str, ...]] | None]
FORESEE: dict[str, Foresee] = {"isoflop": _centred, "adaptive": _bought}
