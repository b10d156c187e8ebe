"""How much more compute, or data, one group of runs needs than another for the same loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from analysis.allocation import Cost, best_sizes, exponents
from analysis.errors import AnalysisError
from analysis.identify import DECADE
from analysis.intervals import intervals
from analysis.result import FAR, Fit
from analysis.text import count, number

SPAN = 1e9  # times as much, or as little, beyond which a loss counts as never reached
HALVINGS = 60  # of the interval of log x that holds the answer
NEVER = 1e300  # stands for infinity where logarithms are taken
SAME = 1e-6  # relative change over a decade below which a multiplier counts as constant


@dataclass(frozen=True)
class Multipliers:
    """``frame``: a row for each group and value of ``at``: ``group``; ``at``; ``loss``, what ``reference``
    reaches there; ``multiplier``, how many times as much of ``of`` the group needs for it (inf: it never gets
    there; nan: not identified), ``low, high`` at ``level``; ``verdict`` and ``reason``. ``held``: other
    inputs. ``constant``: the same at every loss."""

    frame: pd.DataFrame
    of: str
    reference: str
    held: dict[str, float]
    constant: bool
    level: float
    method: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        where = ", ".join(f"{x} = {count(v)}" for x, v in self.held.items())
        lines = [f"{self.of} needed for the loss of {self.reference}, as a multiple of its own"
                 + (f", {where}" if where else "")]  # fmt: skip
        for row in self.frame.itertuples():
            shown = "not identified" if row.verdict == "no" else f"{row.multiplier:.3g}"
            if row.verdict == "one_sided":
                shown = f"> {row.low:.3g}" if np.isfinite(row.low) else f"< {row.high:.3g}"
            ends = f"  [{row.low:.3g}, {row.high:.3g}]" if row.verdict == "yes" else ""
            at = "" if self.constant else f" at {self.of} = {row.at:.3g}"
            lines.append(f"  {row.group}{at}: {shown}{ends}  {row.reason}")
        lines.append(f"  intervals: {self.level:.0%}, {self.method}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def multiplier(
    fit: Fit,
    reference: str,
    at: float | Sequence[float] | None = None,
    *,
    of: str | None = None,
    held: Mapping[str, float] | None = None,
    level: float | None = None,
) -> Multipliers:
    """m with L_group(m x) = L_reference(x), for every group of ``fit`` and x of ``at`` (left out: the most
    that every group has runs of). Its inverse is the compute-equivalent gain of the group over the reference
    (Davidson et al. 2023, arXiv:2312.07413, who define it by benchmark scores).

    ``of``: an input of the law, the others ``held`` (left out: at their median); or C for a law in N and D,
    each group at its own best N and D (Hoffmann et al. 2022, arXiv:2203.15556, eq. 4). Left out: C where that
    can be had. Where all groups share exponents and offset, m is the same at every x: for L = E + A_g /
    N^alpha + B_g / D^beta and C = kappa N D it is (A_g / A)^(1 / alpha) (B_g / B)^(1 / beta). With offsets of
    their own it is not, and a group whose offset is above the loss asked for never reaches it: m is infinite.

    The interval is that of the replicates of ``fit``; a multiplier is identified when it spans less than a
    factor of ten. Raises AnalysisError.
    """
    fit._need("compare its groups")
    of, held = _asked(fit, reference, of, held)
    level = fit.level if level is None else level
    labels = list(fit.setup["labels"])
    r = labels.index(reference)
    x = _at(fit, of, at)
    rows, notes, constant = [], [], True
    for g in (g for g in range(len(labels)) if g != r):
        for value in x:
            loss, here = _solve(fit, fit._point, r, g, of, held, value)
            _, draws = _solve(fit, fit._draws, r, g, of, held, value)
            _, further = _solve(fit, fit._point, r, g, of, held, 10 * value)
            constant &= bool(np.isclose(here[0], further[0], rtol=SAME))
            found = _judge(float(here[0]), draws, level, fit.intervals["degrees"])
            rows.append({"group": labels[g], "at": value, "loss": float(loss[0]), **found})
            notes += _beware(fit, g, of, value, float(here[0]), labels)
    if not constant:
        notes.append(f"it depends on the loss: another {of} gives another multiplier")
    if fit.status["code"] == "several_optima":
        notes.append(fit.status["message"])
    return Multipliers(
        pd.DataFrame(rows), of, reference, held, constant, level, fit.intervals["method"],
        tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _asked(
    fit: Fit, reference: str, of: str | None, held: Mapping[str, float] | None
) -> tuple[str, dict[str, float]]:
    """What is multiplied, and the inputs that are not."""
    labels, inputs = fit.setup["labels"], fit.law.inputs
    allots = bool(fit.optimum) and "C" not in inputs
    known = [*inputs, "C"] if allots else list(inputs)
    of = of or ("C" if "C" in known else inputs[0] if len(inputs) == 1 else None)
    problems = []
    if len(labels) < 2:
        problems.append("fit: has no groups to compare; fit(..., groups=column) with two at least")
    elif reference not in labels:
        problems.append(f"reference = {reference!r}: choose of {', '.join(labels)}")
    if of not in known:
        problems.append(f"of = {of!r}: choose of {', '.join(known)}, of law {fit.law.name!r}")
    others = [c for c in inputs if c != of and not (of == "C" and allots)]
    given = dict(held or {})
    bad = [f"{c} = {v!r}" for c, v in given.items() if c not in others or not np.isfinite(v)]
    if bad and of in known:
        problems.append(f"held: {', '.join(bad)}: finite numbers of {', '.join(others) or 'no other input'}")
    if problems:
        raise AnalysisError(problems)
    middle = {c: float(np.quantile(fit.data[c], 0.5, method="nearest")) for c in others}
    return str(of), middle | given


def _at(fit: Fit, of: str, at: float | Sequence[float] | None) -> list[float]:
    if at is None:
        amounts, group = np.array(fit.data[of]), np.array(fit.data["group"])
        return [float(min(amounts[group == g].max() for g in np.unique(group)))]
    asked = np.atleast_1d(np.asarray(at, float))
    if not (np.isfinite(asked) & (asked > 0)).all() or not len(asked):
        raise AnalysisError(f"at = {at!r}: give amounts of {of}, finite and positive, as 1e21")
    return asked.tolist()


def _solve(
    fit: Fit, u: np.ndarray, r: int, g: int, of: str, held: Mapping[str, float], x: float
) -> tuple[np.ndarray, np.ndarray]:
    """The reference's loss (R,) at ``x`` and the group's multiplier (R,), of draws ``u`` (R, P)."""
    target = _loss(fit, u, r, of, held, np.full(len(u), x))

    def short(log: np.ndarray) -> np.ndarray:  # how much the group still lacks, falling
        return _loss(fit, u, g, of, held, x * np.exp(log)) - target

    low, high = np.full(len(u), -np.log(SPAN)), np.full(len(u), np.log(SPAN))
    first, last = short(low), short(high)
    sign = np.sign(first - last)  # of a target that rises with x, such as an accuracy
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        lacks = sign * short(middle) > 0
        low, high = np.where(lacks, middle, low), np.where(lacks, high, middle)
    found = np.exp(0.5 * (low + high))
    found = np.where(sign * last > 0, np.inf, np.where(sign * first < 0, 0.0, found))
    return target, np.where(np.isfinite(first + last) & (sign != 0), found, np.nan)


def _loss(fit: Fit, u: np.ndarray, g: int, of: str, held: Mapping[str, float], x: np.ndarray) -> np.ndarray:
    """(R,) the law of group ``g`` with ``x`` (R,) of ``of``, a draw each."""
    problem, law = fit.problem, fit.law
    position = problem.position[g]
    params = dict(zip(law.names, problem.parameters(u)[:, position].T, strict=True))
    with np.errstate(all="ignore"):
        if of in law.inputs:
            return law.values(params, {of: x, **{c: np.full(len(x), v) for c, v in held.items()}})
        cost = Cost(**fit.optimum["cost"])
        closed = exponents(law, u[:, position], cost)
        if closed is not None:
            n = np.exp(closed[2] + closed[0] * np.log(x))
        else:
            column = {name: v[:, None] for name, v in params.items()}
            n = best_sizes(lambda n, d: law.values(column, {"N": n[None], "D": d}), cost,
                           problem.inputs["N"], x[:, None])  # fmt: skip
        return law.values(params, {"N": n, "D": cost.tokens(n, x)})


def _judge(point: float, draws: np.ndarray, level: float, degrees: int) -> dict[str, Any]:
    """Multiplier, interval, verdict and reason."""
    lost = np.isnan(draws).mean()
    if np.isnan(point) or lost > 0.5 * (1 - level):
        nothing = dict.fromkeys(("multiplier", "low", "high"), np.nan)
        return {**nothing, "verdict": "no", "reason": f"no answer in {lost:.0%} of the replicates"}
    draws = np.clip(draws[~np.isnan(draws)], 1 / NEVER, NEVER)
    tail = 0.5 * (1 - level)
    if 0 < point < np.inf:
        ends = intervals(np.array([point]), draws[:, None], level, degrees)
        low, high = (float(end[0]) for end in ends)
    else:
        low, high = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf")
    low, high = (0.0 if low < 1 / SPAN else float(low)), (np.inf if high > SPAN else float(high))
    if low == 0 and high == np.inf:
        return {"multiplier": np.nan, "low": np.nan, "high": np.nan, "verdict": "no",
                "reason": "the interval is open to both sides"}  # fmt: skip
    side = "more" if low > 1 else "less" if high < 1 else ""
    told = f"it needs {side}" if side else "not told apart from 1"
    if high == np.inf:
        never = np.mean(draws >= NEVER)
        return {"multiplier": np.nan if np.isfinite(point) else np.inf, "low": low, "high": np.inf,
                "verdict": "one_sided", "reason": f"{told}; never reached in {never:.0%} of the replicates"}  # fmt: skip
    if low == 0 or high / low > DECADE:
        return {"multiplier": np.nan, "low": low if low > 0 else np.nan, "high": high, "verdict": "no",
                "reason": f"{told}; interval {number(low)} to {number(high)} spans more than a factor "
                          f"{DECADE:g}"}  # fmt: skip
    return {"multiplier": point, "low": low, "high": high, "verdict": "yes", "reason": told}


def _beware(fit: Fit, g: int, of: str, x: float, m: float, labels: Sequence[str]) -> list[str]:
    group = np.array(fit.data["group"])
    most = np.array(fit.data[of])[group == g].max() if of in fit.data else np.inf
    notes = []
    if np.isinf(m):
        notes.append(f"{labels[g]} never reaches the loss at {of} = {x:.3g}: its law ends above it")
    elif m * x > FAR * most:
        notes.append(f"{labels[g]} would need {m * x / most:.3g}x more {of} than any of its runs had")
    return notes
