"""How much more compute, or data, one group of runs needs than another for the same loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd
from scipy.optimize import elementwise

from analysis.codec import Result
from analysis.errors import AnalysisError
from analysis.fits import allocation
from analysis.fits.cost import Cost
from analysis.fits.identification import DECADE, LONE
from analysis.fits.intervals import intervals
from analysis.fits.prediction import FAR
from analysis.fits.result import Fit
from analysis.fits.summary import count, number

SPAN = 1e9  # times as much, or as little, beyond which a loss counts as never reached
EXACT = 1e-12  # in log x, of an answer
NEVER = 1e300  # stands for infinity where logarithms are taken
SAME = 1e-6  # relative change over a decade below which a multiplier counts as constant


@dataclass(frozen=True)
class Multipliers(Result):
    """``frame``: a row for each group and value of ``at``: ``group``; ``at``; ``loss``, what ``reference``
    reaches there; ``multiplier``, how many times as much of ``of`` the group needs for it (inf: it never gets
    there), ``low, high`` at ``level``; ``verdict`` (``one_sided``: only the bound given holds; ``no``: no
    number does) and ``reason``. ``held``: other inputs. ``constant``: the same at every loss."""

    frame: pd.DataFrame
    of: str
    reference: str
    held: dict[str, float]
    constant: bool
    level: float
    method: str
    notes: tuple[str, ...]

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "multipliers"
    AGAIN: ClassVar = "find them again with this version"

    def summary(self) -> str:
        """The multipliers as text for a terminal."""
        where = ", ".join(f"{x} = {count(v)}" for x, v in self.held.items())
        lines = [f"{self.of} needed for the loss of {self.reference}, as a multiple of its own"
                 + (f", {where}" if where else "")]  # fmt: skip
        for row in cast(Any, self.frame).itertuples():
            shown = f"{row.multiplier:.3g}  [{row.low:.3g}, {row.high:.3g}]"
            if row.verdict != "yes":
                bound = f"> {row.low:.3g}" if np.isfinite(row.low) else f"< {row.high:.3g}"
                shown = bound if row.verdict == "one_sided" else "not identified"
            at = "" if self.constant else f" at {self.of} = {row.at:.3g}"
            lines.append(f"  {row.group}{at}: {shown}  {row.reason}")
        lines.append(f"  intervals: {self.level:.0%}, {self.method}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def multiplier(
    fit: Fit,
    reference: str,
    at: float | Sequence[float] | None = None,
    *,
    of: str | None = None,
    held: Mapping[str, float] | None = None,
    level: float | None = None,
    costs: Mapping[str, Cost] | None = None,
) -> Multipliers:
    """Find m with L_group(m x) = L_reference(x) for every group. Its inverse is the compute-equivalent gain
    of the group over the reference, at the compute m x (Davidson et al. 2023, arXiv:2312.07413, who take
    benchmark scores for the loss).

    Where all groups share exponents and offset, m is the same at every x: for L = E + A_g / N^alpha + B_g /
    D^beta and C = kappa N D it is (A_g / A)^(1 / alpha) (B_g / B)^(1 / beta). With offsets of their own it is
    not, and a group whose offset is above the loss asked for never reaches it: m is infinite.

    Args:
        fit: a fit with groups, whose replicates give the intervals. A multiplier is identified when its
            interval spans less than a factor of ten; a wider one that excludes 1 is a bound.
        reference: the group that the others are measured by.
        at: amounts x; left out: the most that every group has runs of, or the median where inputs are held.
        of: what x is: an input of the law, or C for a law in N and D, each group at its own best N and D
            (Hoffmann et al. 2022, arXiv:2203.15556, eq. 4). Left out: C where the law allots it.
        held: the other inputs; left out: at their median.
        level: of the intervals; left out: that of the fit.
        costs: what N and D cost in each group, such as architectures; left out: in all that of the fit.

    Raises:
        AnalysisError: for a fit without groups, or inputs and groups that it does not have.
    """
    fit.need("compare its groups")
    of, held = _asked(fit, reference, of, held)
    level = fit.level if level is None else level
    labels = list(fit.setup.labels)
    r, group, cluster = labels.index(reference), np.array(fit.data["group"]), np.array(fit.data["cluster"])
    lone = {label for g, label in enumerate(labels) if len(np.unique(cluster[group == g])) < LONE}
    x = _at(fit, of, held, at)
    sides = [_Side(fit, g, of, held, (costs or {}).get(label)) for g, label in enumerate(labels)]
    rows, notes, constant = [], [], True
    for g in (g for g in range(len(labels)) if g != r):
        for value in x:
            loss, needed = _solve(fit.point, sides[r], sides[g], value)
            _, draws = _solve(fit.draws, sides[r], sides[g], value)
            _, further = _solve(fit.point, sides[r], sides[g], 10 * value)
            constant &= bool(np.isfinite(needed[0]) and np.isclose(needed[0], further[0], rtol=SAME))
            judged = _judge(fit, float(needed[0]), draws, level)
            if alone := {labels[g], reference} & lone:
                why = f"fewer than {LONE} clusters, too few to say how far others would be"
                judged = _row(verdict="no", reason=f"{', '.join(sorted(alone))}: {why}")
            rows.append({"group": labels[g], "at": value, "loss": float(loss[0]), **judged})
            sure = np.inf if np.isinf(needed[0]) else np.nan_to_num(judged["multiplier"], nan=judged["low"])
            notes += [*_beware(fit, labels[g], of, value, sure), *_beware(fit, reference, of, value, 1.0)]
    if not constant:
        notes.append(f"it depends on the loss: another {of} gives another multiplier")
    if fit.status.code == "several_optima":
        notes.append(f"{fit.status.message}; the optima may disagree on this")
    return Multipliers(
        pd.DataFrame(rows), of, reference, held, constant, level, fit.intervals.method,
        tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _asked(
    fit: Fit, reference: str, of: str | None, held: Mapping[str, float] | None
) -> tuple[str, dict[str, float]]:
    """What is multiplied, and the inputs that are not."""
    labels, inputs = fit.setup.labels, fit.law.inputs
    allots = bool(fit.optimum) and "C" not in inputs
    known = [*inputs, "C"] if allots else list(inputs)
    of = of or ("C" if "C" in known else inputs[0] if len(inputs) == 1 else None)
    problems = []
    if len(labels) < 2:
        problems.append("fit: has no groups to compare; fit(..., groups=column) with two at least")
    elif reference not in labels:
        problems.append(f"reference = {reference!r}: choose one of {', '.join(labels)}")
    if of not in known:
        problems.append(f"of = {of!r}: choose one of {', '.join(known)}, of law {fit.law.name!r}")
    others = [c for c in inputs if c != of and not (of == "C" and allots)]
    given = dict(held or {})
    bad = [f"{c} = {v!r}" for c, v in given.items() if c not in others or not np.isfinite(v)]
    if bad and of in known:
        problems.append(f"held: {', '.join(bad)}: finite numbers of {', '.join(others) or 'no other input'}")
    if problems:
        raise AnalysisError(problems)
    middle = {c: float(np.quantile(fit.data[c], 0.5, method="nearest")) for c in others}
    return str(of), middle | given


def _at(fit: Fit, of: str, held: Mapping[str, float], at: float | Sequence[float] | None) -> list[float]:
    amounts, group = np.array(fit.data[of]), np.array(fit.data["group"])
    if at is None and held:
        return [float(np.quantile(amounts, 0.5, method="nearest"))]
    if at is None:
        return [float(min(amounts[group == g].max() for g in np.unique(group)))]
    asked = np.atleast_1d(np.asarray(at, float))
    if not (np.isfinite(asked) & (asked > 0)).all() or not len(asked):
        raise AnalysisError(f"at = {at!r}: give amounts of {of}, finite and positive, as 1e21")
    return asked.tolist()


@dataclass(frozen=True)
class _Side:
    """One group of a fit: its loss at amounts of ``of``, other inputs ``held``; ``cost`` None: that of the
    fit."""

    fit: Fit
    group: int
    of: str
    held: Mapping[str, float]
    cost: Cost | None

    def loss(self, u: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(R,) the law with ``x`` (R,), a draw each."""
        problem, law = self.fit.problem, self.fit.law
        position = problem.position[self.group]
        params = dict(zip(law.names, problem.parameters(u)[:, position].T, strict=True))
        with np.errstate(all="ignore"):
            if self.of in law.inputs:
                return law.values(
                    params, {self.of: x, **{c: np.full(len(x), v) for c, v in self.held.items()}}
                )
            cost = self.cost or self.fit.cost
            n = allocation.best(problem, u, cost, x[:, None], self.group)[:, 0]
            return law.values(params, {"N": n, "D": cost.tokens(n, x)})


def _solve(u: np.ndarray, reference: _Side, other: _Side, x: float) -> tuple[np.ndarray, np.ndarray]:
    """The reference's loss (R,) at ``x`` and the other group's multiplier (R,), of draws ``u`` (R, P)."""
    target = reference.loss(u, np.full(len(u), x))

    def short(log: np.ndarray, rows: np.ndarray) -> np.ndarray:  # what the group still lacks, falling
        return other.loss(u[rows], x * np.exp(log)) - target[rows]

    every = np.arange(len(u))
    reach, first, last = (np.full(len(u), np.nan) for _ in range(3))
    for span in (SPAN, SPAN ** (2 / 3), SPAN ** (1 / 3)):  # a law may have no best N very far away
        ends = [short(np.full(len(u), sign * np.log(span)), every) for sign in (-1, 1)]
        new = np.isnan(reach) & np.isfinite(ends[0] + ends[1])
        reach[new], first[new], last[new] = np.log(span), ends[0][new], ends[1][new]
        if not np.isnan(reach).any():
            break
    sign = np.sign(first - last)  # negative: a target that rises, as an accuracy
    found = elementwise.find_root(short, (-reach, reach), args=(every,), tolerances={"xatol": EXACT})
    multipliers = np.exp(found.x)
    far = reach == np.log(SPAN)
    multipliers[sign * last > 0] = np.where(far, np.inf, np.nan)[sign * last > 0]
    multipliers[sign * first < 0] = np.where(far, 0.0, np.nan)[sign * first < 0]
    return target, np.where(sign != 0, multipliers, np.nan)


def _judge(fit: Fit, point: float, draws: np.ndarray, level: float) -> dict[str, Any]:
    """Multiplier, interval, verdict and reason."""
    lost, tail = np.isnan(draws).mean(), 0.5 * (1 - level)
    if fit.status.code == "not_converged":
        return _row(verdict="no", reason=fit.status.message)
    if np.isnan(point) or lost > tail:
        return _row(verdict="no", reason=f"no answer in {lost:.0%} of the replicates")
    draws = np.clip(draws[~np.isnan(draws)], 1 / NEVER, NEVER)
    if 0 < point < np.inf:
        ends = intervals(np.array([point]), draws[:, None], level, fit.intervals.degrees)
    else:
        ends = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf")[:, None]
    low, high = float(ends[0][0]), float(ends[1][0])
    low, high = low if low > 1 / SPAN else 0.0, high if high < SPAN else np.inf
    what = "it needs more" if low > 1 else "it needs less" if high < 1 else "not told apart from 1"
    if low > 0 and high <= DECADE * low:
        return _row(point, low, high, "yes", what)
    never = np.mean(draws >= NEVER)
    why = f"{what}: interval {number(low)} to {number(high)}"
    why += f", never reached in {never:.0%} of the replicates" if never else f" spans more than {DECADE:g}x"
    if low > 1:
        return _row(point if point == np.inf else np.nan, low, np.nan, "one_sided", why)
    return _row(np.nan, np.nan, high, "one_sided", why) if high < 1 else _row(verdict="no", reason=why)


def _row(
    value: float = np.nan, low: float = np.nan, high: float = np.nan, verdict: str = "no", reason: str = ""
) -> dict[str, Any]:
    return {"multiplier": value, "low": low, "high": high, "verdict": verdict, "reason": reason}


def _beware(fit: Fit, group: str, of: str, x: float, m: float) -> list[str]:
    """What a reader must know of asking ``group`` for ``m`` times ``x``."""
    rows = np.array(fit.data["group"]) == list(fit.setup.labels).index(group)
    most = np.array(fit.data[of])[rows].max()
    if np.isinf(m):
        return [f"{group} never reaches the loss at {of} = {x:.3g}: its law ends above it"]
    if m * x > FAR * most:
        return [f"{of} = {m * x:.3g} is {m * x / most:.3g}x more than any run of {group} had"]
    return []
