"""The runs to train next: from what is measured, for a target, out of a study's family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.fits.fitting import fit
from analysis.fits.prediction import factors
from analysis.fits.result import Fit
from analysis.laws.lookup import LAW, require
from analysis.planning.field import Misfit, misfit_of
from analysis.planning.help import Goal
from analysis.planning.prior import NoiseLevel, Prior, noise_of
from analysis.planning.rivals import decisions, told_apart
from analysis.planning.shop import Shop
from analysis.planning.target import Target
from analysis.tables.runs import select
from scaling.design.mismatch import Ground, mismatches
from scaling.design.proposal import Following, added, too_far
from scaling.design.tables import cells_of, offered
from scaling.errors import Complaint, UserError
from scaling.plan.data import resolve_data
from scaling.plan.member import next_study
from scaling.plan.offers import Offer
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.settings import study_of
from scaling.spec.models import Study

BATCH = 5  # runs
BUDGET = 0.25  # of the FLOPs of the runs that are there
SHARE = 0.5  # of the target's compute, that one run may cost
EDGE = 1e-3  # of an exponent: so near an end of its domain it is there
VARIANT = "variant"
COLUMNS = ("label", "params", "params_body", "tokens", "flops", "trunk_id", "seed", "unique_tokens")


@dataclass(frozen=True)
class Wish:
    """What the next runs are for: the ``target``; FLOPs that they may cost together (None: ``BUDGET`` of what
    is there); how ``many``; by which ``laws`` (the first is fitted, cells that decide are found for the
    others); a ``goal``; the ``noise`` of log loss, where it is known better than from residuals."""

    target: Target
    budget: float | None = None
    many: int = BATCH
    laws: tuple[str, ...] = (LAW,)
    goal: Goal = "loss"
    noise: float | None = None


def next_runs(study: Study, table: Any, wish: Wish, plan: Plan | None = None) -> Following:
    """Choose the runs to train next.

    Args:
        study: whose family, recipe and data they have.
        table: of runs, as of :func:`analysis.load`.
        wish: what they are for.
        plan: of the results that they extend; None: the table is of runs trained elsewhere.

    Raises:
        AnalysisError: the table cannot be used.
        UserError: the runs are of several variants, the target lies within the data, or no cell lies
            within the budget.
    """
    kept, _ = select(table, ("fit",), needs="NDCL", cells="all")
    variant = _variant(kept)
    known: Any = kept[[name for name in COLUMNS if name in kept.columns]]
    runs = [tuple(map(float, row)) for row in kept[["N", "D", "C"]].to_numpy()]
    require_beyond(wish.target, kept)
    leading = fit(require(wish.laws[0]), table)
    fits = {wish.laws[0]: leading} | {x: fit(require(x), table, bootstrap=0) for x in wish.laws[1:]}
    noise = None if wish.noise is None else NoiseLevel(wish.noise)
    prior, misfit = prior_of(leading, kept, wish.laws[0], noise)
    spent = float(kept["C"].to_numpy(float).sum())
    budget = BUDGET * spent if wish.budget is None else wish.budget
    have = [] if plan is None else [r for r in plan.runs if r.role == "fit" and variant in (None, r.variant)]
    own = study if variant is None else study_of(study, variant)
    ground, warnings = _ground(own, plan, have, kept)
    on_offer = _on_offer(own, ground.vocab_size, have, runs, wish, budget)
    cells = cells_of(on_offer, have)
    shop = Shop.of(prior, known, cells, wish.target, goal=wish.goal, misfit=misfit, fit=leading)
    found = shop.advised(budget, wish.many)
    usable = {name: made for name, made in fits.items() if made.usable}
    several = len(usable) > 1 and leading.usable
    told = told_apart(usable, kept) if several else []
    settled = {one.other for one in told}
    decided = decisions({x: made for x, made in usable.items() if x not in settled}, cells) if several else []
    chosen = [on_offer[run.offer] for run in found.runs]
    at = {x: np.array([shop.place[x]]) for x in "CND" if x in shop.place}
    beyond = factors({x: kept[x] for x in at}, at).iloc[0].to_dict()
    warnings = (*warnings, *ground.repeated(chosen), *too_far(beyond))
    return Following(
        leading if leading.usable else None, replace(prior, noise=shop.field.noise),
        shop.field.misfit, found, tuple(on_offer), tuple(decided), tuple(told), variant,
        _trained(study if plan else own, chosen, variant, extends=plan is not None),
        plan is not None, spent, budget, shop.place, beyond, warnings,
    )  # fmt: skip


def _variant(runs: pd.DataFrame) -> str | None:
    """The one variant of runs, None where they have none. Raises UserError: they are of several."""
    found = [] if VARIANT not in runs.columns else sorted(runs[VARIANT].dropna().astype(str).unique())
    if len(found) > 1:
        problem = f"runs of {len(found)} variants ({', '.join(found)}), which no single law describes"
        raise UserError(Complaint(problem, hint=f"""choose one: --where '{VARIANT} == "{found[0]}"'"""))
    return found[0] if found else None


def prior_of(
    made: Fit,
    runs: pd.DataFrame,
    name: str,
    noise: NoiseLevel | None = None,
    base: Callable[[], Prior] | None = None,
) -> tuple[Prior, Misfit | None]:
    """The prior and misfit by which runs are chosen: of a fit where it is an optimum; where one of its
    exponents says nothing, of a law with those of the prior that ``base`` makes (left out: a published one),
    its other parameters fitted to the runs; of runs that take no fit, that prior. None: residuals alone say
    how much of them is misfit."""
    if made.usable and not _degenerate(made):
        if noise is None and made.noise.seeds is None:
            return Prior.of_fit(made, "fitted to the table"), None
        noise = noise or noise_of(made, beside_misfit=True)
        return Prior.of_fit(made, "fitted to the table", noise), misfit_of(made)
    inputs = {x: runs[x].to_numpy(float) for x in ("N", "D", "C")}
    known = (base() if base else Prior.nearest(inputs["N"], noise)).as_law(require(name), inputs)
    return _moved(known, runs, noise) if made.usable else known, Misfit()


def _moved(base: Prior, runs: pd.DataFrame, noise: NoiseLevel | None) -> Prior:
    """A prior with its exponents, its other parameters fitted to the losses of runs; as it is where a term of
    it vanishes there."""
    held = {name: base.params[name] for name in base.law.exponents}
    made = fit(base.law, runs, fixed=held, bootstrap=0)
    if not made.usable or _degenerate(made):
        return base
    kept = ", ".join(f"{name} = {value:.3g}" for name, value in held.items())
    return Prior.of_fit(made, f"fitted to the table with {kept} of {base.source}", noise)


def _degenerate(made: Fit) -> bool:
    """Whether slopes at the optimum say nothing of an exponent: its term has vanished, or it ran to an end of
    its domain."""
    law = made.law
    gone = (made.solution[name] <= 0 for name in law.linear if law.in_log(name) and law.terms.get(name))
    ends = (np.isclose(made.solution[name], law.domain(name), rtol=EDGE).any() for name in law.exponents)
    return any(gone) or any(ends)


def require_beyond(target: Target, runs: pd.DataFrame) -> None:
    """Raises UserError where a target lies within the data, where nothing has to be forecast."""
    compute, most = target.compute, float(runs["C"].to_numpy(float).max())
    if compute is not None and compute < most:
        what = (
            f"--compute {compute:.4g}: lies"
            if target.alone
            else f"--at {target.label}: its {compute:.4g} FLOPs lie"
        )
        message = f"{what} below the largest run of the table, {most:.4g}"
        raise UserError(Complaint(message, hint="ask for more compute than has been trained"))


def _on_offer(
    study: Study,
    vocab_size: int,
    have: Sequence[PlannedRun],
    runs: Sequence[tuple[float, ...]],
    wish: Wish,
    budget: float,
) -> list[Offer]:
    """The cells that a target may be served by, none dearer than the budget or half of the target; ``have``
    are the runs of the plan that they stand beside."""
    most = max(runs, key=lambda run: run[2])
    n, d, c = (wish.target.inputs.get(x, far) for x, far in zip("NDC", most, strict=True))
    place = (max(n, most[0]), d, c)
    found = offered(study, vocab_size, runs, place, min(SHARE * c, budget), have)  # type: ignore[arg-type]
    smallest = min(run[0] for run in runs)
    found = [offer for offer in found if offer.params >= 0.99 * smallest]
    if not found:
        message = f"--budget {budget:.4g}: no cell of the family lies within the budget"
        hint = "give a larger --budget, or sizes to choose from in the spec"
        raise UserError(Complaint(message, hint=hint))
    return found


def _ground(
    study: Study, plan: Plan | None, have: Sequence[PlannedRun], runs: pd.DataFrame
) -> tuple[Ground, tuple[str, ...]]:
    """What the next runs are trained on, and what speaks against them beside the runs of a table; ``have``
    are those of the plan."""
    ground = Ground.planned(study.data, have)
    if ground is not None:
        return ground, ()
    index = resolve_data(study)
    return Ground.of(index), () if plan else tuple(mismatches(study, index, runs))


def _trained(study: Study, chosen: Sequence[Offer], variant: str | None, *, extends: bool) -> Study:
    """The study that trains the chosen cells; as it is where there are none."""
    if not chosen:
        return study
    if extends:
        return _extended(study, chosen, variant)
    return next_study(study, [offer.cell for offer in chosen])


def _extended(study: Study, chosen: Sequence[Offer], variant: str | None) -> Study:
    """The study with the chosen cells, of a ``variant``, beside its own."""
    cells = [added(study, offer, variant) for offer in chosen]
    return study.model_copy(update={"added": (*study.added, *cells)})
