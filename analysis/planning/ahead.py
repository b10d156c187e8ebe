"""What a forecast at the target is worth now, and what it would be worth with more runs, before they are
trained.

It is the forecast of :mod:`analysis.fits.extrapolation`: law, run and discrepancy. Where a fit is there,
"now" is what the fit says; more runs then shrink the law's part as its linearised interval shrinks, and the
discrepancy as the target comes nearer. Of N* there is the law's part alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import stats

from analysis.fits import allocation
from analysis.fits.extrapolation import Own, why_not
from analysis.fits.result import Fit
from analysis.planning.estimates import Estimates
from analysis.planning.information import Information
from analysis.planning.reach import Reach
from analysis.results import Part


@dataclass(frozen=True)
class Ahead(Part):
    """Half of the interval of a forecast of ``name``, of its logarithm, and the standard deviations that
    make it up; infinite where the runs determine nothing. ``band``: half of the interval of the law alone,
    which is no wider."""

    name: str
    half_width: float
    law: float
    run: float
    discrepancy: float
    band: float = 0.0

    @classmethod
    def of(cls, name: str, z: float, law: float, run: float, discrepancy: float) -> Ahead:
        """Put parts together, with ``z`` standard deviations to an interval."""
        half = z * float(np.sqrt(law**2 + run**2 + discrepancy**2))
        return cls(name, half, law, run, discrepancy, z * law)

    @property
    def se(self) -> float:
        """All parts together."""
        return float(np.sqrt(self.law**2 + self.run**2 + self.discrepancy**2))

    @property
    def main(self) -> str | None:
        """The part that makes up nearly all of the interval; None: no single one does."""
        if not np.isfinite(self.se):
            return None
        return next((x for x in PARTS if getattr(self, x) ** 2 > MAIN * self.se**2), None)

    def as_seen(self, then: Ahead, before: Ahead) -> Ahead:
        """This one with each part changed as it changes from ``before`` to ``then``, and no surer than its
        law, unless it is now."""

        def part(own: float, new: float, old: float) -> float:
            return own * new / old if old > 0 and np.isfinite(old) else new

        parts = [part(getattr(self, x), getattr(then, x), getattr(before, x)) for x in PARTS]
        changed = replace(self, **dict(zip(PARTS, parts, strict=True)))
        band = part(min(self.band, self.half_width), then.band, before.band)
        return replace(changed, half_width=max(self.half_width * changed.se / self.se, band), band=band)


PARTS = ("law", "run", "discrepancy")
ENDS = (("new_low", "new_high"), ("low", "high"))  # of a new run, and of its law
MAIN = 0.8  # of a variance: nearly all of it


@dataclass(frozen=True)
class Outlook:
    """``estimates`` of runs that are there and of cells on offer; ``slopes`` (P,) of the log of what is
    forecast; ``run``: standard deviation of log loss of a run; ``reach``: the target beyond the runs, None
    where it is no loss; ``known``: rows that are there (k,); ``said``: of these by a fit, None where there is
    none."""

    name: str
    estimates: Estimates
    slopes: np.ndarray
    run: float
    reach: Reach | None
    known: np.ndarray
    level: float
    said: Ahead | None = None

    @cached_property
    def z(self) -> float:
        return float(stats.norm.ppf(0.5 + self.level / 2))

    @cached_property
    def _moves(self) -> np.ndarray:
        """Coordinates (P,) that move a run or what is forecast; a fit holds any other, such as the log of a
        constant that is 0 at its best."""
        return self.estimates.jacobian.any(axis=0) | (self.slopes != 0)

    @cached_property
    def _free(self) -> Estimates:
        """The estimates without what is held."""
        return replace(self.estimates, jacobian=self.estimates.jacobian[:, self._moves])

    def of(self, rows: Sequence[int] | np.ndarray) -> Ahead:
        """Forecast by a fit to ``rows``, as the linearised law has it."""
        rows = np.asarray(rows, int)
        seen = self._free.of(rows) if len(rows) else None
        law = np.inf
        if seen is not None and seen.determined:
            law = float(seen.half_width(self.slopes[None, self._moves], self.level)[0]) / self.z
        discrepancy = 0.0 if self.reach is None else self.reach.sd(rows)
        return Ahead.of(self.name, self.z, law, self.run, discrepancy)

    @cached_property
    def _known(self) -> Ahead:
        return self.of(self.known)

    @property
    def now(self) -> Ahead:
        return self.said or self._known

    def after(self, bought: Sequence[int]) -> Ahead:
        """Forecast with the cells ``bought`` beside the runs that are there."""
        if not len(bought):
            return self.now
        then = self.of([*self.known, *bought])
        return then if self.said is None else self.said.as_seen(then, self._known)

    def stated(self, bought: Sequence[int]) -> float:
        """The standard deviation that the interval with ``bought`` stands for."""
        return self.after(bought).half_width / self.z


def outlook_of_loss(
    seen: Information,
    name: str,
    at: Mapping[str, float],
    *,
    level: float,
    known: np.ndarray | None = None,
    fit: Fit | None = None,
    said: Ahead | None = None,
    asked: Mapping[str, float] | None = None,
) -> Outlook:
    """Look ahead to the loss of a run.

    Args:
        seen: the law on the runs that are there and on the cells on offer.
        name: of the run.
        at: its N, D, C and other inputs of the law.
        level: of the interval, between 0 and 1.
        known: rows of ``seen`` that are there (k,); left out: all.
        fit: of these; it says what the forecast is now, and has a back-test.
        said: the forecast now, where no fit says it.
        asked: what the fit is asked for; left out: ``at``. At a compute alone each of its replicates has its
            own best N and D.
    """
    inputs = {x: np.array([at[x]], float) for x in seen.prior.law.inputs}
    slopes = seen.slopes(lambda u: np.log(allocation.values(seen.problem, u, inputs)))[0]
    own: Own | None = None
    if fit is not None and not why_not(fit):
        own, said = fit.forecast().own, forecast_of(fit, name, asked or at, level)
    run = float(np.hypot(seen.prior.noise.run, seen.prior.noise.shared))
    rows = np.arange(len(seen.frame)) if known is None else known
    return Outlook(name, seen.estimates, slopes, run, Reach.of(seen, at, own), rows, level, said)


def outlook_of_size(
    seen: Information,
    name: str,
    slopes: np.ndarray,
    *,
    level: float,
    known: np.ndarray,
    said: Ahead | None = None,
) -> Outlook:
    """Look ahead to N* at a compute, whose log has ``slopes`` (P,). The other arguments are those of
    :func:`outlook_of_loss`."""
    return Outlook(name, seen.estimates, slopes, 0.0, None, known, level, said)


def forecast_of(fit: Fit, name: str, at: Mapping[str, float], level: float) -> Ahead | None:
    """The forecast of a run by a fit; None where it has no parts."""
    row = fit.predict({x: np.array([value]) for x, value in at.items()}, level=level).frame.iloc[0]
    parts = [float(row[f"se_{part}"]) for part in PARTS]
    if not np.isfinite(parts).all():
        return None
    half, band = (0.5 * float(np.log(row[high] / row[low])) for low, high in ENDS)
    return Ahead(name, half, *parts, band=band) if np.isfinite(half + band) else None


def law_alone(name: str, half_width: float, level: float) -> Ahead:
    """What has no run and no discrepancy: half of an interval by the law alone."""
    se = half_width / float(stats.norm.ppf(0.5 + level / 2))
    return Ahead(name, half_width, se, 0.0, 0.0, half_width)


def size_of(fit: Fit, name: str, compute: float, level: float) -> Ahead | None:
    """N* at a compute by a fit; None where an end of its interval is open."""
    row = fit.band(C=compute, level=level).frame.iloc[0]
    half = 0.5 * float(np.log(row["N_high"] / row["N_low"]))
    return law_alone(name, half, level) if np.isfinite(half) else None
