"""Where the window of an isoFLOP budget is centred by the curves at the budgets below (``center: auto``)."""

from __future__ import annotations

import math
from pathlib import Path

from analysis.optimal_size.isoflop import IsoFlop, Minimum, minima
from analysis.tables.loading import load
from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan
from scaling.spec.designs.isoflop import IsoFLOP
from scaling.spec.models import Study

ASSUMED = 0.5  # exponent of N*(C) where fewer than two minima are known
SLOPES = (0.2, 0.8)  # of N*(C) in measured studies; a line through few minima may be steeper


def centre_next(study: Study, plan: Plan, folder: Path) -> tuple[IsoFLOP, str]:
    """Centre the window of the lowest budget that waits; say where, and why.

    Raises:
        UserError: no run below has a loss.
    """
    design = study.design
    assert isinstance(design, IsoFLOP) and design.window is not None and design.waiting
    budget = design.waiting[0]
    params, because = best_size(minima(load(folder), convention=design.window.center.of), budget)
    said = f"the window at {budget:.3g} FLOPs is centred at N = {params:.3g}: {because}"
    return design.decided(budget, params, because), said


def best_size(measured: IsoFlop, budget: float) -> tuple[float, str]:
    """Return N* at a budget by the curves at those below, to three digits, and why.

    By the line through their minima in logs, of a slope within :data:`SLOPES`; where there is one minimum
    inside its sizes, by this one and C^1/2; else by the best size of the last budget.

    Raises:
        UserError: no run below has a loss.
    """
    curves = [curve for curve in measured.minima if curve.budget < budget]
    if not curves:
        problem = f"no run below {budget:.3g} FLOPs has a loss that a window could be centred by"
        raise UserError(Complaint(problem, "design.window.center", "see why with `scaling status`"))
    inside = [curve for curve in curves if curve.interior]
    if len(inside) >= 2:
        logs = [(math.log(curve.budget), math.log(_size(curve))) for curve in inside]
        x, y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
        steepness = sum((c - x) * (n - y) for c, n in logs) / sum((c - x) ** 2 for c, _ in logs)
        slope = min(max(steepness, SLOPES[0]), SLOPES[1])
        limit = "" if slope == steepness else f", limited from {steepness:.2f}"
        best = y + slope * (math.log(budget) - x)
        why = f"N* ~ C^{slope:.2f}{limit} through the minima {_listed(inside)}"
    else:
        last = inside[-1] if inside else curves[-1]
        best = math.log(_size(last)) + ASSUMED * math.log(budget / last.budget)
        what = "the minimum" if inside else "no minimum inside, the best size"
        why = f"N* ~ C^{ASSUMED} assumed from {what} {_listed([last])}"
    return float(f"{math.exp(best):.3g}"), why


def _size(curve: Minimum) -> float:
    """N at the minimum of a curve; without one inside, of its best size."""
    if curve.N is not None:
        return curve.N
    return curve.sizes[min(range(len(curve.losses)), key=curve.losses.__getitem__)]


def _listed(curves: list[Minimum]) -> str:
    return ", ".join(f"{_size(curve):.3g} at {curve.budget:.3g}" for curve in curves)
