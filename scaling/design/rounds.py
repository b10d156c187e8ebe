"""The next round of an adaptive design by the runs so far, or why there is none."""

from __future__ import annotations

from pathlib import Path

from analysis.tables.loading import load
from scaling.design.choosing import Decision, next_round
from scaling.plan.plan import Plan
from scaling.spec.designs.chosen import Adaptive
from scaling.spec.models import Study

FAR_BELOW = 0.5  # of the width expected before a round: a fit that is surer than that is to be doubted


def choose_next(study: Study, plan: Plan, folder: Path) -> tuple[Adaptive, str]:
    """Choose one round more, or end the design; say which.

    Raises:
        UserError: no run has a loss.
    """
    design = study.design
    assert isinstance(design, Adaptive), "only an adaptive design has rounds"
    decision = next_round(study, load(folder), [run for run in plan.runs if run.role == "fit"])
    rounds = (*design.rounds, *([decision.round] if decision.round else ()))
    changes = {"rounds": rounds, "ended": decision.ended or None}
    return design.model_copy(update=changes), said_of(decision, study)


def said_of(decision: Decision, study: Study) -> str:
    """Say what was decided, and how narrow the forecast is."""
    assert isinstance(study.design, Adaptive), "only an adaptive design has rounds"
    number, width = len(study.design.rounds), decision.width
    what = {"loss": "loss", "size": "N*"}[study.design.goal]
    at = f"{study.design.compute:.4g} FLOPs"
    now = "" if width is None else f"; the 90% interval of {what} at {at} is {width:.2%} wide"
    if decision.round is None:
        return f"no round after {number}: {decision.ended}{_doubts(decision, study.design)}"
    keys = study.family.keys
    named = (" ".join(f"{key} {getattr(cell, key)}" for key in keys) for cell in decision.round.cells)
    costs = (f"{cell.flops:.3g}" for cell in decision.round.cells)
    cells = ", ".join(f"{name} at {cost}" for name, cost in zip(named, costs, strict=True))
    expected = decision.round.basis.expected
    after = "" if expected is None else f", {expected:.2%} expected after this round"
    basis = decision.round.basis
    doubts = _doubts(decision, study.design)
    fitted = "" if basis.status is None else f" (fit: {basis.status})"
    return f"round {number + 1}: {cells}{now}{after}; by {basis.law}{fitted}: {basis.source}{doubts}"


def _doubts(decision: Decision, design: Adaptive) -> str:
    """What speaks against the width that was found; empty: nothing."""
    width, expected = decision.width, design.rounds[-1].basis.expected
    said = ""
    if decision.doubt:
        reached = width is not None and design.width is not None and width <= design.width
        but = "; so narrow an interval does not end the rounds" if reached and decision.round else ""
        said = f"; the fit is {decision.doubt}{but}"
    if width is not None and expected is not None and width < FAR_BELOW * expected:
        said += f"; the width is far below the {expected:.2%} expected before the last round"
    return said
