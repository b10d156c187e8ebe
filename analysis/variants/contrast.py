"""One variant against another: does the change hold up, what is it worth in compute and in time, and how sure
is that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats
from scipy.optimize import brentq

from analysis.errors import AnalysisError
from analysis.fits.cost import Cost
from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.laws.lookup import LAW, require
from analysis.multipliers import multiplier
from analysis.results import Interval, Part
from analysis.tables.table import Table
from analysis.variants.nested import SharedTest, shared
from analysis.variants.pairing import PAIR, Difference, Matched, difference, match, paired, regression

REPLICATES = 300
REACH = 100  # times the compute of the runs, within which a loss is looked for
MOST = 1.0  # x of "no difference within x": beyond a factor of two nothing is said
SPEED, DEVICE = "tokens_per_second", "device"


@dataclass(frozen=True)
class Worth(Part):
    """How many times the ``reference``'s compute ``at`` a variant needs for its ``loss``: ``multiplier`` with
    ``ends``; ``verdict`` and ``reason`` as of :class:`analysis.multipliers.Multipliers`. ``exponents`` that
    it supposes. ``target``: whether ``at`` is the compute of the held-out run."""

    at: float
    loss: float
    multiplier: float
    ends: Interval
    verdict: str
    reason: str
    exponents: Literal["shared", "own"]
    target: bool

    @property
    def within(self) -> float:
        """The least x for which the interval lies within 1 / (1 + x) and 1 + x; inf where it is open."""
        low, high = self.ends
        return max(high, 1 / low) - 1 if self.verdict == "yes" else np.inf


@dataclass(frozen=True)
class Speed(Part):
    """Of ``pairs`` of runs on one ``device``: the ``seconds`` that a FLOP takes, as a multiple of the
    reference's, and the effective ``speedup``, how many times sooner the variant has the same loss; with
    intervals."""

    device: str
    pairs: int
    seconds: float
    seconds_ends: Interval
    speedup: float
    ends: Interval


Code = Literal["needs_more", "needs_less", "no_difference", "not_identified"]


@dataclass(frozen=True)
class Contrast(Part):
    """What is known of ``variant`` against ``reference``; None: nothing.

    ``difference`` of paired runs; ``test`` of shared exponents; ``worth`` at the largest compute that both
    have runs of, and at the target; ``own_worth``: the same with exponents of their own, where shared ones
    were not rejected; ``alike``: correlation of the residuals of a pair; ``speed``, or why there is none;
    ``unlike``: why their losses cannot be compared at all; ``notes`` on what the worth supposes.
    """

    variant: str
    reference: str
    difference: Difference | None
    test: SharedTest | None = None
    worth: tuple[Worth, ...] = ()
    own_worth: tuple[Worth, ...] = ()
    alike: float | None = None
    speed: Speed | None = None
    no_speed: str = ""
    reason: str = ""
    unlike: str = ""
    notes: tuple[str, ...] = ()

    @property
    def said(self) -> Worth | None:
        """What the verdict rests on: the multiplier furthest out that is identified, or bounded."""
        return next((w for w in reversed(self.worth) if w.verdict != "no"), None)

    @property
    def code(self) -> Code:
        said = self.said
        if said is None:
            return "not_identified"
        low, high = said.ends
        if low > 1:
            return "needs_more"
        if high < 1:
            return "needs_less"
        return "no_difference" if said.within <= MOST else "not_identified"


def contrast(
    frame: Any,
    column: str,
    reference: str,
    other: str,
    *,
    law: str | Law = LAW,
    costs: Mapping[str, Cost] | None = None,
    target: float | None = None,
    losses: Sequence[float] = (),
    level: float = 0.9,
    **options: Any,
) -> Contrast:
    """Compare one variant with another.

    Args:
        frame: rows of runs that ended well, the best of each cell, with N, D, C, L.
        column: the column of variants.
        reference: the variant that the other is compared with.
        other: the other.
        law: fitted to both, in N and D.
        costs: what N and D cost in each variant; left out: what they cost in both together.
        target: compute of the held-out run; None: there is none.
        losses: of the reference, at which the multiplier is asked for too.
        level: of intervals.
        options: others of :func:`analysis.fit`.

    Raises:
        AnalysisError: for a bad request or table.
    """
    law = require(law)
    matched = match(frame, column, reference, other)
    found = Contrast(other, reference, difference(matched, column, reference, other, level))
    table = Table(matched.frame)
    options = {"bootstrap": REPLICATES, "level": level, "groups": column, "pairs": PAIR, **options}
    coefficients = [name for name in law.linear if name != law.offset]
    one = fit(law, table, own=coefficients, **options)
    if not one.usable or not one.optimum:
        why = one.status.message if not one.usable else f"law {law.name!r} allots no compute between N and D"
        return replace(found, reason=why, no_speed=why)
    each = [name for name in law.names if name != law.offset]
    test = shared(one, each)
    own = fit(law, table, own=each, **options)
    decided, price = own if own.usable and not test.shared else one, (costs or {}).get(reference)
    places = {compute_for(decided, reference, loss, price): False for loss in losses}
    places |= {_most(matched.frame, column): False}
    places |= {} if target is None else {float(target): True}
    (by_one, of_one), (by_own, of_own) = (
        _worth(f, reference, places, kind, costs or {}) for f, kind in ((one, "shared"), (own, "own"))
    )
    found = replace(
        found, test=test, alike=_alike(one, matched, column), worth=by_one if test.shared else by_own,
        own_worth=by_own if test.shared else (), notes=of_one if test.shared else of_own,
        reason="" if test.shared or own.usable else own.status.message,
    )  # fmt: skip
    speed, why = _speed(matched, column, found, level)
    return replace(found, speed=speed, no_speed=why)


def compute_for(fitted: Fit, group: str, loss: float, cost: Cost | None = None) -> float:
    """Find the compute with which the law of a group reaches a loss, at its best N and D.

    Args:
        fitted: with groups.
        group: label of the group.
        loss: asked for.
        cost: of the group; left out: that of the fit.

    Raises:
        AnalysisError: the law reaches it nowhere within ``REACH`` times the compute of the runs.
    """

    def excess(log_c: float) -> float:
        best = fitted.optimal(np.exp(log_c), group=group, cost=cost)
        return float(np.log(best["loss"].iloc[0] / loss))

    runs = np.array(fitted.data["C"])
    ends = np.log([runs.min() / REACH, runs.max() * REACH])
    worst, best = (loss * np.exp(excess(end)) for end in ends)
    if not best < loss < worst:
        message = f"loss {loss:g} is not reached by {group}, whose law goes from {worst:.4g} to {best:.4g}"
        raise AnalysisError(f"{message} within {REACH:g} times the compute of its runs; ask for one between")
    root: Any = brentq(excess, *ends, xtol=1e-6)
    return float(np.exp(root))


def _most(frame: Any, column: str) -> float:
    """The largest compute that both variants have runs of."""
    return float(frame.groupby(column)["C"].max().min())


def _worth(
    fitted: Fit, reference: str, places: Mapping[float, bool], kind: Any, costs: Mapping[str, Cost]
) -> tuple[tuple[Worth, ...], tuple[str, ...]]:
    """The worth at every place, and notes on it."""
    if not fitted.usable:
        return (), ()
    found = multiplier(fitted, reference, list(places), of="C", costs=costs)
    rows: Any = found.frame
    return tuple(
        Worth(row.at, row.loss, row.multiplier, Interval(row.low, row.high), row.verdict, row.reason, kind,
              places[row.at])
        for row in rows.itertuples()
    ), found.notes  # fmt: skip


def _alike(fitted: Fit, matched: Matched, column: str) -> float | None:
    """The correlation of the residuals of the runs of a pair; None for fewer than three pairs."""
    left = {}
    for name in fitted.setup.labels:
        rows = matched.frame[matched.frame[column].astype(str) == name]
        values = [fitted.solution.get(f"{p}[{name}]", fitted.solution.get(p)) for p in fitted.law.names]
        params = dict(zip(fitted.law.names, values, strict=True))
        law = fitted.law.values(params, {x: rows[x].to_numpy(float) for x in fitted.law.inputs})
        left[name] = (np.log(rows["L"]) - np.log(law)).groupby(rows[PAIR]).mean()
    both = pd.DataFrame(left).dropna()
    if len(both) < 3 or (both.std() == 0).any():
        return None
    return float(both.corr().iloc[0, 1])


def _speed(matched: Matched, column: str, found: Contrast, level: float) -> tuple[Speed | None, str]:
    """The effective speedup, or why there is none."""
    said, frame = found.said, matched.frame
    if said is None or said.verdict != "yes":
        return None, "the multiplier is not identified"
    if not {SPEED, DEVICE} <= set(frame.columns):
        return None, f"no column {SPEED} or {DEVICE}"
    frame = frame[(frame[SPEED] > 0) & frame[DEVICE].notna()]
    devices = sorted(map(str, frame[DEVICE].unique()))
    if len(devices) != 1:
        return None, f"runs were on several devices: {', '.join(devices)}" if devices else "none was measured"
    seconds = np.log((frame["D"] / frame["C"] / frame[SPEED]).to_numpy(float))
    pairs = paired(replace(matched, frame=frame), column, seconds)
    if len(pairs.y) < 2 or pairs.y.shape[1] < 2:
        return None, "measured in fewer than two pairs"
    gap = (pairs.y[found.variant] - pairs.y[found.reference]).to_numpy()
    estimate, error, degrees, _ = regression(np.ones((len(gap), 1)), gap, pairs.cluster)
    middle, reach = float(estimate[0]), float(stats.t.ppf(0.5 + level / 2, degrees) * error[0])
    log, ends = np.log(said.multiplier), np.log(said.ends)
    total = -(log + middle)
    below, above = np.hypot(ends[1] - log, reach), np.hypot(log - ends[0], reach)
    return Speed(
        devices[0], len(gap), float(np.exp(middle)),
        Interval(float(np.exp(middle - reach)), float(np.exp(middle + reach))),
        float(np.exp(total)), Interval(float(np.exp(total - below)), float(np.exp(total + above))),
    ), ""  # fmt: skip
