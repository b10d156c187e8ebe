"""Plans as tables of runs, and what a family offers beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from analysis.planning.target import Target
from scaling.design.aimed import STEPS
from scaling.errors import Complaint, UserError
from scaling.plan.offers import Bounds, Offer, offers
from scaling.plan.plan import Plan, PlannedRun
from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.models import Study

BEYOND = 10.0  # times the largest compute: the target where none is named


def table_of(runs: Iterable[PlannedRun]) -> pd.DataFrame:
    """The table that runs will have, without what they measure."""
    return pd.DataFrame(
        {
            "label": run.label,
            "params": run.params,
            "params_body": run.params_body,
            "params_active": run.params_active,
            "tokens": run.run.tokens,
            "unique_tokens": run.unique_tokens,
            "flops": run.flops,
            "trunk_id": run.trunk_id,
            "seed": run.run.seed,
            **run.values,
        }
        for run in runs
    )


def inputs_of(runs: Iterable[PlannedRun]) -> dict[str, np.ndarray]:
    """N and D of runs, as a law takes them."""
    places = np.array([(run.params, run.run.tokens) for run in runs], float)
    return {"N": places[:, 0], "D": places[:, 1]}


def drawn_of(runs: Iterable[PlannedRun], done: Collection[str], decided: Collection[str]) -> pd.DataFrame:
    """The table that :func:`analysis.figures.design.design` draws.

    Args:
        runs: of the design.
        done: ids of those that are trained.
        decided: ids of those that are planned; results may decide otherwise of the rest.
    """
    return pd.DataFrame(
        {
            "params": run.params,
            "tokens": run.run.tokens,
            "flops": run.flops,
            "role": run.role,
            "budget": run.budget,
            "done": run.run_id in done,
            "foreseen": run.run_id not in decided,
        }
        for run in runs
    )


def targets_of(plan: Plan, compute: float | None, chosen_for: float | None = None) -> list[Target]:
    """The compute that is asked for, else the held-out run of most compute, else the compute that cells were
    ``chosen_for``, else ten times the largest.

    Raises:
        UserError: no run has as little compute as is asked for.
    """
    if compute is not None:
        least = min(run.flops for run in plan.runs if run.role == "fit")
        if compute < least:
            message = f"--compute {compute:.4g}: lies below the smallest fitted run, {least:.4g} FLOPs"
            raise UserError(Complaint(message, hint="ask for a compute that is worth a forecast"))
        return [Target.at_compute(compute)]
    held = [run for run in plan.runs if run.role == "holdout"]
    if held:
        run = max(held, key=lambda run: run.flops)
        inputs = {"N": run.params, "D": run.run.tokens, "C": run.flops, "unique_tokens": run.unique_tokens}
        return [Target({x: float(v) for x, v in inputs.items()}, run.label), Target.at_compute(run.flops)]
    most = max(run.flops for run in plan.runs if run.role == "fit")
    return [Target.at_compute(chosen_for or float(f"{BEYOND * most:.2g}"))]


def farther(plan: Plan) -> float:
    """A compute of three digits that lies beyond the fitted runs, as `scaling next` asks for: that of
    :func:`targets_of` where it does, else ``BEYOND`` times the largest."""
    most = max(run.flops for run in plan.runs if run.role == "fit")
    found = targets_of(plan, None)[-1].compute
    held = float(f"{found:.3g}") if found is not None else 0.0
    return held if held > most else float(f"{BEYOND * most:.3g}")


def offered(
    study: Study,
    vocab_size: int,
    runs: Sequence[tuple[float, float, float]],
    place: tuple[float, float, float],
    most_flops: float,
    have: Sequence[PlannedRun] = (),
) -> list[Offer]:
    """The cells of a family that may be bought beside runs (N, D, C) for a target at ``place``, each for at
    most ``most_flops``; ``have`` are those of the runs that this package planned. None is shorter than these;
    beside runs trained elsewhere, of a design that chooses its cells, as short as it would choose them."""
    elsewhere = () if have else [(n, d) for n, d, _ in runs]
    found = offers(study, vocab_size, Bounds.about(runs, place, most_flops), have, elsewhere)
    there = [run.run.steps for run in have if run.role == "fit"]
    chooses = isinstance(study.design, Optimal | Adaptive) and study.design.min_steps is None
    limits = (min(there),) if there else STEPS if chooses else (1,)
    kept = ([offer for offer in found if offer.steps >= least] for least in limits)
    return next(filter(None, kept), [])


def cells_of(on_offer: Sequence[Offer], have: Sequence[PlannedRun] = ()) -> pd.DataFrame:
    """The table of cells on offer, which share noise with the trunks that they continue."""
    trunks = {run.params: run.trunk_id for run in have}
    seed = have[0].run.seed if have else 0
    return pd.DataFrame(
        {
            "label": offer.label,
            "params": offer.params,
            "params_body": offer.params_body,
            "tokens": offer.tokens,
            "unique_tokens": offer.tokens,
            "flops": offer.flops,
            "cost": offer.cost,
            "seed": seed,
            "trunk_id": trunks.get(offer.params) if offer.continued else (offer.trunk or offer.label),
        }
        for offer in on_offer
    )
