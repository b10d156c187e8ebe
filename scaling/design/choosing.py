"""Cells for designs that leave them open: chosen for the forecast of a compute."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.fits.fitting import fit
from analysis.fits.promise import unsettled
from analysis.fits.result import Fit
from analysis.laws.lookup import LAW, require
from analysis.planning.ahead import forecast_of, size_of
from analysis.planning.expectation import LEVEL
from analysis.planning.field import Misfit
from analysis.planning.help import Help
from analysis.planning.prior import NoiseLevel, Prior
from analysis.planning.shop import Shop
from analysis.tables.runs import select
from scaling.design.aimed import STEPS, around, least_steps, sizes_of, target_of
from scaling.design.following import COLUMNS, SHARE, prior_of
from scaling.design.priors import priors
from scaling.design.tables import cells_of, table_of
from scaling.design.wish import Asked
from scaling.errors import Complaint, UserError, plural
from scaling.plan.data import resolve_data
from scaling.plan.offers import Offer
from scaling.plan.plan import PlannedRun
from scaling.spec.designs.chosen import FEWEST, Adaptive, Basis, Optimal, Round
from scaling.spec.models import Study
from scaling.spec.source import Finding, SpecError

AROUND = (1 / 3, 1.0, 3.0)  # times the best N, whose losses are to be known
TYPICAL = 20.0  # tokens for each parameter, where no run says more
LEAST = 4  # runs that the budget of a first round pays for, whatever is chosen
OPENING = 2 * FEWEST  # runs that a first round may have
PAID = 0.4  # of the budget, that the cheapest runs to begin with may cost
PART, LAST = 0.5, 0.1  # of what is left, that a round spends; of the budget: at the least


@dataclass(frozen=True)
class Decision:
    """A round, or why there is none: ``ended`` says it."""

    round: Round | None
    width: float | None
    ended: str
    made: Fit | None = None
    """The fit that the decision rests on."""

    @property
    def doubt(self) -> str:
        """Why the width is that of no fit that can be relied on; empty where it is."""
        return "" if self.made is None else doubt_of(self.made)


def doubt_of(made: Fit) -> str:
    """Why an interval by a fit does not count as narrow; empty where it does."""
    if made.usable and not unsettled(made):
        return ""
    return f"{made.status.code}: {made.status.message}"


def choose(study: Study) -> Study:
    """Fill in the cells of an ``optimal`` design that has none, or the first round of an ``adaptive`` one;
    any other study stays as it is.

    Raises:
        UserError: no cell of the family lies within the budget.
    """
    design = study.design
    if isinstance(design, Adaptive) and design.unchosen:
        rounds = (_opening(study, design, design.first, min(OPENING, design.runs)),)
        return study.model_copy(update={"design": design.model_copy(update={"rounds": rounds})})
    if not isinstance(design, Optimal) or not design.unchosen:
        return study
    chosen = _opening(study, design, 1.0, design.runs)
    return study.model_copy(update={"design": design.model_copy(update={"cells": chosen.cells})})


def _opening(study: Study, design: Optimal | Adaptive, share: float, most: int) -> Round:
    """At most so many cells for a ``share`` of the budget before any run, and no fewer than ``FEWEST``: for
    what the cheapest of these cost, where that is more."""
    prior, on_offer, shortest = _blank(study, design)
    seeds, cheapest, least = len(study.seeds), *_cheapest(study, on_offer)
    if least > design.budget:
        message = f"{FEWEST} runs are needed to begin with; the cheapest cost {least:.3g} FLOPs together"
        hint = f"raise it to {1.01 * least:.3g}, lower min_steps, or give smaller sizes"
        raise SpecError(study.source, [Finding(("design", "budget"), message, hint)])
    budget = max(share * design.budget, least)
    limits = [budget / seeds / runs for runs in range(LEAST, FEWEST + 1)]
    pools = [[offer for offer in on_offer if offer.flops <= limit] for limit in limits]
    for cells in (*pools, cheapest):
        if len(cells) >= FEWEST:
            found = _shop(study, prior, cells, None).within(budget, most)
            if len(found.runs) >= FEWEST:
                return _round(prior, found, cells, shortest)
    message = (
        f"no {FEWEST} runs can be chosen: where the law is that of {prior.source}, none narrows the rest"
    )
    hint = "give values or ranges by which runs of this family tell something of the goal"
    raise SpecError(study.source, [Finding(("design", "prior"), message, hint)])


def _cheapest(study: Study, on_offer: list[Offer]) -> tuple[list[Offer], float]:
    """The fewest cells to begin with, and what their runs cost."""
    cheapest = sorted(on_offer, key=lambda offer: offer.flops)[:FEWEST]
    return cheapest, float(len(study.seeds) * sum(offer.flops for offer in cheapest))


def next_round(study: Study, table: Any, have: list[PlannedRun]) -> Decision:
    """Decide on the next round of an ``adaptive`` design.

    Args:
        study: with the rounds so far.
        table: of their runs.
        have: these runs as they were planned.

    Raises:
        UserError: none of them has a loss.
    """
    design = study.design
    assert isinstance(design, Adaptive), "only an adaptive design has rounds"
    kept, _ = select(table, ("fit",), needs="NDCL", cells="all")
    if not len(kept):
        problem = "no run so far has a loss that a round could be chosen by"
        raise UserError(Complaint(problem, "design", "see why with `scaling status`"))
    known: Any = kept[[name for name in COLUMNS if name in kept.columns]]
    noise = None if design.noise is None else NoiseLevel(design.noise)
    made = fit(require(LAW), table)
    prior, misfit = prior_of(made, kept, LAW, noise, base=lambda: priors(Asked((LAW,)).about(study), kept)[0])
    spent = float(sum(run.flops for run in have))
    left = design.budget - spent
    shortest = least_steps(design, have)
    on_offer = around(study, prior, design, min(left, SHARE * design.compute), have, shortest)
    if not on_offer or not design.room:
        width = _width(made, prior, design, have)
        return Decision(None, width, _spent(design, spent, width), made)
    shop = _shop(study, prior, on_offer, known, misfit or Misfit(), have, made)
    spend = max(PART * left, LAST * design.budget)
    found = shop.begun(left, design.room, spend=spend, batch=design.batch)
    width = 2 * found.before if math.isfinite(found.before) else None
    if design.width is not None and width is not None and width <= design.width and not doubt_of(made):
        ended = f"the interval is {width:.2%} wide, {design.width:.2%} were asked for"
        return Decision(None, width, ended, made)
    if not found.runs:
        return Decision(None, width, _spent(design, spent, width), made)
    return Decision(_round(prior, found, on_offer, shortest, width, kept, spent, made), width, "", made)


def remaining(study: Study, prior: Prior, have: list[PlannedRun]) -> Round | None:
    """All cells that what is left of the budget of an ``adaptive`` design buys where the prior is the law.

    Args:
        study: with the rounds so far.
        prior: the law, its values and noise.
        have: the runs of these rounds; they need not be trained.
    """
    design = study.design
    assert isinstance(design, Adaptive), "only an adaptive design has rounds"
    spent = float(sum(run.flops for run in have))
    left = design.budget - spent
    shortest = least_steps(design, have)
    on_offer = around(study, prior, design, min(left, SHARE * design.compute), have, shortest)
    if not on_offer or not design.room:
        return None
    found = _shop(study, prior, on_offer, table_of(have), have=have).within(left, design.room)
    return _round(prior, found, on_offer, shortest, spent=spent) if found.runs else None


def _spent(design: Adaptive, spent: float, width: float | None) -> str:
    """Why nothing is left to train, and what was reached."""
    left, more = max(design.budget - spent, 0), "budget" if design.room else "runs"
    ended = (
        f"no cell is left within {left:.3g} FLOPs" if design.room else f"all {design.runs} runs are chosen"
    )
    text = (
        f"{ended}: {spent:.3g} of the budget of {design.budget:.3g} are spent, as if each run were trained "
        "alone"
    )
    if width is not None:
        asked = "" if design.width is None else f", {design.width:.2%} were asked for"
        text += f"; the interval is {width:.2%} wide{asked}"
    return f"{text}; to go on, raise design.{more}"


def _width(made: Fit, prior: Prior, design: Adaptive, have: list[PlannedRun]) -> float | None:
    """Of the interval of what is forecast, where nothing is on offer; None where the fit has none."""
    if not made.usable:
        return None
    target = target_of(prior, design, [(run.params, run.run.tokens, run.flops) for run in have])
    if design.goal == "size":
        said = size_of(made, target.label, design.compute, LEVEL)
    else:
        said = forecast_of(made, target.label, target.inputs, LEVEL)
    return None if said is None else 2 * said.half_width


def _shop(
    study: Study,
    prior: Prior,
    on_offer: list[Offer],
    known: pd.DataFrame | None,
    misfit: Misfit | None = None,
    have: list[PlannedRun] | None = None,
    made: Fit | None = None,
) -> Shop:
    design = study.design
    assert isinstance(design, Optimal | Adaptive), "only designs for a forecast choose their cells"
    cells = cells_of(on_offer, have or ())
    cells = cells.assign(cost=cells["flops"] * len(study.seeds))  # budgets are of runs trained alone
    runs: Any = cells[:0].drop(columns="cost") if known is None else known
    target = target_of(prior, design, [(offer.params, offer.tokens, offer.flops) for offer in on_offer])
    return Shop.of(prior, runs, cells, target, goal=design.goal, misfit=misfit, around=AROUND, fit=made)


def _round(
    prior: Prior,
    found: Help,
    on_offer: list[Offer],
    shortest: int,
    width: float | None = None,
    kept: pd.DataFrame | None = None,
    spent: float = 0.0,
    made: Fit | None = None,
) -> Round:
    basis = Basis(
        law=prior.law.name,
        source=prior.source,
        params={name: float(f"{value:.6g}") for name, value in prior.params.items()},
        status=None if made is None else made.status.code,
        least_steps=shortest,
        noise=float(f"{math.hypot(prior.noise.run, prior.noise.shared):.4g}"),
        runs=0 if kept is None else len(kept),
        records=None if kept is None else _hash(kept),
        spent=spent,
        width=None if width is None else float(f"{width:.4g}"),
        expected=float(f"{2 * found.after:.4g}") if math.isfinite(found.after) else None,
    )
    return Round(cells=tuple(on_offer[run.offer].cell for run in found.runs), basis=basis)


def _hash(kept: pd.DataFrame) -> str:
    losses: Any = kept[["N", "D", "L"]]
    rows = losses.sort_values(["N", "D", "L"]).to_csv(index=False)
    return hashlib.sha256(rows.encode()).hexdigest()[:12]


def _blank(study: Study, design: Optimal | Adaptive) -> tuple[Prior, list[Offer], int]:
    """The prior before any run, the cells that its best run at the compute asked for suggests, and the fewest
    steps that they may have."""
    table = pd.DataFrame({"params": sizes_of(study, resolve_data(study).vocab_size)}, dtype=float)
    table["tokens"] = TYPICAL * table["params"]
    table["flops"] = 6 * table["params"] * table["tokens"]
    table["unique_tokens"] = table["tokens"]
    try:
        prior = priors(Asked((LAW,)).about(study), table)[0]
    except (AnalysisError, UserError) as error:
        wrong = [Finding(("design", "prior"), str(one.message), str(one.hint)) for one in error.problems]
        raise SpecError(study.source, wrong) from None
    most = SHARE * design.compute
    limits = STEPS if design.min_steps is None else (design.min_steps,)
    on_offer, limit = list[Offer](), limits[0]
    for limit in limits:
        on_offer = around(study, prior, design, most, [], limit)
        if len(on_offer) >= FEWEST and _cheapest(study, on_offer)[1] <= PAID * design.budget:
            break
    if len(on_offer) < FEWEST:
        steps = plural(limits[-1], "step")
        message = f"{plural(len(on_offer), 'cell')} within {most:.3g} FLOPs and {steps} or more"
        hint = (
            f"a run costs half of it at most, and at least {FEWEST} cells are needed: raise compute, lower "
            "min_steps, or give smaller sizes"
        )
        raise SpecError(study.source, [Finding(("design", "compute"), message, hint)])
    return prior, on_offer, limit
