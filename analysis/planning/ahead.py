"""What a forecast of one run at the target would be worth, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.fits.discrepancy import shipped
from analysis.fits.extrapolation import promised
from analysis.planning.information import Information
from analysis.results import Part


@dataclass(frozen=True)
class Ahead(Part):
    """Half of the interval of a forecast of the run ``name``, of log loss, and the standard deviations that
    make it up (:mod:`analysis.fits.extrapolation`); the discrepancy is that of published laws alone, as no
    back-test is known."""

    name: str
    half_width: float
    law: float
    run: float
    discrepancy: float


def ahead_of(
    seen: Information, name: str, at: Mapping[str, float], half_width: float, level: float
) -> Ahead | None:
    """Forecast a run.

    Args:
        seen: what the planned runs say of the law.
        name: of the run.
        at: its N, D, C and other inputs of the law.
        half_width: half of the law's interval there, of log loss.
        level: of the interval, between 0 and 1.

    Returns:
        None where compute is not known, of the run or of the planned ones.
    """
    if "C" not in at or "C" not in seen.frame.columns or not {*seen.prior.law.inputs} <= set(at):
        return None
    inputs = [x for x in at if x in seen.frame.columns]
    data = {x: seen.frame[x].to_numpy(float) for x in inputs}
    asked = {x: np.array([at[x]], float) for x in inputs}
    point = seen.problem.shift(seen.u, 1.0)[None]
    gain, *_ = promised(seen.problem, point, data, asked, np.zeros(1, int))
    z = float(stats.norm.ppf(0.5 + level / 2))
    run = float(np.hypot(seen.prior.noise.run, seen.prior.noise.shared))
    law, discrepancy = half_width / z, float(shipped().sd(gain)[0])
    return Ahead(name, z * float(np.sqrt(law**2 + run**2 + discrepancy**2)), law, run, discrepancy)
