"""The loop of an adaptive design: train a round, fit, choose the next one, until it ends.

State is what study.yaml has: the rounds chosen so far and what each was based on. A relaunch takes them from
there and goes on with the round that is not done.
"""

from __future__ import annotations

from pathlib import Path

from analysis.tables.loading import load
from scaling.data.stores import Stores
from scaling.design.choosing import Decision, next_round
from scaling.errors import Complaint, UserError
from scaling.plan.expand import plan_study
from scaling.plan.plan import Plan
from scaling.spec.designs.chosen import Adaptive, Round
from scaling.spec.models import Study
from scaling.study import BEFORE_FORECAST, StudyStopped, TimeLimit, study_text
from scaling.sweep.collect import collect
from scaling.sweep.driver import open_sweep
from scaling.sweep.reporter import Reporter


def grow(
    study: Study,
    folder: Path,
    heading: str,
    watch: Reporter,
    *,
    stores: Stores,
    limit: TimeLimit,
    workers: int | None = None,
    force: bool = False,
) -> tuple[Study, Plan]:
    """Train the rounds of an adaptive design, all but the held-out runs.

    Args:
        study: with the rounds so far, the first at least.
        folder: of the results.
        heading: comment that study.yaml begins with.
        watch: shows what happens.
        stores: finds or prepares the tokens.
        limit: when to stop like an interrupt.
        workers: jobs at a time, in place of the study's.
        force: continue although the recipe has changed.

    Returns:
        The study with all its rounds and why they ended, and its plan.

    Raises:
        StudyStopped: interrupted, or runs failed.
        UserError: a problem of the study, or it is left to a cluster.
    """
    while True:
        plan = plan_study(study, stores)
        _require_local(plan)
        text = heading + study_text(study)
        with open_sweep(folder, plan.to_json(), text, force=force, max_hours=limit.hours) as sweep:
            outcome = sweep.run_jobs(BEFORE_FORECAST, on_event=watch, say=watch.say, workers=workers)
            if outcome.exit_code:
                message = (
                    outcome.resume or "the round is not complete: run the same command again to continue"
                )
                raise StudyStopped(message, outcome.exit_code)
            with sweep.turn():
                collect(folder)
                decision = next_round(study, load(folder), [run for run in plan.runs if run.role == "fit"])
        watch.say(_said(decision, study))
        study = _with(study, decision)
        if decision.round is None:
            return study, plan_study(study, stores)


def _require_local(plan: Plan) -> None:
    if plan.execution.kind != "local":
        hint = "run it inside an allocation: --set execution.kind=local"
        message = f"an adaptive design waits for its runs, and execution.kind = {plan.execution.kind}"
        raise UserError(Complaint(message, "design.kind", hint))


def _with(study: Study, decision: Decision) -> Study:
    design = study.design
    assert isinstance(design, Adaptive), "only an adaptive design has rounds"
    rounds: tuple[Round, ...] = (*design.rounds, *([decision.round] if decision.round else ()))
    changes = {"rounds": rounds, "ended": decision.ended or None}
    return study.model_copy(update={"design": design.model_copy(update=changes)})


def _said(decision: Decision, study: Study) -> str:
    assert isinstance(study.design, Adaptive), "only an adaptive design has rounds"
    number, width = len(study.design.rounds), decision.width
    what = {"loss": "loss", "size": "N*"}[study.design.goal]
    at = f"{study.design.compute:.4g} FLOPs"
    now = "" if width is None else f"; the 90% interval of {what} at {at} is {width:.2%} wide"
    if decision.round is None:
        return f"no round after {number}: {decision.ended}"
    keys = study.family.keys
    named = (" ".join(f"{key} {getattr(cell, key)}" for key in keys) for cell in decision.round.cells)
    costs = (f"{cell.flops:.3g}" for cell in decision.round.cells)
    cells = ", ".join(f"{name} at {cost}" for name, cost in zip(named, costs, strict=True))
    expected = decision.round.basis.expected
    return f"round {number + 1}: {cells}{now}, {expected:.2%} expected after this round"
