"""What is looked at when a fit is read back from its JSON: files of earlier versions, and the law given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.errors import AnalysisError
from analysis.solve.problem import Loss

if TYPE_CHECKING:
    from analysis.fits.result import Fit

KEPT = 1e-4  # of the range of the losses: how near a law comes to the values it was kept with


def completed(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON of a fit with what earlier versions left out: the space of its noise, the kind of its cost."""
    if data.get("noise"):
        data = {**data, "noise": {"space": data.get("setup", {}).get("space"), **data["noise"]}}
    if data.get("optimum"):
        optimum = data["optimum"]
        data = {**data, "optimum": {**optimum, "cost": {"kind": "power", **optimum["cost"]}}}
    return data


def check_law(fit: Fit) -> None:
    """Raises AnalysisError for a law by function that does not give the residuals kept: what it was bound to,
    as the schedules of curves, is in no JSON."""
    if fit.law.function is None or not fit.usable:
        return
    space, point = Loss(space=fit.setup.space), fit.problem.parameters(fit.point)
    y = space.to(np.array(fit.data["L"]))
    with np.errstate(all="ignore"):
        off = np.abs(y - space.to(fit.problem.values(point)[0]) - fit.residuals)
    if not (off <= KEPT * np.ptp(y)).all():  # nan as well
        first = fit.data["row"][int(np.argmax(np.nan_to_num(off, nan=np.inf)))]
        raise AnalysisError(
            f"fit: law {fit.law.name!r} does not give the losses it gave when it was fitted (row {first!r} "
            "first); give the Law that was fitted, a curve law bound to the schedules (and steps) of the "
            "fit, or fit again"
        )
