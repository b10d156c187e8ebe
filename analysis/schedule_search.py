"""The schedule of learning rates that a fitted curve law thinks best, beside the usual ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy.optimize import minimize

from analysis.codec import Result, parsed, read
from analysis.errors import AnalysisError, some
from analysis.fits.intervals import intervals
from analysis.fits.result import Fit
from analysis.laws.curve import CurveLaw
from analysis.laws.law import float64
from analysis.training_curves import standard

KNOTS = 48  # of a schedule to be found, evenly over it; as many towards its end; twice as many where it falls
ITERATIONS = 1000


@dataclass(frozen=True)
class BestSchedule(Result):
    """``rates`` (T,) that a fitted curve law thinks best among schedules that do not rise after the warmup:
    its opinion, which nobody has trained. ``compared``: this one (``best``) and the usual ones, each with the
    predicted final ``loss``, its interval ``low, high``, and what it loses to the best, ``worse, worse_low,
    worse_high`` (from the same replicates), at ``level``. ``others``: the rates of those."""

    rates: np.ndarray
    compared: pd.DataFrame
    others: Mapping[str, np.ndarray]
    level: float
    notes: tuple[str, ...]

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "best schedule"
    AGAIN: ClassVar = "find it again with this version"
    DERIVED: ClassVar = ("names",)

    @property
    def names(self) -> list[str]:
        """The schedules of ``compared``, in order."""
        return [str(name) for name in self.compared.index]

    @classmethod
    def from_json(cls, text: str) -> BestSchedule:
        """What ``to_json`` wrote. Raises AnalysisError on another schema or broken text."""
        data = parsed(text, cls)
        return cls.from_dict(data, compared=lambda rows: read(pd.DataFrame, rows).set_axis(data["names"]))

    def summary(self) -> str:
        """The schedules compared, as text for a terminal."""
        shown = self.compared.to_string(float_format=lambda x: f"{x:.5g}")
        head = f"final loss after {len(self.rates)} updates, {self.level:.0%} intervals of the law"
        return "\n".join([head, shown, *(f"note: {note}" for note in self.notes)])


def best_schedule(
    law: CurveLaw,
    fitted: Fit,
    steps: int,
    *,
    peak: float,
    end: float = 0.0,
    warmup: int = 0,
    level: float | None = None,
    group: str | None = None,
) -> BestSchedule:
    """Find the schedule with the lowest final loss by a fitted law: a linear warmup, then rates that never
    rise, straight between knots. The search is L-BFGS with exact gradients from each of the usual schedules
    (Luo et al. 2025, arXiv:2503.12811, do it by Adam).

    Args:
        law: the curve law that was fitted.
        fitted: its fit.
        steps: updates.
        peak: the rate after the warmup.
        end: the least rate.
        warmup: updates of the linear warmup.
        level: of the intervals; left out: that of the fit.
        group: the group, where the fit has some.

    Raises:
        AnalysisError: for a fit of another law or without a group that it needs, or rates out of order.
    """
    if fitted.law.name != law.name or not fitted.usable:
        raise AnalysisError(
            f"best_schedule needs a usable fit of curve law {law.name!r}; this one, of {fitted.law.name!r}, "
            f"is {fitted.status.code!r}"
        )
    bad = [f"steps = {steps!r}: a whole number above warmup + 1"] * (not 0 <= warmup < steps - 1)
    bad += [f"peak = {peak!r}, end = {end!r}: 0 <= end < peak"] * (not 0 <= end < peak < np.inf)
    if bad:
        raise AnalysisError([f"best_schedule: {problem}" for problem in bad])
    own = fitted.setup.own if fitted.setup.groups else ()
    if (group is not None or own) and group not in fitted.setup.labels:
        raise AnalysisError(
            f"best_schedule: group = {group!r}: one of {some(fitted.setup.labels) or 'no groups'}"
        )
    params = {n: fitted.solution[f"{n}[{group}]" if n in own else n] for n in law.domains}
    others = standard(steps, peak=peak, end=end, warmup=warmup)
    rates, done = _lowest(law, params, others, warmup, peak, end)
    every = {"best": rates, **others}
    asked: dict[str, Any] = {"curve": np.arange(len(every)), "step": np.full(len(every), steps)}
    bound = law.on(every, (asked["curve"], asked["step"]))
    least = list(every)[int(np.argmin(bound.values(params, asked)))]
    if least != "best":  # the search, by knots and starts that fall a little, just misses it
        every["best"] = every[least]
        bound = law.on(every, (asked["curve"], asked["step"]))
    return _compared(fitted, bound, asked, every, fitted.level if level is None else level, group, done)


def _lowest(
    law: CurveLaw,
    params: Mapping[str, float],
    usual: Mapping[str, np.ndarray],
    warmup: int,
    peak: float,
    end: float,
) -> tuple[np.ndarray, bool]:
    """The rates (T,), and whether the search arrived. Knots lie evenly and ever denser towards the end; then
    more of them where the best of the usual starts led to falls."""
    steps = len(usual["linear"])
    left = steps - warmup
    even = np.linspace(0, left, KNOTS + 1)
    knots = np.unique(np.round(np.concatenate([even, left - np.geomspace(1, left, KNOTS)])))
    search = partial(_search, law, params, usual["linear"][:warmup], peak=peak, end=end)
    rates, _ = search(knots + warmup, [start for name, start in usual.items() if name != "constant"])
    falls = np.flatnonzero(rates[warmup:] < peak - 1e-3 * (peak - end))
    first = falls[0] if len(falls) else 0
    knots = np.union1d(knots, np.round(np.linspace(first, left, 2 * KNOTS + 1)))
    return search(knots + warmup, [rates])


def _search(
    law: CurveLaw,
    params: Mapping[str, float],
    rising: np.ndarray,
    knots: np.ndarray,
    starts: list[np.ndarray],
    *,
    peak: float,
    end: float,
) -> tuple[np.ndarray, bool]:
    """The best rates from some starts. Unknown are the falls between knots, in units of peak - end: at least
    0, and divided by their sum where that is above 1, so that bounds are enough."""
    import jax
    import jax.numpy as jnp

    warmup, steps = len(rising), len(starts[0])
    at = knots.astype(int)

    def schedule(falls: Any) -> Any:
        fallen = jnp.concatenate([jnp.zeros(1), jnp.cumsum(falls / jnp.maximum(falls.sum(), 1.0))])
        after = jnp.interp(
            jnp.arange(warmup + 1, steps + 1), jnp.asarray(knots), peak - (peak - end) * fallen
        )
        return jnp.concatenate([jnp.asarray(rising), jnp.maximum(after, end)])  # below end by rounding

    with float64():
        last, values = jnp.array([steps]), {n: jnp.asarray(v) for n, v in params.items()}
        both = jax.jit(jax.value_and_grad(lambda falls: law.losses(schedule(falls), last, values)[0]))
        ends = []
        for rates in starts:
            falls = -np.diff(rates[at[1:] - 1], prepend=peak) / (peak - end)
            ends.append(minimize(
                lambda x: tuple(map(np.asarray, both(x))), falls + 1e-4, jac=True, method="L-BFGS-B",
                bounds=[(0.0, 1.0)] * len(falls),
                options={"maxiter": ITERATIONS, "ftol": 1e-13, "gtol": 1e-9},
            ))  # fmt: skip
        best = min(ends, key=lambda x: x.fun)
        return np.asarray(schedule(best.x)), bool(best.success)


def _compared(
    fitted: Fit,
    bound: Any,
    asked: dict[str, Any],
    every: Mapping[str, np.ndarray],
    level: float,
    group: str | None,
    done: bool,
) -> BestSchedule:
    index = 0 if group is None else list(fitted.setup.labels).index(group)
    column = {} if group is None else {str(fitted.setup.groups): np.full(len(every), group)}
    along = replace(fitted, law=bound)
    shown = along.predict(asked | column, level=level)
    problem = along.problem
    draws = problem.values(problem.parameters(np.array(fitted.replicates)), asked, index)
    loss = shown["loss"].to_numpy()
    low, high = intervals(loss - loss[0], draws - draws[:, :1], level, fitted.intervals.degrees, log=False)
    frame = pd.DataFrame(
        {"loss": loss, "low": shown["low"].to_numpy(), "high": shown["high"].to_numpy(),
         "worse": loss - loss[0], "worse_low": low, "worse_high": high}, index=list(every),
    )  # fmt: skip
    best, reach = every["best"][every["best"].argmax() :], fitted.setup
    notes = ["the law's opinion: this schedule was found by minimising it, so it exploits the law's errors"]
    if best.min() < 0.999 * reach.lowest_rate or best.max() > 1.001 * reach.highest_rate:
        notes.append(
            f"it goes from {best.max():.3g} to {best[-1]:.3g}; the fitted schedules lie in "
            f"{reach.lowest_rate:.3g} .. {reach.highest_rate:.3g} after their peaks"
        )
    if len(every["best"]) > 1.01 * reach.updates:
        notes.append(f"{len(every['best'])} updates; the longest fitted schedule has {reach.updates}")
    if not done:
        notes.append(f"the search did not settle in {ITERATIONS} iterations; a better one may be near")
    others = {name: rates for name, rates in every.items() if name != "best"}
    return BestSchedule(every["best"], frame, others, level, tuple(notes))
