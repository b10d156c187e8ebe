"""Whether forecasts keep what they promise: coverage at every level, standardised errors, mean error.

Forecasts that share fitted runs or a target share most of their error. They form a group, and a group counts
as one forecast in every interval, the widest assumption that there is. Everything is of log loss.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy import sparse, stats
from scipy.optimize import brentq

from analysis.codec import Result
from analysis.errors import AnalysisError, plural
from analysis.forecasting.forecasts import Forecast
from analysis.forecasting.published import Published
from analysis.forecasting.survey import Entry
from analysis.results import Interval, Part, Status

LEVEL = 0.9  # of the intervals of what is said here
BAND = float(stats.norm.ppf(0.5 + LEVEL / 2))  # of standardised errors, where all keep what they promise
LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
REACHES = (3.2, 7.1, 17.5, 60.0)  # extrapolations that divide the table: 2x, 5x, 10x and 30x between them
FEWEST = 1.0  # degrees of freedom that an interval may have; a wider one is scaled


@dataclass(frozen=True)
class Outcome(Part):
    """A forecast against what was measured. ``error``: log(predicted / measured), positive: over-predicted;
    ``rank``: share of the forecast's own distribution below the measured loss (None: a value without an
    interval); ``group``: of the forecasts that share its error; ``baseline``: the error of the naive
    forecast; ``parts``: standard deviations of log loss that made up its own."""

    name: str
    group: int
    error: float
    rank: float | None
    extrapolation: float | None = None
    baseline: float | None = None
    parts: dict[str, float] | None = None

    @property
    def z(self) -> float | None:
        """The error in standard deviations of a normal distribution with this rank; of the sign of the
        error."""
        return None if self.rank is None else float(-stats.norm.ppf(np.clip(self.rank, 1e-12, 1 - 1e-12)))

    @property
    def reached(self) -> float | None:
        """The least level of the central interval that has the measured loss in it."""
        return None if self.rank is None else abs(2 * self.rank - 1)


@dataclass(frozen=True)
class Coverage(Part):
    """Of ``n`` forecasts ``inside`` their interval of ``level``: ``share``, the mean over groups, and its
    ``interval``."""

    level: float
    inside: int
    n: int
    share: float
    interval: Interval


@dataclass(frozen=True)
class Reach(Part):
    """Forecasts that extrapolate from ``above`` up to ``to`` (None: no end)."""

    above: float
    to: float | None
    n: int
    groups: int
    inside: int
    with_interval: int
    bias: float
    rms: float


@dataclass(frozen=True)
class Calibration(Result):
    """The ``outcomes`` of forecasts in ``groups``, with intervals of ``level``; ``coverage`` at
    :data:`LEVELS`; ``bias`` (mean error) and
    ``rms``, means over groups, ``bias_interval`` (None: of one group); ``spread``: root mean square of z, 1
    where the intervals are as wide as the errors, and its interval (None: no forecast had an interval);
    ``baseline_rms``: of the naive forecast and ``rms_beside`` of these where there is one; ``reaches``: by
    extrapolation; ``without_reach`` have none."""

    outcomes: tuple[Outcome, ...]
    groups: int
    level: float
    coverage: tuple[Coverage, ...]
    bias: float
    bias_interval: Interval | None
    rms: float
    spread: float | None
    spread_interval: Interval | None
    baseline_rms: float | None
    rms_beside: float | None
    reaches: tuple[Reach, ...]
    without_reach: int
    status: Status

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "calibration"
    AGAIN: ClassVar = "survey the forecasts again"

    def summary(self) -> str:
        from analysis.forecasting.summary import calibration_text

        return calibration_text(self)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """The reliability curve: nominal levels (rising), and at each the share of groups within."""
        ranked = _ranked(self.outcomes)
        reached, weights = np.array([one.reached for one in ranked], float), weights_of(ranked)
        order = np.argsort(reached)
        return reached[order], np.cumsum(weights[order])

    def calibrated(self, nominal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the reliability curve of forecasts that keep what they promise lies with probability
        :data:`LEVEL`, at each of the ``nominal`` levels (m,) by itself: low and high."""
        tail = (1 - LEVEL) / 2
        low, high = (stats.binom.ppf(p, self.groups, nominal) / self.groups for p in (tail, 1 - tail))
        return np.nan_to_num(low), high


def outcomes_of(entries: Iterable[Entry]) -> tuple[Outcome, ...]:
    """The scored ones among frozen forecasts, as outcomes."""
    scored = [(entry, entry.score) for entry in entries if entry.score is not None]
    groups = _groups([_shared(entry.forecast) for entry, _ in scored])
    found = []
    for group, (entry, score) in zip(groups, scored, strict=True):
        forecast = entry.forecast
        low, high = forecast.interval["low"], forecast.interval["high"]
        error = float(np.log(forecast.prediction / score.loss))
        half = float(np.log(high / low)) / 2
        naive = forecast.baseline
        found.append(
            Outcome(
                name=f"{entry.study.name}/{forecast.target['label'] or forecast.target['run_id']}",
                group=group,
                error=error,
                rank=rank(error, half, forecast.interval["level"], forecast.se_log),
                extrapolation=forecast.extrapolation,
                baseline=None if naive is None else float(np.log(naive / score.loss)),
                parts=dict(forecast.parts),
            )
        )
    return tuple(found)


def published_outcomes(entries: Iterable[Published]) -> tuple[Outcome, ...]:
    """The measured ones among published forecasts, grouped by source; their intervals are taken as normal."""
    measured = [(one, one.measured) for one in entries if one.measured is not None]
    found = []
    for group, (one, loss) in zip(_groups([{one.source} for one, _ in measured]), measured, strict=True):
        middle = one.centre
        error, share = float(np.log(middle / loss)), None
        if one.low is not None and one.high is not None and one.level is not None:
            side = one.high / middle if loss > middle else middle / one.low  # they need not be symmetric
            share = rank(error, float(np.log(side)), one.level, None) if side > 1 else None
        found.append(Outcome(one.name, group, error, share, one.extrapolation))
    return tuple(found)


def rank(error: float, half: float, level: float, se: float | None) -> float | None:
    """Share of a forecast's distribution below the measured loss.

    The distribution is that of Student's t in log loss with the scale ``se`` and the degrees of freedom that
    make its interval as wide as it is; normal where no scale is known, or none fits.

    Args:
        error: log(predicted / measured).
        half: half the width of the interval, in logs.
        level: of the interval.
        se: standard error of log loss; None: not known.
    """
    if half <= 0:
        return None
    normal = float(stats.norm.ppf(0.5 + level / 2))
    wide = half / se if se else normal
    if not normal * (1 + 1e-6) < wide < stats.t.ppf(0.5 + level / 2, FEWEST):
        return float(stats.norm.cdf(-error * normal / half))

    def beyond(log_degrees: float) -> float:
        return float(stats.t.ppf(0.5 + level / 2, np.exp(log_degrees))) - wide

    log_degrees: Any = brentq(beyond, np.log(FEWEST), np.log(1e7))
    return float(stats.t.cdf(-error * wide / half, np.exp(log_degrees)))


def calibrate(outcomes: Sequence[Outcome]) -> Calibration:
    """What outcomes say of the forecasts. Raises AnalysisError where there is none."""
    if not outcomes:
        raise AnalysisError("calibration: no forecast has an outcome yet; train the runs that were forecast")
    weights, ranked = weights_of(outcomes), _ranked(outcomes)
    errors = np.array([one.error for one in outcomes])
    spread, ends = _spread(ranked) if ranked else (None, None)
    beside = [one for one in outcomes if one.baseline is not None]
    naive = np.array([one.baseline for one in beside], float)
    return Calibration(
        outcomes=tuple(outcomes),
        groups=len({one.group for one in outcomes}),
        level=LEVEL,
        coverage=tuple(_coverage(ranked, level) for level in LEVELS) if ranked else (),
        bias=float(weights @ errors),
        bias_interval=_mean_interval(errors, outcomes),
        rms=_rms(errors, outcomes),
        spread=spread,
        spread_interval=ends,
        baseline_rms=_rms(naive, beside) if beside else None,
        rms_beside=_rms(np.array([one.error for one in beside]), beside) if beside else None,
        reaches=_reaches(outcomes),
        without_reach=sum(one.extrapolation is None for one in outcomes),
        status=_status(ends, len({one.group for one in ranked})),
    )


def weights_of(outcomes: Sequence[Outcome]) -> np.ndarray:
    """Weights that sum to 1, the same for every group."""
    groups = [one.group for one in outcomes]
    return np.array([1 / groups.count(group) for group in groups]) / len(set(groups))


def _ranked(outcomes: Iterable[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.rank is not None]


def _rms(errors: np.ndarray, outcomes: Sequence[Outcome]) -> float:
    return float(np.sqrt(weights_of(outcomes) @ errors**2))


def _coverage(ranked: Sequence[Outcome], level: float) -> Coverage:
    """The interval is that of Clopper and Pearson for as many draws as there are groups."""
    # a loss on the very end of its own interval is inside, whatever the last digit of its rank
    inside = np.array([(one.reached or 0.0) <= level * (1 + 1e-9) for one in ranked])
    share, groups = float(weights_of(ranked) @ inside), len({one.group for one in ranked})
    hits, tail = share * groups, (1 - LEVEL) / 2
    low = float(stats.beta.ppf(tail, hits, groups - hits + 1)) if hits > 1e-9 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, groups - hits)) if hits < groups - 1e-9 else 1.0
    return Coverage(level, int(inside.sum()), len(ranked), min(share, 1.0), Interval(low, high))


def _mean_interval(errors: np.ndarray, outcomes: Sequence[Outcome]) -> Interval | None:
    """Student's t over the means of groups."""
    groups = np.array([one.group for one in outcomes])
    means = np.array([errors[groups == group].mean() for group in np.unique(groups)])
    if len(means) < 2:
        return None
    half = stats.t.ppf(0.5 + LEVEL / 2, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return Interval(float(means.mean() - half), float(means.mean() + half))


def _spread(ranked: Sequence[Outcome]) -> tuple[float, Interval]:
    """Root mean square of z, and the interval in which the sum over groups of mean squares is a chi-square's:
    exact for normal errors that are the same within a group, conservative for others."""
    groups = len({one.group for one in ranked})
    square = groups * float(weights_of(ranked) @ np.array([one.z for one in ranked], float) ** 2)
    low, high = (np.sqrt(square / stats.chi2.ppf(p, groups)) for p in (0.5 + LEVEL / 2, 0.5 - LEVEL / 2))
    return float(np.sqrt(square / groups)), Interval(float(low), float(high))


def _status(ends: Interval | None, groups: int) -> Status:
    if ends is None:
        return Status("no_interval", "no forecast had an interval", "forecasts with intervals can be checked")
    beside = plural(groups, "independent group")
    factor = f"errors are {ends.low:.2g} to {ends.high:.2g} times what the intervals promise, by {beside}"
    if ends.low > 1:
        return Status("too_narrow", factor, "widen intervals by that, and find out what the law misses")
    if ends.high < 1:
        return Status("too_wide", factor, "the forecasts are better than they say")
    advice = "" if ends.high < 2 * ends.low else "more forecasts with outcomes narrow this down"
    return Status("consistent", f"{factor}: no contradiction", advice)


def _reaches(outcomes: Sequence[Outcome]) -> tuple[Reach, ...]:
    found = []
    for above, to in zip((0.0, *REACHES), (*REACHES, None), strict=True):
        chosen = [
            one
            for one in outcomes
            if one.extrapolation is not None and above < one.extrapolation <= (to or np.inf)
        ]
        if not chosen:
            continue
        errors, ranked = np.array([one.error for one in chosen]), _ranked(chosen)
        inside = _coverage(ranked, LEVEL).inside if ranked else 0
        bias = float(weights_of(chosen) @ errors)
        groups = len({one.group for one in chosen})
        found.append(Reach(above, to, len(chosen), groups, inside, len(ranked), bias, _rms(errors, chosen)))
    return tuple(found)


def _shared(forecast: Forecast) -> set[Hashable]:
    """What makes its error that of another forecast too: fitted runs, and the target."""
    target = forecast.target
    own = [("target", target["run_id"] or target["label"], target["N"], target["D"])]
    return {*own, *(("fitted", run["row"], run["N"], run["D"]) for run in forecast.training)}


def _groups(shared: Sequence[set[Any]]) -> list[int]:
    """A number for each set, the same for those that share an item, directly or through others."""
    place = {item: i for i, item in enumerate(dict.fromkeys(item for one in shared for item in one))}
    pairs = [(i, place[item]) for i, one in enumerate(shared) for item in one]
    if not pairs:
        return []
    rows, columns = np.array(pairs).T
    links = sparse.coo_matrix((np.ones(len(pairs)), (rows, columns)), (len(shared), len(place))).tocsr()
    return sparse.csgraph.connected_components(links @ links.T, directed=False)[1].tolist()
